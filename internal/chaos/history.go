package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// historyLimit bounds the search for an order of one register's writes.
const historyLimit = 2 * time.Minute

// write is one operation on a register.
type write struct {
	token Token
	order int64  // ZooKeeper's: the version of the znode that the write made; -1: not known
	what  string // saysWrote, saysRefused or saysUncertain
}

// registerState is the highest token, and the version of the znode, -1 while there is none.
type registerState struct{ token, order int64 }

// fenced is how a register must behave, seen by one client after another. A write is
// accepted if its token is at least as high as every token before. ZooKeeper numbers the
// accepted writes; it may refuse any write, because a term can end before the next token is used.
// bbolt does not number them, and refuses only lower tokens.
var fenced = porcupine.Model{
	Init: func() any { return registerState{order: -1} },
	Step: func(state, in, _ any) (bool, any) {
		s, w := state.(registerState), in.(write)
		next := registerState{max(s.token, int64(w.token)), max(s.order, w.order)}
		switch {
		case w.what == saysUncertain && int64(w.token) < s.token:
			return true, s // it was refused, or is counted from before
		case w.what == saysUncertain:
			return true, next
		case w.what == saysRefused:
			return w.order >= 0 || int64(w.token) < s.token, s
		}
		rises := w.order < 0 || w.order > s.order
		return rises && int64(w.token) >= s.token, next
	},
	DescribeOperation: func(in, _ any) string {
		w := in.(write)
		return fmt.Sprintf("%s %#x (version %d)", w.what, int64(w.token), w.order)
	},
}

// registerKey tells the registers of a run apart. Each generation has its own.
type registerKey struct {
	election, register string
	gen                int
}

// histories collects the writes to each register. A write without an end, whose process
// was killed, may take effect at any time later, or never.
func histories(events []Event) map[registerKey][]porcupine.Operation {
	type id struct {
		who string
		op  int64
	}
	open := map[id]Event{}
	all := map[registerKey][]porcupine.Operation{}
	clients := map[string]int{}
	add := func(begin, end Event, returned int64) {
		if _, known := clients[begin.Who]; !known {
			clients[begin.Who] = len(clients)
		}
		w := write{begin.Token, -1, end.What}
		if begin.Register == inZooKeeper && end.What != saysUncertain {
			w.order = end.Order
		}
		key := registerKey{begin.Election, begin.Register, begin.Gen}
		all[key] = append(all[key], porcupine.Operation{ClientId: clients[begin.Who], Input: w, Call: begin.At, Return: returned})
	}
	for _, e := range events {
		begin, found := open[id{e.Who, e.Op}]
		switch e.What {
		case saysWriting:
			open[id{e.Who, e.Op}] = e
			continue
		case saysWrote, saysRefused:
			if found {
				add(begin, e, e.At)
			}
		case saysUncertain:
			if found {
				add(begin, e, math.MaxInt64)
			}
		case saysUnsent, saysOutdated: // the register of the writer's generation has not seen it
		default:
			continue
		}
		delete(open, id{e.Who, e.Op})
	}
	for _, begin := range open {
		add(begin, Event{What: saysUncertain}, math.MaxInt64)
	}
	for _, ops := range all {
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	}
	return all
}

// judgeHistories looks for an order of the writes to each register that the register may
// have seen. It returns a line for each register that has none.
func judgeHistories(events []Event) (wrong []string) {
	all := histories(events)
	keys := slices.SortedFunc(maps.Keys(all), func(a, b registerKey) int {
		return cmp.Or(cmp.Compare(a.election, b.election), cmp.Compare(a.register, b.register), cmp.Compare(a.gen, b.gen))
	})
	for _, key := range keys {
		result := porcupine.CheckOperationsTimeout(fenced, all[key], historyLimit)
		switch result {
		case porcupine.Ok:
		case porcupine.Unknown:
			wrong = append(wrong, fmt.Sprintf("%v: no order of its %d writes was found within %v", key, len(all[key]), historyLimit))
		default:
			wrong = append(wrong, fmt.Sprintf("%v: a stale write was accepted, or a good one refused: its %d writes have no order", key, len(all[key])))
		}
	}
	return wrong
}
