package election

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkelection/election/internal/bound"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Term is one uninterrupted period of leadership of one candidate. It is over when its
// context has ended, and stays so. By then [Candidate.HasLeadership] is false, until
// another term begins. It is safe for concurrent use.
type Term struct {
	cand   *Candidate
	number uint64 // the machine's number of it, so that late messages are recognised
	node   string
	token  int64
	lease  session.Belief
	began  time.Time
	ctx    termContext

	over    atomic.Bool // set under mu, before the context is cancelled; never goes back
	pending atomic.Int32

	mu       sync.Mutex // guards the following; the context is cancelled under it, so that cause and over agree
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	running  int                // functions under Run, and holds
	worker   uint64             // the goroutine that the function under Run is on; 0 when there is none
	traced   map[*hold]struct{} // the holds of which is known where they were taken
	finished bool               // the machine knows that the term is over
	reign    reign              // zero until the term is over
}

// waitedFor is the number of things that must be over before the znode may go: the work,
// and notifying the listeners.
const waitedFor = 2

func newTerm(c *Candidate, begin machine.BeginTerm, lease session.Belief) *Term {
	t := &Term{cand: c, number: begin.Term, node: begin.Node, token: begin.Token, lease: lease, began: time.Now()}
	inner, cancel := context.WithCancelCause(context.Background())
	t.ctx, t.cancel = termContext{inner, t}, cancel
	t.pending.Store(waitedFor)
	return t
}

// Context returns a context that is cancelled when the term ends. [context.Cause] says
// why, with one of this package's errors. Its Err compares the lease with the clock at
// each call, so after a pause of the process it is right at once. Its Done channel closes
// as soon as a goroutine has run. Use Err, or [Candidate.HasLeadership], right before an
// act, and Done to stop waiting.
func (t *Term) Context() context.Context { return t.ctx }

// Done returns the context's channel, which is closed when the term has ended.
func (t *Term) Done() <-chan struct{} { return t.ctx.Done() }

// Err returns nil while the term lasts, and then why it ended: [ErrLeaseExpired],
// [ErrSessionExpired], [ErrNodeDeleted], [ErrDisconnected], [ErrResigned], [ErrUnhealthy]
// or [ErrClosed]. It asks the clock, like the context's Err.
func (t *Term) Err() error {
	if t.live(time.Now()) {
		return nil
	}
	t.wait()
	return context.Cause(t.ctx.Context)
}

// Path returns the path of the election, as it was given to [NewCandidate].
func (t *Term) Path() string { return t.cand.path }

// ID returns the identity of the candidate that leads: see [WithID].
func (t *Term) ID() string { return t.cand.cfg.id }

// Began returns when the term began, by this process's clock. It has a monotonic reading,
// so [time.Since] of it is right if the wall clock was set.
func (t *Term) Began() time.Time { return t.began }

// Token returns the fencing token: the czxid of the candidate's znode. It is strictly
// larger for every later leader of the path, also after the path has been deleted and
// created again. Two terms on one znode have the same token: no other candidate led
// between them. Pass the token along with every write to a resource that remembers the
// largest token it has seen and refuses smaller ones.
func (t *Term) Token() int64 { return t.token }

// Deadline returns the end of the lease as known now. It moves on as the lease is
// renewed. Past it the term is over. If the term is over already, Deadline says nothing
// about it: the candidate's lease may go on.
func (t *Term) Deadline() time.Time { return t.lease.End() }

// String describes the term in one line, for logs.
func (t *Term) String() string {
	return znode.OneLine(fmt.Sprintf("term of %s at %s, token %#x", znode.Brief(t.cand.cfg.id), znode.Brief(t.cand.path), t.token))
}

// live compares the lease with the clock. A caller that finds the lease over ends the
// term, so that a proof that comes late cannot bring it back.
func (t *Term) live(now time.Time) bool {
	if t.over.Load() {
		return false
	}
	leaseEnd, over := t.lease.Ended(now)
	if !over {
		return true
	}
	t.revokeAt(ErrLeaseExpired, leaseEnd)
	t.cand.driver.Post(machine.LeaseOver{Term: t.number})
	return false
}

// revoke ends the term: from now on it does not lead. The first cause counts.
func (t *Term) revoke(cause error) {
	leaseEnd, _ := t.lease.Ended(time.Now())
	t.revokeAt(cause, leaseEnd)
}

