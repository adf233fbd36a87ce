package election

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/line"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
)

// Start makes the candidate stand, and returns once its znode exists and its place in line is known. It then stands, and
// stands again after every loss, until it is closed or a Run of it ends. Starting a candidate that stands already is not
// an error.
//
// What cannot succeed without somebody's help, such as a missing permission, is returned at once and not retried.
// Everything else is retried until ctx ends: then Start returns ctx's error together with the last trouble, and the
// candidate does not stand. It returns ErrClosed when the candidate or its client is closed.
func (c *Candidate) Start(ctx context.Context) error {
	return c.stand(ctx, "Start", snapshot.stands)
}

// stands reports whether there is a znode, and its place in line is known.
func (v snapshot) stands() bool {
	return v.Stood && v.Node != "" && v.State != machine.Joining && v.State != machine.Leaving
}

// stand makes the candidate stand and waits for reached.
func (c *Candidate) stand(ctx context.Context, method string, reached func(snapshot) bool) error {
	if ctx == nil {
		return nilContext(method)
	}
	if ctx.Err() != nil {
		return c.ctxError(method, ctx)
	}
	if !c.launch() {
		return c.waitError(method, ctx, ErrClosed)
	}
	c.mu.Lock()
	c.starts++
	refused := c.view.refusals
	c.mu.Unlock()
	defer c.unstart()
	if err := c.client.pending.wait(ctx, c.exited); err != nil {
		return c.waitError(method, ctx, public(err))
	}
	if err := c.send(ctx, machine.Start{}); err != nil {
		return c.waitError(method, ctx, err)
	}
	err := c.wait(ctx, func(v snapshot) (bool, error) {
		switch {
		case reached(v):
			return true, nil
		case v.closed || c.closing.Load():
			return false, ErrClosed
		case v.refusals != refused:
			return false, v.refusal
		case !v.Started: // somebody withdrew it meanwhile
			c.post(machine.Start{})
		}
		return false, nil
	})
	return c.waitError(method, ctx, err)
}

// unstart withdraws a candidate that nobody waits for and that has no znode yet: a start given up is undone.
func (c *Candidate) unstart() {
	c.mu.Lock()
	c.starts--
	last := c.starts == 0 && !c.view.Stood
	c.mu.Unlock()
	if last {
		c.deliver(message{event: machine.Withdraw{}, before: c.abandoned})
	}
}

// abandoned is asked on the owner, where a znode made meanwhile is known.
func (c *Candidate) abandoned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts == 0 && !c.own.machine.View().Stood
}

// Resign ends this candidate's term and puts it at the back of the line, once its work has returned. It returns when
// the new znode exists, or with ctx's error while that goes on. A candidate that is not first keeps its place, and
// Resign returns nil. With the context of a function under Run, or the term's own, it returns as soon as the term is
// over: that context has ended then, and that function is what may remain to be waited for. It returns ErrClosed when
// the candidate or its client is closed.
func (c *Candidate) Resign(ctx context.Context) error {
	switch {
	case ctx == nil:
		return nilContext("Resign")
	case c.closing.Load() || c.sess.Closed():
		return c.waitError("Resign", ctx, ErrClosed)
	case !c.begun.Load():
		return nil
	}
	if ctx.Value(termKey{c}) != nil { // what it asks for is what ends ctx; the owner takes the message without delay
		ctx = context.WithoutCancel(ctx)
		return c.waitError("Resign", ctx, c.send(ctx, machine.Resign{}))
	}
	if err := c.send(ctx, machine.Resign{}); err != nil {
		return c.waitError("Resign", ctx, err)
	}
	err := c.wait(ctx, func(v snapshot) (bool, error) {
		if v.closed {
			return false, ErrClosed
		}
		inLine := v.State == machine.Following || v.State == machine.Elected || v.State == machine.Leading
		return !v.Rejoin && (inLine || !v.Started || v.State == machine.Unhealthy), nil
	})
	return c.waitError("Resign", ctx, err)
}

// Shutdown leaves for good, gracefully: the term ends, NotLeader is called, the function under Run returns, and only
// then is the znode deleted. It returns nil when the znode is gone, or where there never was one. When ctx ends first it
// returns ctx's error; leaving goes on by itself, and the znode stays until the work returns or the client is closed.
// Closing the client meanwhile has it return ErrClosed. Calling it again, or after Close, waits for the same; when the
// client is closed already there is nothing left to do, and it returns nil.
func (c *Candidate) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return nilContext("Shutdown")
	}
	if !c.close() {
		return nil
	}
	err := c.wait(ctx, func(v snapshot) (bool, error) {
		if v.cut {
			return false, ErrClosed
		}
		return v.closed, nil
	})
	return c.waitError("Shutdown", ctx, err)
}

