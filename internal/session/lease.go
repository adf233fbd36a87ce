package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// Shares of the session timeout T. The reasons are in the package doc.
const (
	leaseShare = 3  // a proof is good for T/3 from the moment it was sent
	renewShare = 9  // it is renewed every T/9
	paceShare  = 36 // touches that are closer than T/36 tell nothing new, and a proof that failed is tried again after that
)

// relayTime is how long a server may keep a session's touch before it passes it on: tickTime/2, at most T/4, of a
// leader's clock that may be 5 % slow.
func relayTime(t time.Duration) time.Duration { return t * 21 / 80 }

// certain is how long a session lives after a touch, less T/12 for clocks that run apart.
func certain(t time.Duration) time.Duration { return t * 11 / 12 }

// A Lease says until when a session is certain to be alive. It belongs to one session and never passes to the
// next. Its zero end means that nothing has been proved yet.
type Lease struct {
	session int64
	end     atomic.Pointer[leaseEnd] // replaced, never changed: readers take one load

	mu      sync.Mutex // guards the evidence; no call is made under it
	touched time.Time  // newest moment at which the ensemble's leader is known to have heard of the session
	touches []touch    // made at the server that we are connected to, oldest first
	relays  []relay    // touches that a later write has shown to be passed on, oldest first
}

// leaseEnd is good for d after from, on both clocks.
type leaseEnd struct {
	from time.Time
	wall int64 // from on the wall clock, in nanoseconds
	d    time.Duration
}

// touch is an answered exchange with the server: it saw the session at sent or later.
type touch struct{ sent, answered time.Time }

// relay says: a write sent after since finds at is known to the leader.
type relay struct{ since, at time.Time }

// Live reports whether the lease is good at now. Both clocks are asked: the monotonic one stands still while a
// machine sleeps, the wall clock may be set back.
func (l *Lease) Live(now time.Time) bool {
	e := l.end.Load()
	return e != nil && now.Sub(e.from) < e.d && now.UnixNano()-e.wall < int64(e.d)
}

// End is the moment up to which the lease is good as far as is known now; zero if nothing is proved yet.
func (l *Lease) End() time.Time {
	if e := l.end.Load(); e != nil {
		return e.from.Add(e.d)
	}
	return time.Time{}
}

// Remaining is the time left until the end, on the clock that is further on.
func (l *Lease) Remaining(now time.Time) time.Duration {
	e := l.end.Load()
	if e == nil {
		return 0
	}
	return e.d - elapsed(e.from, now)
}

// elapsed is the time between two readings, on the clock that has run further.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), time.Duration(to.UnixNano()-from.UnixNano()))
}

// opened notes a handshake: creating or resuming a session touches it at the leader itself
// (Leader.touch by LearnerHandler's REVALIDATE). What earlier connections' servers saw may never be passed on.
func (l *Lease) opened(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.touched.Before(sent) {
		l.touched = sent
	}
	l.touches, l.relays = nil, nil
}

// heard notes an answered exchange of any kind.
func (l *Lease) heard(sent, answered time.Time, timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear(sent, answered, timeout)
}

func (l *Lease) hear(sent, answered time.Time, timeout time.Duration) {
	for len(l.touches) > 0 && elapsed(l.touches[0].sent, sent) > timeout {
		l.touches = l.touches[1:]
	}
	if n := len(l.touches); n > 0 && sent.Sub(l.touches[n-1].sent) < timeout/paceShare {
		return // close to the last one: nothing gained
	}
	l.touches = append(l.touches, touch{sent, answered})
}

// proved takes a write of this session that a quorum has committed, extends the lease by what it shows, and
// reports whether the lease is good now.
func (l *Lease) proved(sent, answered time.Time, timeout time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.relays) > 0 && !l.relays[0].since.After(sent) {
		if l.relays[0].at.After(l.touched) {
			l.touched = l.relays[0].at
		}
		l.relays = l.relays[1:]
	}
	if !l.touched.IsZero() {
		l.extend(sent, min(timeout/leaseShare, certain(timeout)-elapsed(l.touched, sent)))
	}
	l.passOn(sent, answered, timeout)
	l.hear(sent, answered, timeout)
	return l.Live(time.Now())
}

// passOn draws the conclusion from an answered write: the leader's pings that were sent before it was committed
// have reached our server before the answer did, and took along the touches seen until then. Writes sent from
// now on reach the leader behind them.
func (l *Lease) passOn(sent, answered time.Time, timeout time.Duration) {
	for i := len(l.touches) - 1; i >= 0; i-- {
		if t := l.touches[i]; elapsed(t.answered, sent) >= relayTime(timeout) {
			l.relays = append(l.relays, relay{answered, t.sent})
			return
		}
	}
}

// extend moves the end on, never back.
func (l *Lease) extend(from time.Time, d time.Duration) {
	if d <= 0 {
		return
	}
	if e := l.end.Load(); e != nil && from.Add(d).Before(e.from.Add(e.d)) {
		return
	}
	l.end.Store(&leaseEnd{from, from.UnixNano(), d})
}
