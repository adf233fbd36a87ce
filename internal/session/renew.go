package session

import (
	"errors"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
)

// A LeaseListener is notified of changes to the lease that [Session.Renew] renews for it.
// Its methods must not block and must not call the session.
type LeaseListener interface {
	// LeaseGood is called when the lease is good again after a time in which it was not.
	LeaseGood()
	// LeaseShortened is called when a server granted the resumed session less time than
	// before, so that the lease ends earlier.
	LeaseShortened()
	// TargetLost is called when a proof failed on this renewal's own znode. err is
	// zk.ErrNoNode if the znode is gone, and zk.ErrNoAuth if it may not be read.
	TargetLost(err error)
}

// renewal is one caller's order to renew the lease.
type renewal struct {
	target   string // the path of the znode that a proof checks
	listener LeaseListener
	lost     bool // the target is gone or may not be read, so it cannot serve for a proof
}

// Renew renews the lease until release is called. The proofs check the znode at target,
// or that of another renewal: one proof serves all renewals of a session.
func (s *Session) Renew(target string, listener LeaseListener) (release func()) {
	r := &renewal{target: target, listener: listener}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Closed() {
		if len(s.renewals) == 0 {
			s.renewing = time.Now()
		}
		s.renewals[r] = struct{}{}
		s.nudge()
	}

	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.renewals, r)
	}
}

