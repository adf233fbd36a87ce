package zksim

import (
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// Crash kills the server's process. Clients and other servers see their connections
// break, after the network's delay. What the server has on disk stays; the rest of its
// log is gone.
func (e *Ensemble) Crash(id int) {
	e.do(func() { e.server(id).crash() })
}

func (s *server) crash() {
	if s.crashed {
		return
	}
	s.frozen, s.backlog = false, nil
	s.retire()
	s.crashed = true
	s.incarnation++
	s.tail = slices.DeleteFunc(s.tail, func(x *txn) bool { return x.zxid > s.flushed })
	s.e.stats.Crashes++
}

// Restart starts a crashed server again. The server lets clients in once it has found a
// leader.
func (e *Ensemble) Restart(id int) {
	e.do(func() {
		if s := e.server(id); s.crashed && e.broken == nil {
			s.crashed = false
			s.reset()
			e.elect()
		}
	})
}

// Freeze stops the server's process, as SIGSTOP or a long garbage collection does.
// Connections stay open and the kernel accepts what arrives, but nothing is answered.
func (e *Ensemble) Freeze(id int) {
	e.do(func() {
		if s := e.server(id); !s.crashed {
			s.frozen = true
		}
	})
}

// Thaw lets a frozen server go on. It first handles what has arrived meanwhile, in order.
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

// Cut cuts the network between a and b in both directions. A party is a server ("zk1",
// see [ServerName]) or a client by the name of its dialer ([Ensemble.DialerFor]). What is
// sent meanwhile arrives after [Ensemble.Heal], as with TCP, unless the connection has
// been given up by then.
func (e *Ensemble) Cut(a, b string) {
	e.do(func() { e.link(a, b).cut, e.link(b, a).cut = true, true })
}

// CutOneWay cuts one direction. The way back stays open.
func (e *Ensemble) CutOneWay(from, to string) {
	e.do(func() { e.link(from, to).cut = true })
}

// Isolate cuts a server off from the other servers. Its clients still reach it.
func (e *Ensemble) Isolate(id int) { e.Unplug(e.server(id).name) }

// Unplug cuts a party off from all other servers. To the ensemble, an unplugged client
// looks like a stopped process.
func (e *Ensemble) Unplug(name string) {
	e.do(func() {
		for _, s := range e.servers {
			if s.name != name {
				e.link(name, s.name).cut, e.link(s.name, name).cut = true, true
			}
		}
	})
}

// Plug undoes [Ensemble.Unplug], [Ensemble.Isolate], and every other cut between the
// party and the servers.
func (e *Ensemble) Plug(name string) {
	e.do(func() {
		for _, s := range e.servers {
			e.heal(route{name, s.name})
			e.heal(route{s.name, name})
		}
		e.elect()
	})
}

// Heal undoes a cut between a and b in both directions.
func (e *Ensemble) Heal(a, b string) {
	e.do(func() {
		e.heal(route{a, b})
		e.heal(route{b, a})
		e.elect()
	})
}

// HealOneWay undoes a cut of one direction.
func (e *Ensemble) HealOneWay(from, to string) {
	e.do(func() {
		e.heal(route{from, to})
		e.elect()
	})
}

// HealAll undoes all cuts at one moment, except for those of the parties named, which
// stay cut off throughout. It neither restarts nor thaws servers.
func (e *Ensemble) HealAll(except ...string) {
	e.do(func() {
		for _, r := range e.routes() {
			if !slices.Contains(except, r.from) && !slices.Contains(except, r.to) {
				e.heal(r)
			}
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

// Delay makes every message from one party to another take lo to hi, evenly distributed
// by the ensemble's seed. Messages stay in order. Zero ends the delay.
func (e *Ensemble) Delay(from, to string, lo, hi time.Duration) {
	e.do(func() { e.link(from, to).delay = e.spread(lo, hi) })
}

// SlowDisk makes every flush of the server's log take lo to hi. The server acknowledges
// proposals that much later. Zero ends it.
func (e *Ensemble) SlowDisk(id int, lo, hi time.Duration) {
	e.do(func() { e.server(id).disk = e.spread(lo, hi) })
}

// Lag makes a follower apply commits, and answer syncs, lo to hi after they reach it. It
// still acknowledges proposals at once, so the others need not wait for it. Zero ends it.
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

// ExpireSession ends a session as if its time were up. It returns false if there is no
// leader, or if the leader does not know the session or is closing it already.
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

// Delete deletes a node without children, as an operator, whatever its version and ACL.
// The error is a [jute.Code]; [jute.CodeSessionExpired] stands for "no leader". If it is
// nil, the leader has proposed the delete.
func (e *Ensemble) Delete(path string) error {
	return e.operate(&request{op: jute.OpDelete, path: path, version: -1})
}

// Set writes a node's data as an operator, like [Ensemble.Delete].
func (e *Ensemble) Set(path string, data []byte) error {
	return e.operate(&request{op: jute.OpSetData, path: path, data: data, version: -1})
}

// Create makes a persistent node that is open to all, as an operator, like
// [Ensemble.Delete].
func (e *Ensemble) Create(path string, data []byte) error {
	return e.operate(&request{op: jute.OpCreate, path: path, data: data, acl: zk.WorldACL(zk.PermAll)})
}

func (e *Ensemble) operate(r *request) error {
	code := jute.CodeSessionExpired
	e.do(func() {
		if l := e.leader(); l != nil {
			code = l.lead.own(r)
		}
	})
	return asError(code)
}

// DeleteTree deletes a node and everything that is below it now, as an operator's
// deleteall does.
func (e *Ensemble) DeleteTree(path string) error {
	for _, child := range e.Children(path) {
		if err := e.DeleteTree(joinPath(path, child)); err != nil {
			return err
		}
	}
	return e.Delete(path)
}

// SetCversion sets how many children a node has had, which is the next sequence number.
// It does so on all servers at once and outside the log. Tests reach 2^31 with it.
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
