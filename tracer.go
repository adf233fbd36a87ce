package election

import (
	"log/slog"
	"time"

	"github.com/zkelection/election/internal/session"
)

// traced enqueues a call of f, which is a function of a [Trace]. It does nothing if f is nil.
func traced[Info any](enqueue func(func()), log *slog.Logger, f func(Info), info Info) {
	if f == nil {
		return
	}
	enqueue(func() {
		defer logPanic(log, "a trace function panicked")
		f(info)
	})
}

// tracer reports what happens to a client's session. Each candidate's host reports what
// happens to the candidate.
type tracer struct {
	trace Trace
	log   *slog.Logger
	calls serial

	// Only the session's calls use the following.
	known bool // there has been a session, so a loss can be reported
	last  SessionChangedInfo
}

// traceSession reports what happens to the session, until the session is closed. It
// subscribes only to what the trace has functions for.
func traceSession(sess *session.Session, trace Trace, log *slog.Logger) *tracer {
	t := &tracer{trace: trace, log: log}
	if trace.SessionChanged != nil {
		sess.Subscribe(t.changed)
	}
	if trace.LeaseProved != nil {
		sess.OnProof(t.proved)
	}
	return t
}

// changed is called by the session, in order and under its lock.
func (t *tracer) changed(st session.Status) {
	t.known = t.known || st.Connected
	info := SessionChangedInfo{SessionID: st.ID, Connected: st.Connected, Timeout: st.Timeout, GivenUp: st.GivenUp}
	if !t.known || info == t.last { // the same status comes again if only watches were lost
		return
	}
	t.last = info
	traced(t.calls.run, t.log, t.trace.SessionChanged, info)
}

// proved is called by the session after each proof.
func (t *tracer) proved(took time.Duration, err error) {
	if err != nil {
		err = public(err)
	}
	traced(t.calls.run, t.log, t.trace.LeaseProved, LeaseProvedInfo{Took: took, Err: err})
}

// trace returns the client's Trace.
func (c *Candidate) trace() *Trace { return &c.client.tracer.trace }

func (h *host) traceBegan(t *Term) {
	c := h.c
	traced(h.later, c.log, c.trace().TermBegan, TermBeganInfo{Path: c.path, ID: c.cfg.id, Token: t.token, Began: t.began})
}

func (h *host) traceEnded(t *Term, r reign) {
	c := h.c
	traced(h.later, c.log, c.trace().TermEnded, TermEndedInfo{Path: c.path, ID: c.cfg.id, Token: t.token,
		Began: t.began, Ended: r.ended, Lasted: r.lasted, Cause: t.Err()})
}

func (h *host) traceMoved(from, to State) {
	c := h.c
	traced(h.later, c.log, c.trace().StateChanged, StateChangedInfo{Path: c.path, ID: c.cfg.id, From: from, To: to,
		Since: time.Now(), Candidate: c})
}

func (h *host) traceFailed(err error, after time.Duration, failures int) {
	c := h.c
	traced(h.later, c.log, c.trace().RequestFailed, RequestFailedInfo{Path: c.path, ID: c.cfg.id, Err: public(err),
		RetryAfter: after, Failures: failures})
}

// The events below are noticed on the user's goroutines and by timers, and not by the owner.
// So their calls do not go through the host.

func (t *Term) traceOverran() {
	c := t.cand
	traced(c.reports.run, c.log, c.trace().WorkOverran, WorkOverranInfo{Path: c.path, ID: c.cfg.id, Token: t.token,
		Ended: t.reigned().ended, Cause: t.Err()})
}

func (t *Term) traceGuarded(ops int, took time.Duration, err error) {
	c := t.cand
	traced(c.reports.run, c.log, c.trace().Guarded, GuardedInfo{Path: c.path, ID: c.cfg.id, Token: t.token,
		Ops: ops, Took: took, Err: err})
}