// OnProof calls f from now on after every attempt to prove the lease, in the order of the
// answers: took is the time from the request to its answer, and err is nil if a quorum
// has committed it. f is called without a lock, and must not block.
func (s *Session) OnProof(f func(took time.Duration, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onProof = f
}

// usable returns a renewal whose target can be checked. It is nil if nothing has to be
// renewed, or if there is no connection.
func (r *renewer) usable() *renewal {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.status.Connected {
		return nil
	}
	for of := range s.renewals {
		if !of.lost {
			return of
		}
	}
	return nil
}

func newRenewer(s *Session) *renewer {
	return &renewer{s: s, eager: true, answers: make(chan proof, maxPending)}
}

// run proves the lease while there are renewals.
func (r *renewer) run() {
	defer r.s.loops.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()

	for {
		timer.Stop()
		var tick <-chan time.Time
		if of := r.usable(); of != nil && len(r.pending) < maxPending {
			if wait := time.Until(r.due()); wait > 0 {
				timer.Reset(wait)
				tick = timer.C
			} else {
				r.send(of)
				continue
			}
		}

		select {
		case <-tick:
		case p := <-r.answers:
			r.take(p)
		case <-r.s.wake:
			// There is a new renewal or a new connection. A lease that is not good is
			// proved at once, if it has to be renewed.
			if r.usable() != nil && !r.leased() {
				r.now, r.eager = true, true
			}
		case <-r.s.Done():
			return
		}
	}
}

// maxPending bounds the proofs that wait for their answers. Twelve would be waiting if a
// proof were sent every T/72 while answers take T/6.
const maxPending = 12

// renewer decides when the next proof is due. Only the renewal loop uses it.
type renewer struct {
	s       *Session
	now     bool          // the next proof is due at once
	eager   bool          // a proof that leaves the lease short may be followed by another at once
	last    time.Time     // when the latest proof was sent
	pause   time.Time     // after a proof that failed or left the lease short: when the next may be sent; or zero
	known   time.Time     // the newest touch that the latest proof rests on
	latency time.Duration // of the latest answer
	pending []time.Time   // when the proofs without an answer were sent, oldest first
	answers chan proof
}

// proof is the outcome of a proof.
type proof struct {
	of   *renewal // whose target was checked
	sent time.Time
	took time.Duration // from sent to the answer
	left time.Duration // what the lease had left at sent; 0 if the proof failed
	err  error
}

// due returns when the next proof is to be sent. A write that extended the lease before
// there was a lease to renew counts as a proof that was sent when the write was, or
// earlier, if it left the lease short. So a candidate that has just created its znode has
// time. Its reads do not queue behind a proof at the server, which keeps the reads of a
// session waiting for the writes before them. Later writes do not count: only a proof
// finds out whether its target is gone.
func (r *renewer) due() time.Time {
	switch {
	case r.now:
		return time.Time{}
	case !r.pause.IsZero():
		return r.pause
	}
	last := r.last
	if l := r.s.Lease(r.s.Status().ID); l != nil && l.Live(time.Now()) {
		if sent := l.provedAt(r.s.Timeout() / leaseShare); sent.After(last) && sent.Before(r.began()) {
			last = sent
		}
	}
	return last.Add(r.spacing())
}

// began returns since when there has been a lease to renew.
func (r *renewer) began() time.Time {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.renewing
}

// spacing returns the time between two proofs, from sending to sending. The lease never
// lapses between two answers if
//
//	age of the touch when a proof is sent + spacing + latency <= certain(T)
//
// The touch is then up to two latencies, a relay time and two spacings old. So three
// spacings must fit into what three latencies and the relay time leave of certain(T),
// with a margin of T/24 for answers that vary. A spacing of T/12 fits up to a latency of
// T/9, and a spacing of T/36 up to T/6.
func (r *renewer) spacing() time.Duration {
	t, latency := r.s.Timeout(), r.latency
	if len(r.pending) > 0 {
		latency = max(latency, time.Since(r.pending[0]))
	}
	return min(max((certain(t)-relayTime(t)-t/24-3*latency)/3, t/paceShare), t/renewShare)
}

// send sends a proof that checks the target of one of the renewals.
func (r *renewer) send(of *renewal) {
	s, sent := r.s, time.Now()
	r.pending = append(r.pending, sent)
	r.now, r.last, r.pause = false, sent, time.Time{}
	if l := s.Lease(s.Status().ID); l != nil {
		r.known = l.known(sent)
	}
	if !s.Go(func() { r.answers <- r.prove(of, sent) }) {
		r.answers <- proof{of: of, sent: sent, err: ErrClosed}
	}
}

// take decides after an answer when the next proof is due. A proof that was answered, but
// leaves the lease short or not good, has added evidence for the next one. So one more
// proof may follow at once; after that they keep a distance of T/36.
func (r *renewer) take(p proof) {
	if i := slices.IndexFunc(r.pending, p.sent.Equal); i >= 0 {
		r.pending = slices.Delete(r.pending, i, i+1)
	}
	t := r.s.Timeout()
	if p.err == nil {
		r.latency = time.Since(p.sent)
	}
	r.tell(p)

	switch {
	case p.left >= t/leaseShare-t/paceShare:
		r.eager, r.now = true, r.better()
	case p.err == nil && r.eager:
		r.now, r.eager = true, false
	case p.err == nil && r.better():
		r.now = true
	case p.err == nil:
		r.pause = r.last.Add(t / paceShare)
	case errors.Is(p.err, zk.ErrNoNode), errors.Is(p.err, zk.ErrNoAuth):
		r.lose(p.of, p.err)
		r.now = true
	default:
		r.pause = time.Now().Add(t / paceShare)
	}
}

// better reports whether the latest proof leaves the lease short and one sent now would
// rest on a touch that is newer by at least T/18. Evidence jumps ahead like this when
// answers have become slow. The lease may then end before the next proof by the clock is
// answered.
func (r *renewer) better() bool {
	l, t := r.s.Lease(r.s.Status().ID), r.s.Timeout()
	if l == nil || certain(t)-r.last.Sub(r.known) >= t/leaseShare {
		return false
	}
	return l.known(time.Now()).Sub(r.known) >= t/touchShare*4
}

// leased reports whether the present session's lease is good.
func (r *renewer) leased() bool {
	l := r.s.Lease(r.s.Status().ID)
	return l != nil && l.Live(time.Now())
}

// prove sends one proof and waits for its answer. sent is now.
func (r *renewer) prove(of *renewal, sent time.Time) proof {
	reply, err := r.s.Write(func(c *zk.Conn) error {
		_, err := c.Multi(&zk.CheckVersionRequest{Path: of.target, Version: -1})
		return err
	})

	p := proof{of: of, sent: sent, took: time.Since(sent), err: err}
	if l := r.s.Lease(reply.Session); err == nil && l != nil {
		p.left = l.Remaining(sent)
	}
	return p
}

// tell reports a proof to whoever wants to know.
func (r *renewer) tell(p proof) {
	s := r.s
	s.mu.Lock()
	f := s.onProof
	s.mu.Unlock()
	if f != nil && !s.Closed() {
		f(p.took, p.err)
	}
}

// lose stops using the target of a renewal, and tells its listener unless it is released.
func (r *renewer) lose(of *renewal, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.renewals[of]; ok {
		of.lost = true
		of.listener.TargetLost(err)
	}
}
