package election

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Start enters the candidate into the election. It returns nil once its znode exists and
// its place in line is known. From then on the candidate takes part, again after every
// loss, until it is closed or a Run of it ends. Starting a candidate that takes part
// already is not an error.
//
// Start returns
//   - at once, without a retry, errors that a retry cannot mend, such as a missing
//     permission;
//   - ctx's error together with the last problem when ctx ends first. Everything else is
//     retried until then, and the candidate then takes no part;
//   - [ErrTooMany] if the client has no room for the candidate;
//   - [ErrClosed] if the candidate or its client is closed.
//
// Called by the function under Run, Start waits no longer than the term lasts, whatever
// ctx is.
func (c *Candidate) Start(ctx context.Context) error {
	return c.startAndWait(ctx, "Start", inLine)
}

// inLine reports whether the candidate has a znode and knows its place in line.
func inLine(v driver.View) bool {
	return v.Stood && v.Node != "" && v.State != machine.Joining && v.State != machine.Leaving
}

// startAndWait has the candidate take part, and waits until reached returns true.
func (c *Candidate) startAndWait(ctx context.Context, method string, reached func(driver.View) bool) error {
	if ctx == nil {
		return nilContext(method)
	}
	if ctx.Err() != nil {
		return c.ctxError(method, ctx)
	}

	refused := c.driver.BeginStart()
	defer c.driver.EndStart()
	if err := c.launch(); err != nil {
		return c.waitError(method, ctx, err)
	}
	if err := c.client.pending.wait(ctx, c.driver.Context().Done()); err != nil {
		return c.waitError(method, ctx, public(err))
	}
	if err := c.driver.Send(ctx, machine.Start{}); err != nil {
		return c.waitError(method, ctx, err)
	}

	ctx, release := c.inside(ctx)
	defer release()
	err := c.driver.Wait(ctx, func(v driver.View) (bool, error) {
		switch {
		case reached(v):
			return true, nil
		case c.driver.Life() >= driver.Closing:
			return false, ErrClosed
		case v.Refusals != refused:
			return false, v.Refusal
		case !v.Started: // it was withdrawn meanwhile
			c.driver.Post(machine.Start{})
		}
		return false, nil
	})
	return c.waitError(method, ctx, err)
}

// launch starts the driver, unless it runs. It returns ErrTooMany if the client has no room for the
// candidate, and session.ErrClosed if the candidate or the client is closing or closed.
func (c *Candidate) launch() error {
	return c.driver.Launch(func() error {
		if err := c.client.register(c); err != nil {
			return err
		}
		if c.cfg.healthCheck != nil {
			var ctx context.Context
			ctx, c.stopChecks = context.WithCancel(c.driver.Context())
			go c.watchHealth(ctx)
		}
		return nil
	})
}

// Await blocks until this candidate leads, and returns the term, which lasted a moment
// ago. If the candidate takes no part yet, Await starts it.
//
// If ctx ends first, Await returns ctx's error, and the candidate keeps its place in
// line, if it had one. To leave the line, use Close, Shutdown or Run. While there is no
// znode yet, Await returns the errors of [Candidate.Start]. It returns [ErrClosed] if the
// candidate or its client is closed.
//
// Called by the function under Run, Await returns context.Canceled and the term's cause
// once the term is over, whatever ctx is: the next term begins when that function has
// returned.
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
	err := c.startAndWait(ctx, "Await", func(driver.View) bool {
		term = c.Term()
		return term != nil
	})
	if err != nil {
		return nil, err
	}
	return term, nil
}

// Run waits until this candidate leads, and calls lead. If the term is lost while lead
// runs, Run waits for lead to return and for the next term, and calls lead again. If lead
// returns while its term lasts, Run resigns and returns: work that is to go on for as
// long as the candidate leads loops until its ctx is done. With [WithRequeue], Run takes
// part again instead.
//
// lead's context ends with the term or with ctx, whichever is first, and has ctx's
// values. lead must return soon after that. Until then this candidate neither hands over
// nor takes part again. Work that holds the term ([Term.Hold]) keeps it from that, too,
// but Run returns without waiting for it: call Shutdown to do so.
//
// Run returns
//   - lead's error, or nil, if lead returns while its term lasts;
//   - ctx's error, once lead has returned, joined with lead's own error unless that is
//     only a context error;
//   - [ErrClosed] if the candidate or its client is closed;
//   - an error that Start would return at once, such as a missing permission;
//   - an error if another Run of this candidate has not returned.
//
// An error that lead returns after its term was lost is logged, and Run goes on.
//
// If lead panics, the panic goes on to the caller of Run. Before that, the candidate
// leaves the election. It waits up to 1 s for ZooKeeper to confirm (20 ms if ctx has
// ended), and not at all if ZooKeeper cannot be reached. Start, Await and Run bring the
// candidate back.
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

	pauses := c.newPauses()
	for {
		term, err := c.Await(ctx)
		if err != nil {
			return err
		}
		if !term.join() {
			continue
		}

		began := time.Now()
		err = c.work(ctx, term, lead)
		pauses.ran(time.Since(began))
		switch {
		case ctx.Err() != nil:
			return errors.Join(c.ctxError("Run", ctx), unlessContext(err))
		case term.Err() == nil && pauses.max == 0:
			return err
		case term.Err() == nil:
			if err := c.requeue(ctx, err, pauses.after(err)); err != nil {
				return err
			}
		case err != nil:
			c.log.Debug("work ended with its term", "error", err, "cause", term.Err())
		}
	}
}

