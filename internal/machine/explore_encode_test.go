package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Two worlds are the same if nothing that can happen from now on tells them apart. So numbers that only grow are left
// out or made relative (of generations only "the present one" counts; sessions count back from the latest; names
// count by rank), and the candidates, which are alike, are put in an order.

// nameBase keeps names apart from all other numbers until they are ranked.
const nameBase = 1 << 20

// digest stands for all worlds that are the same as w. Half a SHA-256 makes a false match less likely than a broken
// machine under the test.
func (w *world) digest() [16]byte {
	var parts [contenders][]int
	for i, c := range w.all {
		if c.code == nil {
			c.code = c.encode(w)
		}
		parts[i] = slices.Clone(c.code)
	}
	rank(parts[:])
	var bin [contenders][]byte
	for i, p := range parts {
		bin[i] = make([]byte, 0, 4*len(p))
		for _, v := range p {
			bin[i] = binary.AppendVarint(bin[i], int64(v))
		}
	}
	slices.SortFunc(bin[:], bytes.Compare)
	sum := sha256.Sum256(bytes.Join(bin[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff}))
	return [16]byte(sum[:16])
}

// rank numbers the names by their order alone.
func rank(parts [][]int) {
	var names []int
	for _, p := range parts {
		for _, v := range p {
			if v >= nameBase {
				names = append(names, v)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, p := range parts {
		for i, v := range p {
			if v >= nameBase {
				p[i], _ = slices.BinarySearch(names, v)
				p[i] += nameBase
			}
		}
	}
}

// writer collects numbers. What is written last in each part has its length first, so that no two read alike.
type writer struct {
	out []int
	w   *world
	c   *contender
}

func (e *writer) flags(all ...bool) {
	v := 0
	for _, b := range all {
		v = v<<1 | times(b)
	}
	e.out = append(e.out, v)
}

func (e *writer) name(s string) {
	if s == "" {
		e.out = append(e.out, 0)
		return
	}
	e.out = append(e.out, nameBase+number(s))
}

func (e *writer) nameList(all []string) {
	e.out = append(e.out, len(all))
	for _, s := range all {
		e.name(s)
	}
}

func (e *writer) session(id int64) {
	if id == 0 {
		e.out = append(e.out, -1)
		return
	}
	e.out = append(e.out, int(e.c.latest-id))
}

func (e *writer) watch(w watch) {
	e.name(w.name)
	e.out = append(e.out, int(w.says))
	if i := e.w.find(w.name); i < 0 || e.w.nodes[i].maker != e.c.id { // nobody goes by the version of the own znode
		e.out = append(e.out, e.missed(w.name, w.version))
	}
}

func (c *contender) encode(w *world) []int {
	e := &writer{w: w, c: c, out: make([]int, 0, 64)}
	e.machine(&c.m)
	e.session(c.session)
	e.flags(c.alive, c.fiat, c.up, c.leased, c.keeps, c.paused, c.closed, c.believes, c.excused,
		c.term != 0, c.tail != 0, c.hand != "" && c.hand == c.m.node, c.hand != "" && c.hand == c.m.node && c.behind,
		c.missed != "" && c.missed == c.m.node)
	e.watch(c.own)
	e.watch(c.ahead)
	for _, n := range w.nodes {
		if n.maker == c.id {
			e.name(n.name)
			e.flags(n.version > 0)
		}
	}
	e.fast(c)
	e.out = append(e.out, -len(c.queue))
	for _, a := range c.queue {
		e.action(a)
	}
	e.out = append(e.out, -len(c.events))
	for _, ev := range c.events {
		e.event(ev)
	}
	e.answers(c.inbox)
	return e.out
}

// answers are a set: any of them may be the next.
func (e *writer) answers(inbox []answer) {
	var parts [][]int
	for _, a := range inbox {
		f := &writer{w: e.w, c: e.c}
		f.event(a.ev)
		f.watch(a.w)
		f.flags(a.after)
		f.event(a.behind)
		parts = append(parts, f.out)
	}
	slices.SortFunc(parts, slices.Compare)
	e.out = append(e.out, -len(parts))
	for _, p := range parts {
		e.out = append(e.out, p...)
	}
}

func (e *writer) machine(m *Machine) {
	e.out = append(e.out, int(m.state), m.beyond, int(m.pending)) // nobody goes by behind with three candidates
	e.flags(m.started, m.healthy, m.closed, m.rejoin, m.connected, m.watching, m.verified, m.stood, m.unsure, m.making,
		m.listed, m.lookout, m.paused, m.working, m.renewing, m.cfg.Fast, m.beating, m.doubt, m.evicting)
	e.out = append(e.out, m.beats%doubtEvery)
	e.session(m.session)
	e.session(m.owner)
	e.name(m.node)
	e.nameList(m.ahead)
	e.name(m.watched)
}

func (e *writer) action(a Action) {
	switch a := a.(type) {
	case looks:
		e.out = append(e.out, 8)
		e.action(a.Action)
		e.nameList(slices.SortedFunc(slices.Values(a.left), byNumber))
		e.nameList(slices.SortedFunc(slices.Values(a.gone), byNumber))
		e.watch(a.w)
	case Create:
		e.out = append(e.out, 1) // the server makes it in the session that it comes in
	case Recover:
		e.out = append(e.out, 2)
	case ReadOwn:
		e.out = append(e.out, 3, times(a.ConnGen == e.c.m.connGen))
		e.name(a.Name)
	case List:
		e.out = append(e.out, 4)
	case WatchAhead:
		e.out = append(e.out, 5)
		e.nameList(a.Names)
	case Check:
		e.out = append(e.out, 6)
		e.nameList(a.Names)
	case Delete:
		e.out = append(e.out, 7, times(a.NodeGen == e.c.m.nodeGen))
		e.name(a.Name)
	case Evict:
		e.out = append(e.out, 9, e.missed(a.Name, int(a.Version)), times(a.NodeGen == e.c.m.nodeGen))
		e.name(a.Name)
	}
}

func byNumber(a, b string) int { return number(a) - number(b) }

func (e *writer) event(ev Event) {
	switch ev := ev.(type) {
	case Online:
		e.out = append(e.out, 1)
		e.session(ev.Session)
	case Offline:
		e.out = append(e.out, 2)
	case Expired:
		e.out = append(e.out, 3)
	case LeaseOver:
		e.out = append(e.out, 4)
	case Created:
		e.out = append(e.out, 5, int(ev.Fault))
		e.name(ev.Name)
	case OwnRead:
		e.out = append(e.out, 6, int(ev.Fault), times(ev.ConnGen == e.c.m.connGen))
		e.session(ev.Session)
	case Listed:
		e.out = append(e.out, 7, int(ev.Fault))
		e.nameList(ev.Children)
	case AheadRead:
		e.out = append(e.out, 8, int(ev.Fault), times(ev.Watched), times(ev.Beats))
		e.nameList(ev.Names)
		e.nameList(slices.SortedFunc(slices.Values(ev.Gone), byNumber))
	case Checked:
		e.out = append(e.out, 9, int(ev.Fault))
		e.nameList(slices.SortedFunc(slices.Values(ev.Gone), byNumber))
	case Deleted:
		e.out = append(e.out, 10, int(ev.Fault))
	case Evicted:
		e.out = append(e.out, 11, int(ev.Fault), times(ev.NodeGen == e.c.m.nodeGen))
		e.name(ev.Name)
	case OwnGone:
		e.out = append(e.out, 12)
	case OwnStale:
		e.out = append(e.out, 13)
	}
}