// closeWait bounds how long Close waits for the server's answer.
const closeWait = time.Second

// Close leaves for good, now: the term is over and its context cancelled when it returns. The znode is removed at once,
// which Close waits for, or, where work under Run has not returned yet, as soon as it has, which Close does not wait
// for. When ZooKeeper does not answer within a second, or cannot be asked, it returns ErrDisconnected; removing the znode
// goes on until it is done or the session is over. A second Close does no harm. The client is not closed.
func (c *Candidate) Close() error {
	if !c.close() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := c.wait(ctx, func(v snapshot) (bool, error) {
		switch {
		case v.closed || v.Working && c.busy():
			return true, nil
		case !v.connected && v.State != machine.Leading && !v.Working:
			return false, ErrDisconnected
		}
		return false, nil
	})
	if err != nil && !c.sess.Closed() {
		return fmt.Errorf("election: Close: the znode is still to be removed: %w", ErrDisconnected)
	}
	return nil
}

// close has the machine leave for good; false if it never began to stand, or the client is closed.
func (c *Candidate) close() bool {
	c.closing.Store(true)
	c.once.Do(c.finish) // never launched, and now never to be
	if !c.begun.Load() {
		return false
	}
	if t := c.term.Load(); t != nil {
		t.end(ErrClosed)
	}
	return c.send(context.Background(), machine.Close{}) == nil
}

// busy reports whether work of the last term still runs.
func (c *Candidate) busy() bool {
	t := c.last.Load()
	return t != nil && t.working()
}

// leaveWait is how long Run may go on leaving the line when its context has ended: some round trips, and a fifth of what G9
// leaves it. A program whose main function returns then does not keep the next in line waiting for its session's end.
const leaveWait = 20 * time.Millisecond

// withdraw leaves the line when Run ends, and waits for it, within bounds.
func (c *Candidate) withdraw(ctx context.Context) {
	own := context.WithoutCancel(ctx)
	if !c.begun.Load() || c.send(own, machine.Withdraw{}) != nil { // which takes no time
		return
	}
	own, cancel := context.WithTimeout(own, closeWait)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveWait, cancel) })()
	c.wait(own, func(v snapshot) (bool, error) {
		return v.closed || v.Started || v.State == machine.Idle || !v.connected, nil
	})
}

// ctxError says that a wait ended with its context, and what was wrong at that time.
func (c *Candidate) ctxError(method string, ctx context.Context) error {
	err := session.CtxError(ctx)
	c.mu.Lock()
	up := c.view.connected
	c.mu.Unlock()
	last := c.trouble(up)
	if last == nil && !c.sess.State().Connected {
		last = ErrDisconnected
	}
	if last == nil {
		return fmt.Errorf("election: %s %s: %w", method, c.path, err)
	}
	return fmt.Errorf("election: %s %s: %w; last: %w", method, c.path, err, last)
}

func (c *Candidate) waitError(method string, ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed):
		return fmt.Errorf("%s %s: %w", method, c.path, ErrClosed)
	case ctx.Err() != nil:
		return c.ctxError(method, ctx)
	}
	return fmt.Errorf("election: %s %s: %w", method, c.path, err)
}