// work calls lead under term. The term counts it until it returns, or panics.
func (c *Candidate) work(ctx context.Context, term *Term, lead func(context.Context, *Term) error) error {
	defer term.leave()
	term.setWorker(goroutine())
	defer term.setWorker(0)
	inner, release := term.bound(ctx)
	defer release()
	return lead(inner, term)
}

// unlessContext drops an error that only says that a context ended.
func unlessContext(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// leaveWait is how long Run may go on leaving the line when its context has ended: a few
// round trips, and a fifth of what G9 permits. It is for programs whose main function
// then returns: without it, the next in line would have to wait for the end of their
// session.
const leaveWait = 20 * time.Millisecond

// withdraw leaves the line when Run ends, and waits for that, within bounds.
func (c *Candidate) withdraw(ctx context.Context) {
	own := context.WithoutCancel(ctx)
	if c.driver.Life() == driver.Resting || c.driver.Send(own, machine.Withdraw{}) != nil { // which takes no time
		return
	}
	own, cancel := context.WithTimeout(own, closeWait)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveWait, cancel) })()
	c.driver.Wait(own, func(v driver.View) (bool, error) {
		return v.Life == driver.Closed || v.Started || v.State == machine.Idle || !v.Connected, nil
	})
}

// ctxError says that a call ended with its context, and what was wrong at that time.
func (c *Candidate) ctxError(method string, ctx context.Context) error {
	err := session.CtxError(ctx)
	last := c.lastProblem(c.driver.View(nil).Connected)
	if last == nil && !c.sess.Status().Connected {
		last = ErrDisconnected
	}
	if last == nil {
		return fmt.Errorf("election: %s %s: %w", method, znode.Brief(c.path), err)
	}
	return fmt.Errorf("election: %s %s: %w; last: %w", method, znode.Brief(c.path), err, last)
}

func (c *Candidate) waitError(method string, ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClosed), errors.Is(err, session.ErrClosed):
		return fmt.Errorf("%s %s: %w", method, znode.Brief(c.path), ErrClosed)
	case ctx.Err() != nil:
		return c.ctxError(method, ctx)
	}
	return fmt.Errorf("election: %s %s: %w", method, znode.Brief(c.path), err)
}

// A function under Run that calls Resign, Shutdown, Start or Await of its own candidate
// must not wait for its own return. Its context says that it is the work, but it may call
// with another context, and then only the goroutine tells. Go has no public name for a
// goroutine but the first line of its stack, so that is what is compared. Profiler labels
// (runtime/pprof) would reach the goroutines that the work starts, too, but nobody can
// read the labels of the goroutine it runs on. Nor would it be right to take those
// goroutines for the work: one that waits for a signal and shuts down then has to wait
// for the work's return.

// inside returns the context that a call has to obey. That is ctx, or, for the work of
// this candidate's term, a context that also ends with the term. Call release when the
// call is over.
func (c *Candidate) inside(ctx context.Context) (obeyed context.Context, release func()) {
	t := c.last.Load()
	if t == nil || !t.worksHere() {
		return ctx, func() {}
	}
	return t.bound(ctx)
}

// isInside reports whether ctx is the context of the work under Run, or of the term, or
// one that inside returned.
func (c *Candidate) isInside(ctx context.Context) bool { return ctx.Value(termKey{c}) != nil }

func (t *Term) setWorker(goroutine uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worker = goroutine
}

// worksHere reports whether the function under Run is on the calling goroutine. It costs
// nothing if no function runs.
func (t *Term) worksHere() bool {
	t.mu.Lock()
	worker := t.worker
	t.mu.Unlock()
	return worker != 0 && worker == goroutine()
}

// goroutine is the number of the calling goroutine, or 0 if it cannot be had. Numbers are
// not used again. A stack begins with "goroutine 18 [running]:" (package runtime,
// traceback.go). Its rest is not formatted for a short buffer.
func goroutine() uint64 {
	var line [64]byte
	text := string(line[:runtime.Stack(line[:], false)])
	number, _, _ := strings.Cut(strings.TrimPrefix(text, "goroutine "), " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
