package machine_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

// fire has a watch tell of a deletion, unless the notification is lost.
func (c *contender) fire(wt *watch) {
	if wt.lost = wt.lost || c.w.faults && c.w.chance(10); !wt.lost {
		wt.fired = machine.OwnGone{} // its generation is put in when it is delivered
	}
}

// serve has the server take the oldest request.
func (c *contender) serve() {
	if c.up && len(c.queue) > 0 && c.w.sessions[c.session] {
		a := c.queue[0]
		c.queue = c.queue[1:]
		ev, wt := c.w.serve(c, a)
		c.inbox = append(c.inbox, ev)
		if wt != nil {
			c.taken[ev] = wt
		}
	}
}

// serve does what a request asks, in the connection's session.
func (w *world) serve(c *contender, a machine.Action) (machine.Event, *watch) {
	switch a := a.(type) {
	case machine.Create:
		name := w.create(c)
		if c.listing = nil; w.chance(2) {
			c.listing = &machine.Listed{NodeGen: a.NodeGen, Children: w.list()}
		}
		return machine.Created{Name: name, Listing: c.listing != nil}, nil
	case machine.Recover:
		return machine.Created{Name: w.recover(c)}, nil
	case machine.ReadOwn:
		n, there := w.nodes[a.Name]
		if !there {
			return machine.OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: machine.NoNode}, nil
		}
		return machine.OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Token: n.czxid, Owner: n.owner, Session: c.session}, &watch{name: a.Name}
	case machine.List:
		return &machine.Listed{NodeGen: a.NodeGen, Children: w.list()}, nil
	case machine.WatchAhead:
		return w.watchAhead(a)
	case machine.Check:
		gone := slices.DeleteFunc(slices.Clone(a.Names), func(n string) bool { _, there := w.nodes[n]; return there })
		return &machine.Checked{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Gone: gone}, nil
	case machine.Delete:
		fault := machine.OK
		if _, there := w.nodes[a.Name]; !there {
			fault = machine.NoNode
		}
		w.remove(a.Name)
		return machine.Deleted{NodeGen: a.NodeGen, Fault: fault}, nil
	case machine.Evict:
		return w.evict(c, a), nil
	}
	w.t.Fatalf("no request: %T", a)
	return nil, nil
}

// watchAhead may lose the answers to some of the requests, and find there what left while they were under way.
func (w *world) watchAhead(a machine.WatchAhead) (machine.Event, *watch) {
	ev := &machine.AheadRead{NodeGen: a.NodeGen, Names: a.Names}
	last := len(a.Names) - 1
	for _, name := range a.Names[:last] {
		_, there := w.nodes[name]
		switch {
		case w.faults && w.chance(20):
			ev.Fault = machine.Lost
		case there || w.faults && w.chance(4) && slices.Contains(w.recent, name):
		default:
			ev.Gone = append(ev.Gone, name)
		}
	}
	n, there := w.nodes[a.Names[last]]
	if !there {
		ev.Gone = append(ev.Gone, a.Names[last])
		return ev, nil
	}
	ev.Watched, ev.Beats = true, n.maker.fast && n.version > 0
	return ev, &watch{name: a.Names[last], version: n.version}
}

func (w *world) create(c *contender) string {
	w.zxid++
	w.seq++
	name := fmt.Sprintf("%s%010d", c.prefix(), w.seq)
	w.nodes[name] = node{owner: c.session, czxid: w.zxid, maker: c}
	w.order = append(w.order, name)
	return name
}

func (c *contender) prefix() string { return fmt.Sprintf("c%d-", c.id) }

func (w *world) recover(c *contender) (found string) {
	for _, name := range slices.Clone(w.order) {
		switch {
		case !strings.HasPrefix(name, c.prefix()):
		case w.nodes[name].owner == c.session && found == "":
			found = name
		default:
			w.remove(name)
		}
	}
	return found
}

func (w *world) list() []string {
	all := slices.Clone(w.order)
	if w.faults && w.chance(3) {
		all = append(all, w.recent...)
	}
	w.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.Compact(all)
}

