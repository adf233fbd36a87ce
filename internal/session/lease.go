package session

import (
	"sync"
	"time"
)

// Shares of the session timeout T. The reasons are in the package doc.
const (
	leaseShare = 3  // a proof is good for T/3 from the moment it was sent
	renewShare = 12 // a proof is sent every T/12, and more often while answers are slow
	paceShare  = 36 // the least time between two proofs by the clock, and before a failed proof is repeated
	touchShare = 72 // a touch less than T/72 after the last one is dropped: it would tell nothing new
	relayShare = 4  // a server passes a touch on within T/4: half a tick, if T is two ticks or more
)

// drift is the share, in percent, by which the slower of two clocks may lag behind the
// faster one. chrony slews a clock by up to 8.3 % (chrony.conf, maxslewrate); the rest is
// margin. All allowances for clocks are derived from drift.
const drift = 9

// atSlowest returns how much time may pass on our clock while d passes on another one,
// which may be the slow one.
func atSlowest(d time.Duration) time.Duration { return d * 100 / (100 - drift) }

// atFastest returns how much time may pass on our clock, which may be the slow one,
// before d can have passed on another one.
func atFastest(d time.Duration) time.Duration { return d * (100 - drift) / 100 }

// relayTime returns how long, on our clock, a server may keep a session's touch before it
// passes the touch on.
func relayTime(t time.Duration) time.Duration { return atSlowest(t / relayShare) }

// certain returns how long, on our clock, a session lives at least after a touch.
func certain(t time.Duration) time.Duration { return atFastest(t) }

// A Lease says until when a session is certain to be alive. It belongs to one session and
// never passes to the next one. It is safe for concurrent use.
type Lease struct {
	Expiry
	session int64

	mu      sync.Mutex    // guards the evidence; no call is made under it
	timeout time.Duration // the shortest that the session was granted; 0: not known
	touched time.Time     // the newest touch that the ensemble's leader is known to have received
	touches []touch       // touches of the server that we are connected to, oldest first
	relays  []relay       // touches that a later write has shown to be passed on, oldest first
}

// touch is an answered exchange with our server, which saw the session at sent or later.
type touch struct{ sent, answered time.Time }

// relay says that the ensemble's leader has received the touch made at, when it takes a
// write sent at since or later.
type relay struct{ since, at time.Time }

// opened takes a handshake, which was sent at sent; zero if that is not known. It drops
// the touches of earlier connections, because their servers may never pass them on.
//
// A handshake that makes or resumes a session touches it at the leader itself
// (Leader.touch, called for LearnerHandler's REVALIDATE). From that touch on the leader
// counts the timeout granted now, even if it is shorter than the one before:
// SessionTrackerImpl.touchSession moves the expiry both ways. So the lease ends with that
// timeout at the latest. opened reports whether this made the lease shorter.
func (l *Lease) opened(sent time.Time, timeout time.Duration) (shorter bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timeout = l.shortest(timeout)
	if l.touched.Before(sent) {
		l.touched = sent
	}
	l.touches, l.relays = nil, nil
	return !sent.IsZero() && l.shorten(sent, certain(timeout))
}

// shortest returns timeout, or the shortest timeout that the session was granted, if that is
// less. Whoever waits for an answer has asked for the timeout before a handshake that
// granted less. The lock must be held.
func (l *Lease) shortest(timeout time.Duration) time.Duration {
	if l.timeout > 0 {
		return min(timeout, l.timeout)
	}
	return timeout
}

// heard takes an answered exchange of any kind.
func (l *Lease) heard(sent, answered time.Time, timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear(sent, answered, timeout)
}

// hear is heard with the lock held.
func (l *Lease) hear(sent, answered time.Time, timeout time.Duration) {
	timeout = l.shortest(timeout)
	for len(l.touches) > 0 && AtMost(l.touches[0].sent, sent) > timeout {
		l.touches = l.touches[1:]
	}

	if n := len(l.touches); n > 0 && sent.Sub(l.touches[n-1].sent) < timeout/touchShare {
		return
	}
	l.touches = append(l.touches, touch{sent, answered})
}

// proved takes a write of this session that a quorum has committed. It extends the lease
// by what the write shows. again reports whether the lease is good now, and somebody may
// have found before that it was not. So the question is whether the old end has passed by
// now, when nobody can see it any more, and not whether it had when the answer came.
func (l *Lease) proved(sent, answered time.Time, timeout time.Duration) (again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	timeout, before := l.shortest(timeout), l.load()

	l.touched = l.newest(sent)
	for len(l.relays) > 0 && !l.relays[0].since.After(sent) {
		l.relays = l.relays[1:]
	}

	if !l.touched.IsZero() {
		l.Extend(sent, min(timeout/leaseShare, certain(timeout)-AtMost(l.touched, sent)))
	}

	l.passOn(sent, answered, timeout)
	l.hear(sent, answered, timeout)
	now := time.Now()
	return l.Live(now) && !before.good(now)
}

// newest returns the newest touch that the ensemble's leader has received when it takes a
// write sent at sent. The lock must be held.
func (l *Lease) newest(sent time.Time) time.Time {
	newest := l.touched
	for _, r := range l.relays {
		if !r.since.After(sent) && r.at.After(newest) {
			newest = r.at
		}
	}
	return newest
}

// known is newest without the lock held.
func (l *Lease) known(sent time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest(sent)
}

// passOn notes which touch an answered write shows to be passed on: the newest one that
// our server saw at least the relay time before the write. In that time the leader has
// sent a ping, and the ping reached our server before the commit of the write, in the
// same stream. The server's answer took the touch along. Writes sent from now on reach
// the leader after that answer.
func (l *Lease) passOn(sent, answered time.Time, timeout time.Duration) {
	for i := len(l.touches) - 1; i >= 0; i-- {
		if t := l.touches[i]; AtLeast(t.answered, sent) >= relayTime(timeout) {
			l.relays = append(l.relays, relay{answered, t.sent})
			return
		}
	}
}
