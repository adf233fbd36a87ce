package machine_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

// beating is what the driver of a candidate with fast failover has. The short lease is modelled by its promise: whoever
// has waited in vain for the time for which a znode may be silent knows that the lease that rests on the version read, or
// on an older one, is over.
type beating struct {
	on    bool // the machine wants it
	known bool // the znode's version
	short bool // the short lease is good
	rests int  // … on the beat that made this version
	hears bool // the znode ahead that is watched beats
	hangs int  // for so many beats
}

// beatOnce is a beat and its answer.
func (c *contender) beatOnce() {
	b := &c.beating
	if b.hangs > 0 && c.w.faults {
		b.hangs--
		return
	}
	if c.w.faults && c.w.chance(5) || c.w.chance(4) && !(c.up && b.on) { // nothing keeps the lease up
		c.starve()
		b.hangs = c.w.rnd.IntN(40)
		return
	}
	if !b.on || !b.known || !c.up || !c.w.sessions[c.session] || b.short && !c.w.chance(4) {
		return
	}
	if !c.written() {
		b.known = false
		c.inbox = append(c.inbox, machine.OwnGone{NodeGen: c.m.View().NodeGen})
		return
	}
	again := !b.short
	b.short, b.rests = true, c.w.nodes[c.m.View().Node].version
	if again {
		c.inbox = append(c.inbox, machine.LeaseGood{})
	}
}

// loseBeat is a beat without an answer: the connection is lost, too. It may have been committed.
func (c *contender) loseBeat() {
	if c.beating.on && c.beating.known && c.up {
		if c.w.chance(2) && c.w.sessions[c.session] {
			c.written()
		}
		c.beating.known = false
		c.inbox = append(c.inbox, machine.OwnStale{NodeGen: c.m.View().NodeGen})
		c.disconnect()
	}
}

// starve ends the short lease, and the belief at once.
func (c *contender) starve() {
	if c.beating.short {
		c.beating.short = false
		c.disbelieve()
	}
}

// written writes the own znode, which the watches of others tell.
func (c *contender) written() bool {
	name := c.m.View().Node
	n, there := c.w.nodes[name]
	if !there {
		return false
	}
	n.version++
	c.w.nodes[name] = n
	c.w.note("%s is written", name)
	for _, other := range c.w.all {
		for _, wt := range other.standing() {
			if other != c && other.up && wt.name == name && wt.fired == nil {
				other.fireStale(wt)
			}
		}
	}
	return true
}

// fireStale has a watch on a znode ahead tell of a change, unless the notification is lost.
func (c *contender) fireStale(wt *watch) {
	if wt.lost = wt.lost || c.w.faults && c.w.chance(10); !wt.lost {
		wt.fired = machine.AheadStale{}
	}
}

// findSilent has the machine told that the znode ahead has been silent, if it may have been for so long.
func (c *contender) findSilent() {
	if !c.fast || c.ahead == nil || !c.beating.hears {
		return
	}
	n, there := c.w.nodes[c.ahead.name]
	if there {
		if ahead := n.maker; ahead.m.View().Node == c.ahead.name && ahead.beating.short && ahead.beating.rests <= c.ahead.version {
			return
		}
	}
	c.take(machine.AheadSilent{NodeGen: c.m.View().NodeGen, Name: c.ahead.name, Version: int32(c.ahead.version)})
}

// evict is the last request of an eviction. Those before it only make it rarer.
func (w *world) evict(c *contender, a machine.Evict) machine.Event {
	n, there := w.nodes[a.Name]
	own, stands := w.nodes[c.m.View().Node]
	ev := machine.Evicted{NodeGen: a.NodeGen, Name: a.Name}
	switch {
	case !there:
	case !stands || own.owner != c.session || n.version != int(a.Version):
		ev.Fault = machine.Failed
	default:
		w.evictions++
		if ahead := n.maker; ahead.m.View().Node == a.Name {
			require.False(w.t, ahead.beating.short, "%d evicts one whose lease is good", c.id)
		}
		require.True(w.t, n.maker.fast && a.Version > 0)
		require.Less(w.t, slices.Index(w.order, a.Name), 2, "only the first two beat")
		w.remove(a.Name)
	}
	return ev
}