// deliver hands the machine one message: the oldest of the session's, or any result.
func (c *contender) deliver() {
	if n := len(c.inbox); n > 0 && (len(c.events) == 0 || c.w.chance(2)) {
		i := c.w.rnd.IntN(n)
		ev := c.inbox[i]
		c.inbox = slices.Delete(c.inbox, i, i+1)
		c.arm(ev)
		c.take(ev)
	} else if len(c.events) > 0 {
		ev := c.events[0]
		c.events = c.events[1:]
		c.take(ev)
	}
}

// arm takes up the watch that came with a result, as the driver's owner does.
func (c *contender) arm(ev machine.Event) {
	wt := c.taken[ev]
	delete(c.taken, ev)
	switch ev := ev.(type) {
	case machine.Created:
		if ev.Listing {
			if c.w.faults && c.w.chance(10) {
				c.listing = &machine.Listed{NodeGen: c.listing.NodeGen, Fault: machine.Lost}
			}
			c.inbox = append(c.inbox, c.listing)
		}
	case machine.OwnRead:
		if ev.NodeGen == c.m.View().NodeGen {
			c.own = wt
			c.beating.known = c.beating.known || wt != nil
		}
	case *machine.AheadRead:
		if ev.NodeGen == c.m.View().NodeGen && wt != nil {
			c.ahead = wt
			c.beating.hears = ev.Beats
		}
	}
}

// watches delivers what a watch has to say; the own one's comes first.
func (c *contender) watches() {
	nodeGen := c.m.View().NodeGen
	if wt := c.own; wt != nil && wt.fired != nil {
		c.own = nil
		if _, stale := wt.fired.(machine.OwnStale); stale {
			c.take(machine.OwnStale{NodeGen: nodeGen})
			return
		}
		c.take(machine.OwnGone{NodeGen: nodeGen})
		return
	}
	if wt := c.ahead; wt != nil && wt.fired != nil {
		c.ahead = nil
		if _, stale := wt.fired.(machine.AheadStale); stale {
			c.take(machine.AheadStale{NodeGen: nodeGen, Name: wt.name})
			return
		}
		c.take(machine.AheadGone{NodeGen: nodeGen, Name: wt.name})
	}
}

// take hands one event to the machine, and asks for the lease again behind it, as the driver does.
func (c *contender) take(ev machine.Event) {
	c.apply(ev)
	if v := c.m.View(); v.State == machine.Elected && c.good(v) {
		c.apply(machine.LeaseGood{})
	}
}

func (c *contender) apply(ev machine.Event) {
	before := c.m.View()
	switch p := ev.(type) {
	case *machine.Listed:
		ev = *p
	case *machine.Checked:
		ev = *p
	case *machine.AheadRead:
		ev = *p
	}
	c.w.note("%d %v: %T%+v", c.id, before.State, ev, ev)
	leased := c.good(before)
	for _, a := range c.m.Step(ev, leased) {
		c.w.note("    %T%+v", a, a)
		c.perform(a, leased)
	}
	if c.m.View().NodeGen != before.NodeGen {
		c.own, c.ahead = nil, nil
		c.beating = beating{on: c.beating.on}
	}
}

// good reports whether the candidate may believe.
func (c *contender) good(v machine.View) bool {
	return c.leased && v.Owner == c.session && v.Owner != 0 && (!c.fast || c.beating.short)
}

func (c *contender) perform(a machine.Action, leased bool) {
	switch a := a.(type) {
	case machine.Renew:
		c.keeps = a.On
	case machine.Beat:
		c.beating.on = a.On
	case machine.BeginTerm:
		require.True(c.w.t, leased, "a term without a lease")
		c.begin(a)
	case machine.EndTerm:
		require.NotNil(c.w.t, c.term, "an end without a beginning")
		c.tails = append(c.tails, c.term.Term)
		c.term = nil
	case machine.Backoff:
		c.paused = true
	case machine.Moved, machine.Refuse:
	case machine.Report:
		c.w.t.Fatal(a.Text)
	default:
		c.queue = append(c.queue, a)
	}
}
