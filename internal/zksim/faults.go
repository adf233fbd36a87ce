package zksim

import (
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
)

// Crash kills the server's process. Clients and other servers see their connections break, as soon
// as the network tells them. What it had logged stays; what was not yet on disk is gone.
func (e *Ensemble) Crash(id int) {
	e.do(func() {
		s := e.server(id)
		if s.crashed {
			return
		}
		s.frozen, s.backlog = false, nil
		s.retire()
		s.crashed = true
		s.incarnation++
		s.tail = slices.DeleteFunc(s.tail, func(x *txn) bool { return x.zxid > s.flushed })
		e.stats.Crashes++
	})
}

// Restart starts a crashed server again. It serves clients once it has found a leader.
func (e *Ensemble) Restart(id int) {
	e.do(func() {
		if s := e.server(id); s.crashed {
			s.crashed = false
			s.reset()
			e.elect()
		}
	})
}

// Freeze stops the server's process, as SIGSTOP or a long collection does: connections stay open,
// its kernel goes on taking what arrives, nothing is answered.
func (e *Ensemble) Freeze(id int) {
	e.do(func() {
		if s := e.server(id); !s.crashed {
			s.frozen = true
		}
	})
}

// Thaw lets it go on, first with all that has arrived meanwhile, in order.
func (e *Ensemble) Thaw(id int) {
	e.do(func() {
		s := e.server(id)
		s.frozen = false
		backlog := s.backlog
		s.backlog = nil
		for _, do := range backlog {
			s.deliver(s.incarnation, do)
		}
		e.elect()
	})
}

// Cut parts a from b in both directions. A party is a server ("zk1", see [ServerName]) or a client
// by the name of its dialer ([Ensemble.DialerFor]). What is sent meanwhile arrives after Heal, as
// with TCP, unless the connection has been given up by then.
func (e *Ensemble) Cut(a, b string) {
	e.do(func() { e.link(a, b).cut, e.link(b, a).cut = true, true })
}

// CutOneWay lets nothing from one party to the other; the way back stays open.
func (e *Ensemble) CutOneWay(from, to string) {
	e.do(func() { e.link(from, to).cut = true })
}

// Isolate parts a server from the other servers; its clients still reach it.
func (e *Ensemble) Isolate(id int) { e.Unplug(e.server(id).name) }

// Unplug parts a party from all (other) servers. For a client that is as if its process had been
// stopped, as far as the ensemble can tell.
func (e *Ensemble) Unplug(name string) {
	e.do(func() {
		for _, s := range e.servers {
			if s.name != name {
				e.link(name, s.name).cut, e.link(s.name, name).cut = true, true
			}
		}
	})
}

// Plug undoes Unplug and Isolate, and whatever else was cut between the party and the servers.
func (e *Ensemble) Plug(name string) {
	e.do(func() {
		for _, s := range e.servers {
			e.heal(route{name, s.name})
			e.heal(route{s.name, name})
		}
		e.elect()
	})
}

// Heal joins a and b again in both directions.
func (e *Ensemble) Heal(a, b string) {
	e.do(func() {
		e.heal(route{a, b})
		e.heal(route{b, a})
		e.elect()
	})
}

// HealOneWay joins one direction.
func (e *Ensemble) HealOneWay(from, to string) {
	e.do(func() {
		e.heal(route{from, to})
		e.elect()
	})
}

// HealAll joins everything that was cut. It neither restarts nor thaws servers.
func (e *Ensemble) HealAll() {
	e.do(func() {
		for _, r := range e.routes() {
			e.heal(r)
		}
		e.elect()
	})
}

func (e *Ensemble) heal(r route) {
	l := e.link(r.from, r.to)
	if l.cut {
		l.cut = false
		e.at(e.now(), func() { e.pump(l) })
	}
}

// Delay makes everything from one party to another take lo to hi, evenly spread by the ensemble's
// seed, in order. Zero ends it.
func (e *Ensemble) Delay(from, to string, lo, hi time.Duration) {
	e.do(func() { e.link(from, to).delay = e.spread(lo, hi) })
}

// SlowDisk makes every flush of the server's log take lo to hi: it acknowledges proposals that much
// later.
func (e *Ensemble) SlowDisk(id int, lo, hi time.Duration) {
	e.do(func() { e.server(id).disk = e.spread(lo, hi) })
}

// Lag makes a follower apply commits, and answer syncs, lo to hi after it heard of them. It
// acknowledges proposals as before, so the others need not wait for it.
func (e *Ensemble) Lag(id int, lo, hi time.Duration) {
	e.do(func() { e.server(id).lag = e.spread(lo, hi) })
}

func (e *Ensemble) spread(lo, hi time.Duration) func() time.Duration {
	switch {
	case hi <= 0 && lo <= 0:
		return nil
	case hi <= lo:
		return func() time.Duration { return lo }
	}
	return func() time.Duration { return lo + time.Duration(e.rng.Int64N(int64(hi-lo)+1)) }
}

// ExpireSession ends a session as if its time were up. It is false when no leader knows it.
func (e *Ensemble) ExpireSession(id int64) (ok bool) {
	e.do(func() {
		l := e.leader()
		if l == nil || l.lead.tracker.sessions[id] == nil || l.lead.tracker.sessions[id].closing {
			return
		}
		ok = true
		l.lead.closeSession(id)
	})
	return ok
}

// Delete is an operator's delete of a node without children, whatever its version and ACL. The
// error is a [Code], CodeSessionExpired standing for "no leader"; nil says that the leader has
// proposed it.
func (e *Ensemble) Delete(path string) error {
	return e.operate(&request{op: OpDelete, path: path, version: -1})
}

// Set is an operator's write of a node's data.
func (e *Ensemble) Set(path string, data []byte) error {
	return e.operate(&request{op: OpSetData, path: path, data: data, version: -1})
}

// Create is an operator's create of a persistent node, open to all.
func (e *Ensemble) Create(path string, data []byte) error {
	return e.operate(&request{op: OpCreate, path: path, data: data, acl: zk.WorldACL(zk.PermAll)})
}

func (e *Ensemble) operate(r *request) error {
	code := CodeSessionExpired
	e.do(func() {
		if l := e.leader(); l != nil {
			code = l.lead.own(r)
		}
	})
	return code.asError()
}

// DeleteTree is an operator's deleteall: the node and all below it, as of now.
func (e *Ensemble) DeleteTree(path string) error {
	for _, child := range e.Children(path) {
		if err := e.DeleteTree(joinPath(path, child)); err != nil {
			return err
		}
	}
	return e.Delete(path)
}

// SetCversion sets how many children the node is taken to have had, on all servers at once and
// outside the log: the next sequence number is this. It is how a test gets to 2^31.
func (e *Ensemble) SetCversion(path string, creates int32) {
	e.do(func() {
		for _, s := range e.servers {
			trees := []*tree{s.tree}
			if s.lead != nil && s.lead.outlook != nil {
				trees = append(trees, s.lead.outlook)
			}
			for _, t := range trees {
				if n := t.nodes[path]; n != nil {
					n.cversion = creates
				}
			}
		}
	})
}