// revokeAt is revoke for a caller that knows when the lease ended, if it did.
func (t *Term) revokeAt(cause error, leaseEnd time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over.Load() {
		t.reign = reignUntil(t.began, time.Now(), leaseEnd)
		t.over.Store(true)
		t.cancel(cause)
	}
}

// wait returns when an end that has begun is complete.
func (t *Term) wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
}

// watchLease ends the term when its lease ends and nobody asks. The timer is set again
// only when it fires, or when the lease has become shorter. Renewals leave it alone.
func (t *Term) watchLease() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(t.lease.Remaining(time.Now()), t.rearm)
}

// rearm sets the timer to the lease's end, or ends the term if that has passed.
func (t *Term) rearm() {
	now := time.Now()
	if !t.live(now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.finished {
		t.timer.Reset(t.lease.Remaining(now))
	}
}

// reign is how long a term lasted. It is known when the term is over.
type reign struct {
	lasted time.Duration
	ended  time.Time // by the wall clock
}

// reignUntil returns the reign of a term that is found to be over now. If its lease ran
// out before, the term ended there: a post-mortem must not show an overlap with the next
// leader that never was.
func reignUntil(began, now, leaseEnd time.Time) reign {
	r := reign{max(now.Sub(began), 0), now.Round(0)}
	if leaseEnd.IsZero() {
		return r
	}
	if lasted := max(leaseEnd.Sub(began), 0); lasted < r.lasted {
		r.lasted = lasted
	}
	if ended := leaseEnd.Round(0); ended.Before(r.ended) { // which is right on a machine that slept
		r.ended = ended
	}
	return r
}

// reigned returns how long the term lasted. The term has ended.
func (t *Term) reigned() reign {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reign
}

// finish completes a term's end on the machine's side. It notifies the listeners. The
// machine hears of it when they and the work are done.
func (t *Term) finish() {
	t.mu.Lock()
	t.timer.Stop()
	t.finished = true
	idle := t.running == 0
	t.mu.Unlock()
	if idle {
		t.partDone()
	} else {
		t.awaitOverrun()
	}
	t.cand.listeners.lost(t, t.partDone)
}

func (t *Term) partDone() {
	if t.pending.Add(-1) == 0 {
		t.cand.driver.Post(machine.Stopped{Term: t.number})
	}
}

// awaitOverrun sets a timer that reports an overrun of the work, if an option asks for that.
func (t *Term) awaitOverrun() {
	switch c := t.cand; {
	case c.cfg.overrun != nil:
		time.AfterFunc(c.cfg.grace, t.overrun)
	case c.trace().WorkOverran != nil:
		time.AfterFunc(c.sess.Timeout(), t.overrun)
	}
}

func (t *Term) overrun() {
	if !t.working() {
		return
	}
	t.traceOverran()
	if f := t.cand.cfg.overrun; f != nil {
		defer logPanic(t.cand.log, "the overrun function panicked")
		f(t)
	}
}

func (t *Term) working() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running > 0
}

// join counts work of the term: the function under Run, or a hold. It returns false if
// the term is over already. leave takes it back.
func (t *Term) join() bool {
	if !t.live(time.Now()) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Load() {
		return false
	}
	t.running++
	return true
}

func (t *Term) leave() {
	t.mu.Lock()
	t.running--
	last := t.running == 0 && t.finished
	t.mu.Unlock()
	if last {
		t.partDone()
	}
}

// termContext is cancelled when the term ends, and its Err asks the clock. It shares the
// inner context's Done channel, so contexts derived from it cost no goroutine. It has no
// deadline: the end of the lease moves, and a deadline that moves would mislead the
// contexts derived from it.
type termContext struct {
	context.Context
	term *Term
}

func (c termContext) Err() error {
	if c.term.live(time.Now()) {
		return nil
	}
	c.term.wait()
	return c.Context.Err()
}

// termKey finds a candidate's term in the term's context, and in contexts derived from it
// such as that of the work under Run.
type termKey struct{ of *Candidate }

func (c termContext) Value(key any) any {
	if key == (termKey{c.term.cand}) {
		return c.term
	}
	return c.Context.Value(key)
}

// bound returns a context that ends with the term or with ctx, whichever is first, and
// has the values of both.
func (t *Term) bound(ctx context.Context) (bounded context.Context, release func()) {
	return bound.Context(t.Context(), ctx)
}