// wait returns when done says so, ctx has ended, or the owner has.
func (c *Candidate) wait(ctx context.Context, done func(snapshot) (bool, error)) error {
	for {
		c.mu.Lock()
		v := c.view
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if ok, err := done(v); ok || err != nil {
			return err
		}
		if v.closed {
			return ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Await blocks until this candidate leads and returns the term, which lasted a moment ago; it makes the candidate stand
// if it does not. When ctx ends first it returns ctx's error and the candidate keeps its place in line, if it had
// one: leave it with Close, Shutdown or by Run. It returns Start's errors while there is no znode yet, and
// ErrClosed when the candidate or its client is closed.
func (c *Candidate) Await(ctx context.Context) (*Term, error) {
	switch {
	case ctx == nil:
		return nil, nilContext("Await")
	case ctx.Err() != nil:
		return nil, c.ctxError("Await", ctx)
	}
	if t := c.Term(); t != nil {
		return t, nil
	}
	var term *Term
	err := c.stand(ctx, "Await", func(snapshot) bool {
		term = c.Term()
		return term != nil
	})
	if err != nil {
		return nil, err
	}
	return term, nil
}

// Run leads for as long as it may: it waits until this candidate leads, calls lead, and after a term was lost waits
// for the next and calls lead again. lead's context ends with the term or with ctx, whichever is first, and has ctx's
// values; lead must return soon after, since until then this candidate neither hands on nor stands again.
//
// Run returns
//   - lead's error, or nil, when lead returns while its term lasts, having resigned;
//   - ctx's error when ctx ends and lead has returned, with lead's, where that says more than that a context ended;
//   - ErrClosed when the candidate or its client is closed;
//   - what Start returns at once, such as a missing permission.
//
// A panic in lead goes on to the caller of Run. The candidate has then left the line, or, where ZooKeeper has not
// confirmed that within a second, within 20 ms where ctx has ended, or cannot be reached, is about to; Start, Await and
// Run bring it back. What lead returns after its term was lost is logged and no reason to stop. Only one Run at a time: a
// second is an error.
func (c *Candidate) Run(ctx context.Context, lead func(ctx context.Context, term *Term) error) error {
	switch {
	case ctx == nil:
		return nilContext("Run")
	case lead == nil:
		return errors.New("election: Run: lead is nil")
	}
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("election: Run: already running")
	}
	defer c.running.Store(false)
	defer c.withdraw(ctx)
	for {
		term, err := c.Await(ctx)
		if err != nil {
			return err
		}
		if !term.join() {
			continue
		}
		err = c.work(ctx, term, lead)
		switch {
		case ctx.Err() != nil:
			return errors.Join(c.ctxError("Run", ctx), unlessContext(err))
		case term.Err() == nil:
			return err
		case err != nil:
			c.log.Debug("work ended with its term", "error", err, "cause", term.Err())
		}
	}
}

// work calls lead under term, which counts it until it returns, by panic too.
func (c *Candidate) work(ctx context.Context, term *Term, lead func(context.Context, *Term) error) error {
	defer term.leave()
	inner, cancel := context.WithCancelCause(term.Context())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	return lead(workContext{inner, ctx, term, cancel}, term)
}

// workContext ends with its term or with the context given to Run, whose values it has.
type workContext struct {
	context.Context
	outer  context.Context
	term   *Term
	cancel context.CancelCauseFunc
}

func (w workContext) Err() error {
	if err := w.term.ctx.Err(); err != nil {
		return err
	}
	if w.outer.Err() != nil { // which asks the clock where this is work within other work
		w.cancel(context.Cause(w.outer))
	}
	return w.Context.Err()
}

func (w workContext) Deadline() (time.Time, bool) { return w.outer.Deadline() }

func (w workContext) Value(key any) any {
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return w.outer.Value(key)
}

// unlessContext drops an error that only repeats that a context ended.
func unlessContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// limitTerm has the candidate resign after d if somebody waits, and look again later if nobody does.
func (c *Candidate) limitTerm(t *Term, d time.Duration) {
	c.own.maxTerm = time.AfterFunc(d, func() {
		c.sess.Go(func() {
			all, err := c.place.List()
			c.deliver(message{event: machine.Resign{}, before: func() bool {
				if c.term.Load() != t {
					return false
				}
				if err != nil || len(all) == 0 || all[len(all)-1] == t.node {
					c.limitTerm(t, c.cfg.maxTerm/10+time.Millisecond)
					return false
				}
				return true
			}})
		})
	})
}

// watchHealth asks the user's check, first at once and then at every interval.
func (c *Candidate) watchHealth() {
	every := time.NewTicker(c.cfg.interval)
	defer every.Stop()
	for {
		err := c.checkHealth()
		if c.ctx.Err() != nil {
			return
		}
		c.healthIs(err)
		select {
		case <-every.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// healthIs tells the owner what a check said.
func (c *Candidate) healthIs(err error) {
	c.deliver(message{event: machine.Health{OK: err == nil}, before: func() bool {
		c.diagnosed(err)
		return true
	}})
}

// checkHealth runs one check. One that overstays its time has failed; the next waits until it has returned.
func (c *Candidate) checkHealth() error {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.interval)
	defer cancel()
	overstays := fmt.Errorf("the check took longer than %v", c.cfg.interval)
	late := time.AfterFunc(c.cfg.interval, func() { c.healthIs(overstays) })
	defer late.Stop()
	err := errors.New("the check panicked, or ended its goroutine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer logPanic(c.log, "the health check panicked")
		err = c.cfg.check(ctx)
	}()
	<-done
	if err == nil && ctx.Err() != nil {
		err = overstays
	}
	return err
}

// Term is one unbroken reign of one candidate. It is over when its context has ended, and stays so. HasLeadership is false
// by then, until another term begins. It is safe for concurrent use.
type Term struct {
	cand   *Candidate
	number uint64 // of the machine's, so that what comes late is told apart
	node   string
	token  int64
	lease  *session.Lease
	began  time.Time
	ctx    termContext

	over  atomic.Bool // set under mu, before the context is cancelled; never goes back
	parts atomic.Int32

	mu      sync.Mutex // guards the following; the context is cancelled under it, so that cause and over agree
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	works   int  // functions under Run
	settled bool // the machine knows that the term is over
}

// Parts that must be over before the znode may go: the work, and telling the listeners.
const termParts = 2

func newTerm(c *Candidate, begin machine.BeginTerm, lease *session.Lease) *Term {
	t := &Term{cand: c, number: begin.Term, node: begin.Node, token: begin.Token, lease: lease, began: time.Now()}
	inner, cancel := context.WithCancelCause(context.Background())
	t.ctx, t.cancel = termContext{inner, t}, cancel
	t.parts.Store(termParts)
	return t
}

// termContext is cancelled when the term ends, and its Err asks the clock. It shares the inner context's Done
// channel, so contexts derived from it cost no goroutine. It has no deadline: the lease's end moves, and a
// deadline that moves would misguide the contexts derived from it.
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

// termKey finds the term of a candidate in its context, and in those derived from it, as that of the work under Run.
type termKey struct{ of *Candidate }

func (c termContext) Value(key any) any {
	if key == (termKey{c.term.cand}) {
		return c.term
	}
	return c.Context.Value(key)
}

// Context is cancelled when the term ends; context.Cause says why, with one of this package's errors. Its Err compares
// the lease with the clock at each call, so after a pause of the process it is right at once; its Done channel
// closes as soon as a goroutine has run. Use Err, or HasLeadership, right before an act, and Done to stop waiting.
func (t *Term) Context() context.Context { return t.ctx }

// Done is closed when the term has ended: the context's channel.
func (t *Term) Done() <-chan struct{} { return t.ctx.Done() }

// Err is nil while the term lasts, then why it ended: ErrLeaseExpired, ErrSessionExpired, ErrNodeDeleted,
// ErrDisconnected, ErrResigned, ErrUnhealthy or ErrClosed. It asks the clock, like the context's Err.
func (t *Term) Err() error {
	if t.live(time.Now()) {
		return nil
	}
	t.wait()
	return context.Cause(t.ctx.Context)
}

// Token is the fencing token: the czxid of the candidate's znode, strictly larger for every later leader of the
// path, also when the path has been deleted and made anew. It is the same in two terms on one znode, between which
// nobody else led. Pass it along with every write to a resource that remembers the largest it has seen and
// refuses smaller ones.
func (t *Term) Token() int64 { return t.token }

// Deadline is the end of the lease as known now; it moves on as the lease is renewed. Past it the term is over. Of a term
// that is over it says nothing: the candidate's lease may go on.
func (t *Term) Deadline() time.Time { return t.lease.End() }

// String names the term in one line, for logs.
func (t *Term) String() string {
	return oneLine(fmt.Sprintf("term of %s at %s, token %#x", t.cand.cfg.id, t.cand.path, t.token))
}

// live compares the lease with the clock. Whoever finds it over ends the term: a proof that comes late
// must not bring it back.
func (t *Term) live(now time.Time) bool {
	if t.over.Load() {
		return false
	}
	if t.lease.Live(now) {
		return true
	}
	t.end(ErrLeaseExpired)
	t.cand.post(machine.LeaseOver{Term: t.number})
	return false
}

// end takes the belief away. The first cause counts.
func (t *Term) end(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over.Load() {
		t.over.Store(true)
		t.cancel(cause)
	}
}

// wait returns when an end that has begun is complete.
func (t *Term) wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
}

// watchLease ends the term when its lease ends without anybody asking. The timer is set anew only when it
// fires: renewals leave it alone.
func (t *Term) watchLease() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(t.lease.Remaining(time.Now()), t.onTimer)
}

func (t *Term) onTimer() {
	now := time.Now()
	if !t.live(now) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.settled {
		t.timer.Reset(t.lease.Remaining(now))
	}
}

// settle completes a term's end on the machine's side: the listeners are told, and the machine hears when that and
// the work are done.
func (t *Term) settle() {
	t.mu.Lock()
	t.timer.Stop()
	t.settled = true
	idle := t.works == 0
	t.mu.Unlock()
	if idle {
		t.partDone()
	} else if t.cand.cfg.overrun != nil {
		time.AfterFunc(t.cand.cfg.grace, t.overrun)
	}
	t.cand.hub.lost(t, t.partDone)
}

func (t *Term) partDone() {
	if t.parts.Add(-1) == 0 {
		t.cand.post(machine.Stopped{Term: t.number})
	}
}

func (t *Term) overrun() {
	if t.working() {
		defer logPanic(t.cand.log, "the overrun function panicked")
		t.cand.cfg.overrun(t)
	}
}

func (t *Term) working() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.works > 0
}

// join counts a function that works under the term; false if it is over already.
func (t *Term) join() bool {
	if !t.live(time.Now()) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Load() {
		return false
	}
	t.works++
	return true
}

func (t *Term) leave() {
	t.mu.Lock()
	t.works--
	last := t.works == 0 && t.settled
	t.mu.Unlock()
	if last {
		t.partDone()
	}
}

// Guard applies ZooKeeper writes atomically with the proof that this term's znode still exists, so they commit
// only if no later leader can have begun. ops are *zk.CreateRequest, *zk.DeleteRequest, *zk.SetDataRequest and
// *zk.CheckVersionRequest, with paths below the client's chroot; without any, Guard is that proof alone. One
// response is returned for each.
//
// Errors: ErrTermOver when the term is over, or ZooKeeper found its znode gone: nothing was applied. An error that
// names one of ops and wraps the driver's (zk.ErrBadVersion, say): nothing was applied, and the term lasts; of one that
// is of another type, nil, or has a bad path or flags, nothing was sent. ErrDisconnected, ErrClosed (the client was closed
// meanwhile), or ctx's error: no answer came, all of ops were applied or none, and only reading tells; a ctx that had
// ended before sends nothing, and the error says so. Guard returns within 100 ms of ctx's end.
//
// With a naming that has no UUID the proof goes by a name that can come again: after the whole path was deleted by
// hand and made anew, it may find another's znode until this candidate has noticed.
func (t *Term) Guard(ctx context.Context, ops ...any) ([]zk.MultiResponse, error) {
	if ctx == nil {
		return nil, nilContext("Guard")
	}
	all, err := line.Guarded(t.cand.place.Node(t.node), t.cand.client.full, ops)
	if err != nil {
		return nil, fmt.Errorf("election: Guard: %w", err)
	}
	if err := t.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTermOver, err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("election: Guard: nothing was sent: %w", session.CtxError(ctx))
	}
	sess := t.cand.sess
	responses, err := session.Call(ctx, sess, func() (res []zk.MultiResponse, err error) {
		_, err = sess.Write(func(c *zk.Conn) (err error) {
			res, err = c.Multi(all...)
			return err
		})
		return res, err
	})
	if !session.Answered(err) && (ctx.Err() != nil || errors.Is(err, session.ErrClosed)) {
		return nil, fmt.Errorf("election: Guard: the outcome is unknown: %w", public(err))
	}
	return t.judge(responses, err)
}

