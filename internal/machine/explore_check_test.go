package machine

import (
	"slices"
)

// prune drops what can no longer do anything, so that states differ only where it matters: results of an older znode or
// connection, which the machine drops in its turn, and reads that would give such.
func (c *contender) prune() {
	c.inbox = slices.DeleteFunc(c.inbox, func(a answer) bool { return c.void(a.ev) })
	c.queue = slices.DeleteFunc(c.queue, func(a Action) bool {
		if _, writes := a.(Delete); writes {
			return false
		}
		return c.void(unanswered(a))
	})
	if c.fast.heard.name != c.ahead.name {
		c.fast.heard = watch{}
	}
}

func (c *contender) void(ev Event) bool {
	switch ev := ev.(type) {
	case OwnRead:
		return ev.NodeGen != c.m.nodeGen
	case Listed:
		return ev.NodeGen != c.m.nodeGen
	case AheadRead:
		return ev.NodeGen != c.m.nodeGen
	case Checked:
		return ev.NodeGen != c.m.nodeGen || ev.ConnGen != c.m.connGen
	case Deleted:
		return ev.NodeGen != c.m.nodeGen
	case Evicted:
		return false
	case OwnGone:
		return ev.NodeGen != c.m.nodeGen
	case OwnStale:
		return ev.NodeGen != c.m.nodeGen
	case LeaseOver:
		return ev.Term != c.m.term || c.m.state != Leading
	}
	return false
}

// check is what must hold in every state.
func (w *world) check() {
	leaders := 0
	for _, c := range w.all {
		if c.believes && !c.excused {
			leaders++
			if !c.alive {
				w.wrong("candidate %d believes in a term after its session has expired", c.id)
			}
		}
	}
	if leaders > 1 {
		w.wrong("two live terms")
	}
	for _, n := range w.nodes {
		m := &w.all[n.maker].m
		if m.node != n.name && !m.making && !m.unsure {
			w.wrong("candidate %d has forgotten its znode %s", n.maker, n.name)
		}
	}
}
