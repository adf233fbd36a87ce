package zksim

import (
	"maps"
	"slices"
	"time"
)

// tracker is the leader's table of sessions (SessionTrackerImpl). It lives as long as the
// leadership: a new leader gives every session a fresh timer, whatever the old one knew.
type tracker struct {
	server   *server
	sessions map[int64]*tracked
	armed    time.Duration // when the pending check runs; 0: none is pending
}

type tracked struct {
	timeout time.Duration
	expires time.Duration // on the ensemble's clock
	closing bool
	owner   any // who spoke for the session last: a *learner, or the leader's *server
}

func newTracker(s *server) *tracker { return &tracker{server: s, sessions: make(map[int64]*tracked)} }

// track starts a session's timer, or touches it where it is known (trackSession), and hands the
// session to its owner.
func (t *tracker) track(id int64, timeoutMs int32, owner any) {
	x := t.sessions[id]
	if x == nil {
		x = &tracked{timeout: time.Duration(timeoutMs) * time.Millisecond}
		t.sessions[id] = x
	}
	x.owner = owner
	t.push(x, x.timeout)
}

// touch is false for sessions that are unknown or already being closed (touchSession).
func (t *tracker) touch(id int64, timeoutMs int32) bool {
	x := t.sessions[id]
	if x == nil || x.closing {
		return false
	}
	t.push(x, time.Duration(timeoutMs)*time.Millisecond)
	return true
}

// push sets the time of expiry, rounded up to the next tick of the leader's own clock, one more
// when it falls on one (ExpiryQueue.roundToNextInterval).
func (t *tracker) push(x *tracked, timeout time.Duration) {
	e, phase := t.server.e, t.server.phase
	tick := e.ownTime(e.cfg.Tick)
	due := e.now() + e.ownTime(timeout) + phase
	x.expires = (due/tick+1)*tick - phase
	t.arm(x.expires)
}

// arm makes sure that a check runs no later than at. Touches only move sessions back, so a check
// that finds nothing is the price of not keeping a timer for each.
func (t *tracker) arm(at time.Duration) {
	if t.armed != 0 && t.armed <= at {
		return
	}
	t.armed = at
	t.server.after(at-t.server.e.now(), func() { t.expire(at) })
}

// expire closes the sessions that are due, through the log like everything else.
func (t *tracker) expire(armed time.Duration) {
	l := t.server.lead
	if l == nil || l.tracker != t || t.armed != armed {
		return
	}
	t.armed = 0
	now, next := t.server.e.now(), time.Duration(0)
	for _, id := range slices.Sorted(maps.Keys(t.sessions)) {
		switch x := t.sessions[id]; {
		case x.closing:
		case x.expires <= now:
			t.server.e.stats.Expired++
			l.closeSession(id)
		case next == 0 || x.expires < next:
			next = x.expires
		}
	}
	if next != 0 {
		t.arm(next)
	}
}

// check is checkSession, with LeaderSessionTracker's reading of an unknown session as an expired
// one. The first to ask after a change of leader becomes the owner.
func (t *tracker) check(id int64, owner any) Code {
	x := t.sessions[id]
	switch {
	case x == nil, x.closing:
		return CodeSessionExpired
	case x.owner == nil:
		x.owner = owner
	case x.owner != owner:
		return CodeSessionMoved
	}
	return CodeOK
}

func (t *tracker) setOwner(id int64, owner any) {
	if x := t.sessions[id]; x != nil && !x.closing {
		x.owner = owner
	}
}

func (t *tracker) close(id int64) {
	if x := t.sessions[id]; x != nil {
		x.closing = true
	}
}

func (t *tracker) remove(id int64) { delete(t.sessions, id) }
