package zksim

import (
	"maps"
	"slices"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// tracker is the leader's table of sessions (SessionTrackerImpl). It exists as long as
// the leadership: a new leader starts every session's timer again, whatever the old
// leader knew.
type tracker struct {
	server   *server
	sessions map[int64]*tracked
	armed    time.Duration // when the pending check runs; 0: none is pending
}

type tracked struct {
	timeout time.Duration
	expires time.Duration // on the ensemble's clock
	closing bool
	owner   any // what the session came through last: a *learner, or the leader's *server
}

func newTracker(s *server) *tracker { return &tracker{server: s, sessions: make(map[int64]*tracked)} }

// track starts a session's timer, or touches the session if it is known (trackSession).
// It also sets the session's owner.
func (t *tracker) track(id int64, timeoutMs int32, owner any) {
	x := t.sessions[id]
	if x == nil {
		x = &tracked{timeout: time.Duration(timeoutMs) * time.Millisecond}
		t.sessions[id] = x
	}
	x.owner = owner
	t.push(x, x.timeout)
}

// touch restarts a session's timer with the given timeout (touchSession). It returns
// false if the session is unknown or closing.
func (t *tracker) touch(id int64, timeoutMs int32) bool {
	x := t.sessions[id]
	if x == nil || x.closing {
		return false
	}
	t.push(x, time.Duration(timeoutMs)*time.Millisecond)
	return true
}

// push sets the time of expiry. It is rounded up to the next tick of the leader's own
// clock, also if it falls on a tick (ExpiryQueue.roundToNextInterval).
func (t *tracker) push(x *tracked, timeout time.Duration) {
	e, phase := t.server.e, t.server.phase
	tick := e.ownTime(e.cfg.Tick)
	due := e.now() + e.ownTime(timeout) + phase
	x.expires = (due/tick+1)*tick - phase
	t.arm(x.expires)
}

// arm makes sure that a check runs no later than at. As touches move the expiry of
// sessions, a check may find nothing. This is the price of having one timer for all
// sessions.
func (t *tracker) arm(at time.Duration) {
	if t.armed != 0 && t.armed <= at {
		return
	}
	t.armed = at
	t.server.after(at-t.server.e.now(), func() { t.expire(at) })
}

// expire closes the sessions that are due, by transactions in the log.
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

// check is checkSession. Like LeaderSessionTracker, it treats an unknown session as
// expired. After a change of leader, the first one to ask becomes the session's owner.
func (t *tracker) check(id int64, owner any) jute.Code {
	x := t.sessions[id]
	switch {
	case x == nil, x.closing:
		return jute.CodeSessionExpired
	case x.owner == nil:
		x.owner = owner
	case x.owner != owner:
		return jute.CodeSessionMoved
	}
	return jute.CodeOK
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
