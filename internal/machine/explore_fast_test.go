package machine

import "slices"

// Fast failover in the world that explore_test.go walks through. Its candidates beat, lose their short leases, and evict
// each other.
//
// The short lease is modelled by its promise, too: whoever has waited in vain for the time for which a znode may be silent
// knows that the lease that rests on the version read, or on an older one, is over. All else may happen in any order.

// beating is what the driver of a candidate with fast failover has.
type beating struct {
	on    bool  // the machine wants it
	known bool  // the znode's version
	short bool  // the short lease is good
	rests int   // … on the beat that made this version
	heard watch // the znode ahead as last read, if that beats
}

func (b *beating) hear(wt watch, beats bool) {
	b.heard = watch{}
	if beats {
		b.heard = watch{name: wt.name, version: wt.version}
	}
}

// renew forgets what belongs to the last znode.
func (b *beating) renew() { *b = beating{on: b.on} }

// lineWith is a standing line in which these candidates have fast failover.
func lineWith(fast ...int) *world {
	w := nobodyYet(manyAhead)
	for _, i := range fast {
		w.all[i].m.cfg.Fast = true
	}
	return atRest(w)
}

func (w *world) fast() bool {
	return slices.ContainsFunc(w.all[:], func(c *contender) bool { return c.m.cfg.Fast })
}

// beats reports whether the znode under the watch says for how long it may be silent, and has been written.
func (w *world) beats(wt watch) bool {
	i := w.find(wt.name)
	return i >= 0 && wt.version > 0 && w.all[w.nodes[i].maker].m.cfg.Fast
}

// fastMoves adds what happens only with fast failover. As long as there is a connection, only a fault keeps a candidate
// from beating in time. A beat more than that takes one is a fault, too, for want of a better name.
func (w *world) fastMoves(c *contender, progress, faults func(deed, int)) {
	b := &c.fast
	if !c.m.cfg.Fast {
		return
	}
	beats := b.on && b.known && c.up
	progress(beatOnce, times(beats && !b.short))
	progress(starve, times(b.short && (!c.up || !b.on)))
	progress(silence, times(w.silent(c)))
	faults(beatOnce, times(beats && b.short))
	faults(starve, times(b.short && c.up && b.on))
	faults(loseBeat, times(beats && w.find(c.m.node) >= 0))
}

// silent reports whether the znode ahead may have been silent for so long by now. The driver asks as long as it has a
// watch, of which it need not have heard yet.
func (w *world) silent(c *contender) bool {
	heard := c.fast.heard
	if heard.name == "" || c.ahead.name != heard.name {
		return false
	}
	i := w.find(heard.name)
	if i < 0 {
		return true
	}
	ahead := &w.all[w.nodes[i].maker].fast
	return !ahead.short || ahead.rests > heard.version
}

func (w *world) fastMove(c *contender, what deed) {
	switch what {
	case beatOnce:
		w.beatOnce(c)
	case starve:
		c.fast.short = false
		c.disbelieve()
	case silence:
		h := c.fast.heard
		w.take(c, AheadSilent{NodeGen: c.m.nodeGen, Name: h.name, Version: int32(h.version)})
	case loseBeat:
		w.written(c)
		w.unknown(c, OwnStale{NodeGen: c.m.nodeGen})
		w.cut(c, 0, false)
	}
}

func (w *world) unknown(c *contender, why Event) {
	c.fast.known = false
	c.inbox = append(c.inbox, answer{ev: why, after: c.own.says != quiet})
}

// beatOnce is a beat and its answer.
func (w *world) beatOnce(c *contender) {
	if w.find(c.m.node) < 0 {
		w.unknown(c, OwnGone{NodeGen: c.m.nodeGen})
		return
	}
	c.fast.rests = w.written(c)
	if !c.fast.short {
		c.fast.short = true
		w.take(c, LeaseGood{})
	}
}

// written writes the candidate's znode, which the watches of others tell, and returns the version made. The own watch is
// one on the children.
func (w *world) written(c *contender) (version int) {
	n := &w.nodes[w.find(c.m.node)]
	n.version++
	for i, other := range w.all {
		if i == c.id {
			continue
		}
		other = other.clone() // also if it has no watch: versions count from the latest
		w.all[i] = other
		other.watches(func(wt *watch) {
			if other.up && wt.name == n.name && wt.says == quiet {
				wt.says = stale
			}
		})
	}
	return n.version
}

// evict is the last request of an eviction. Those before it only make it rarer.
func (w *world) evict(c *contender, a Evict) Event {
	i := w.find(a.Name)
	ev := Evicted{NodeGen: a.NodeGen, Name: a.Name}
	switch {
	case w.find(c.m.node) < 0 || i >= 0 && w.nodes[i].version != int(a.Version):
		ev.Fault = Failed
	case i >= 0:
		ahead := w.all[w.nodes[i].maker]
		if ahead.fast.short || ahead.believes {
			w.wrong("candidate %d evicts one whose lease is good", c.id)
		}
		if !ahead.m.cfg.Fast || a.Version == 0 || slices.IndexFunc(w.nodes, func(n node) bool { return n.maker == c.id }) != i+1 {
			w.wrong("candidate %d evicts one that does not beat, or is not directly ahead", c.id)
		}
		w.remove(a.Name)
	}
	return ev
}

func (e *writer) fast(c *contender) {
	b := &c.fast
	e.flags(b.on, b.known, b.short)
	e.out = append(e.out, e.missed(c.m.node, b.rests)*times(b.short))
	e.watch(b.heard)
}

// missed is how often the znode has been written since it was of this version.
func (e *writer) missed(name string, version int) int {
	if i := e.w.find(name); i >= 0 {
		return e.w.nodes[i].version - version
	}
	return 0
}
