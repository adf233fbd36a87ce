package election

import (
	"errors"
	"time"
)

// Trace is a set of functions that are called when something happens to a client or its
// candidates, for counters, gauges and spans. [WithTrace] sets it. A nil function is
// skipped. Later versions may add functions, and fields to what they get.
//
// Calls for one candidate come in order, one at a time, on a goroutine of their own. So do
// calls for the session. A slow call delays only the calls behind it on that goroutine. A
// panic is logged. Calls for several candidates may overlap.
//
// A call comes soon after the event that it reports, but not at the same moment. A function
// may call every method of the client and of its candidates. [Client.Close] waits a tenth
// of a second for calls that are still to come.
//
// IDs are never shortened. [Cause] turns an error into a label. Some values change without
// an event, such as a place in line or the rest of a lease. A gauge can ask for them: see
// the field Candidate of [StateChangedInfo].
type Trace struct {
	// TermBegan is called when a candidate begins to lead.
	TermBegan func(TermBeganInfo)
	// TermEnded is called when a candidate has ceased to lead. It is called once for each
	// TermBegan.
	TermEnded func(TermEndedInfo)
	// StateChanged is called when State of [Status] changes. A candidate begins as
	// [StateIdle].
	StateChanged func(StateChangedInfo)
	// RequestFailed is called when a candidate's own request to ZooKeeper has failed. The
	// candidate will make the request again.
	RequestFailed func(RequestFailedInfo)
	// WorkOverran is called at most once per term, if the work of the term still runs some
	// time after the term ended: the grace of [WithOverrun], or one session timeout without
	// that option.
	WorkOverran func(WorkOverranInfo)
	// Guarded is called after each call of [Term.Guard].
	Guarded func(GuardedInfo)

	// LeaseProved is called after each attempt to prove the lease. All candidates of the
	// client share the one lease of the session, so the call names no candidate and no
	// path. While a candidate leads or is next in line, the client makes an attempt every
	// twelfth of the session timeout, and more often while answers are slow.
	LeaseProved func(LeaseProvedInfo)
	// SessionChanged is called when the session is made, lost, resumed or replaced. It is
	// not called when [Client.Close] ends the session.
	SessionChanged func(SessionChangedInfo)
}

// TermBeganInfo is what [Trace] reports of a term's beginning.
type TermBeganInfo struct {
	Path  string // of the election, as given to NewCandidate
	ID    string // of the candidate
	Token int64  // [Term.Token]
	Began time.Time
}

// TermEndedInfo is what [Trace] reports of a term's end.
type TermEndedInfo struct {
	Path  string // of the election, as given to NewCandidate
	ID    string // of the candidate
	Token int64  // [Term.Token]
	Began time.Time
	// Ended is when the term ended, by the wall clock. If the process noticed the end of
	// the lease only later, as after a pause, Ended is the end of the lease.
	Ended time.Time
	// Lasted is the time from Began to Ended, by the monotonic clock.
	Lasted time.Duration
	Cause  error // [Term.Err]
}

// StateChangedInfo is what [Trace] reports of a candidate's state.
type StateChangedInfo struct {
	Path     string // of the election, as given to NewCandidate
	ID       string // of the candidate
	From, To State
	Since    time.Time // when To began, by this process's clock
	// Candidate is whose state this is. A gauge may keep it, and ask it for its place, its
	// lease and whether it leads ([Candidate.Status], [Candidate.Term]) when the gauge is
	// read. Drop it at StateIdle and StateClosed: the candidate then takes no part. Until
	// then it is the same for each call.
	Candidate *Candidate
}

// RequestFailedInfo is what [Trace] reports of a request of a candidate.
type RequestFailedInfo struct {
	Path       string // of the election, as given to NewCandidate
	ID         string // of the candidate
	Err        error
	RetryAfter time.Duration // the pause before the next attempt
	Failures   int           // in a row, this one included
}

// WorkOverranInfo is what [Trace] reports of work that does not stop.
type WorkOverranInfo struct {
	Path  string // of the election, as given to NewCandidate
	ID    string // of the candidate
	Token int64  // [Term.Token]
	Ended time.Time
	Cause error // [Term.Err]
}

// GuardedInfo is what [Trace] reports of a call of [Term.Guard].
type GuardedInfo struct {
	Path  string // of the election, as given to NewCandidate
	ID    string // of the candidate
	Token int64  // [Term.Token]
	Ops   int    // how many the call was given
	Took  time.Duration
	Err   error // what Guard returned
}

// LeaseProvedInfo is what [Trace] reports of an attempt to prove the lease.
type LeaseProvedInfo struct {
	Took time.Duration // from the request to its answer
	Err  error         // nil: a quorum has confirmed the session
}

// SessionChangedInfo is what [Trace] reports of a client's session.
type SessionChangedInfo struct {
	SessionID int64         // 0 if the session has expired or was given up; not to be published, see [Status]
	Connected bool          // to a server, in that session
	Timeout   time.Duration // of the session: the shortest that was granted
	// GivenUp is why the client gave the session up although no server had ended it. It
	// is nil for every other change.
	GivenUp error
}

// WithTrace sets functions that are called when something happens to the client or to one
// of its candidates. The client keeps a copy of t. If the option is given several times,
// the functions of each t are called, one after the other. Default: no function is called.
func WithTrace(t *Trace) ClientOption {
	if t == nil {
		return func(cfg *clientConfig) { cfg.wrong("WithTrace: trace is nil") }
	}
	own := *t
	return func(cfg *clientConfig) { cfg.trace = cfg.trace.and(own) }
}

// and returns a trace that calls the functions of t, and then those of u. A function that
// neither has is nil in it, so nothing is spent on that.
func (t Trace) and(u Trace) Trace {
	return Trace{
		TermBegan:      both(t.TermBegan, u.TermBegan),
		TermEnded:      both(t.TermEnded, u.TermEnded),
		StateChanged:   both(t.StateChanged, u.StateChanged),
		RequestFailed:  both(t.RequestFailed, u.RequestFailed),
		WorkOverran:    both(t.WorkOverran, u.WorkOverran),
		Guarded:        both(t.Guarded, u.Guarded),
		LeaseProved:    both(t.LeaseProved, u.LeaseProved),
		SessionChanged: both(t.SessionChanged, u.SessionChanged),
	}
}

// both returns a function that calls f and then g, also if f panics.
func both[Info any](f, g func(Info)) func(Info) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(info Info) {
		defer g(info)
		f(info)
	}
}

// Cause returns a short label for the error that ended a term, for a metric: one of
// lease_expired, session_expired, node_deleted, disconnected, resigned, unhealthy and
// closed. An error that wraps one of these has the same label. The label is "" for nil
// and "other" for any other error.
func Cause(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range labels {
		if errors.Is(err, c.err) {
			return c.label
		}
	}
	return "other"
}

var labels = []struct {
	err   error
	label string
}{
	{ErrLeaseExpired, "lease_expired"},
	{ErrSessionExpired, "session_expired"},
	{ErrNodeDeleted, "node_deleted"},
	{ErrResigned, "resigned"},
	{ErrUnhealthy, "unhealthy"},
	{ErrClosed, "closed"},
	{ErrDisconnected, "disconnected"},
}