// judge tells whose error it is. The driver returns the first failing operation's error; an operation after
// that one has RuntimeInconsistency, one before it none (DataTree.processTxn).
func (t *Term) judge(responses []zk.MultiResponse, err error) ([]zk.MultiResponse, error) {
	chroot := t.cand.client.chroot
	for i := range responses {
		responses[i].String = strings.TrimPrefix(responses[i].String, chroot)
	}
	switch {
	case err == nil:
		return responses[1:], nil
	case len(responses) > 0 && errors.Is(responses[0].Error, zk.ErrNoNode), errors.Is(err, zk.ErrSessionExpired):
		t.cand.post(machine.Tick{}) // have the candidate look at its znode
		return nil, fmt.Errorf("%w: its znode is gone: %w", ErrTermOver, err)
	case len(responses) > 0 && responses[0].Error != nil:
		return nil, fmt.Errorf("election: Guard: check of the term's znode: %w", responses[0].Error)
	}
	if errors.Is(err, zk.ErrShortBuffer) { // the driver's own limit, 1.5 MiB
		return nil, fmt.Errorf("election: Guard: ops are too large, nothing was sent: %w", err)
	}
	for i := range max(len(responses)-1, 0) {
		if e := responses[i+1].Error; e != nil {
			return responses[1:], fmt.Errorf("election: Guard: operation %d: %w", i, e)
		}
	}
	if session.Answered(err) {
		return nil, fmt.Errorf("election: Guard: %w", err)
	}
	return nil, fmt.Errorf("election: Guard: the outcome is unknown: %w: %w", ErrDisconnected, err)
}
