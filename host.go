package election

import (
	"log/slog"
	"time"

	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// host hears from the driver what happens to its candidate. The driver's owner goroutine
// calls its methods, one at a time, and uses its fields. None of them may block: log
// handlers and traces are the user's code, may be slow, and may call a method that waits
// for the owner. So their calls are kept for Flush.
type host struct {
	c       *Candidate
	reports []func() // logs and traces, for Flush
	silence *silence // nil unless the state should take a moment
}

var _ driver.Host = (*host)(nil)

// BeginTerm makes a term, and shows it together with the candidate's new state: Status is
// of one moment.
func (h *host) BeginTerm(a machine.BeginTerm, belief session.Belief, publish func(note func())) {
	c := h.c
	t := newTerm(c, a, belief)
	c.last.Store(t)
	publish(func() { c.term.Store(t) })
	if c.driver.Life() >= driver.Closing { // closing began before this term could be seen
		t.revoke(ErrClosed)
	}

	t.watchLease()
	c.listeners.gained(t)
	h.log(slog.LevelInfo, "leadership gained", "token", hexID(a.Token), "znode", znode.Brief(a.Node))
	h.traceBegan(t)
}

var causes = map[machine.Reason]error{
	machine.Resigned:        ErrResigned,
	machine.ClosedByUser:    ErrClosed,
	machine.Disconnected:    ErrDisconnected,
	machine.SessionExpired:  ErrSessionExpired,
	machine.LeaseExpired:    ErrLeaseExpired,
	machine.NodeDeleted:     ErrNodeDeleted,
	machine.BecameUnhealthy: ErrUnhealthy,
}

// EndTerm ends the present term, for this reason if it has not ended for another.
func (h *host) EndTerm(why machine.Reason) {
	c := h.c
	t := c.term.Load()
	t.live(time.Now()) // a lease that ran out ended it before whatever we hear of only now, as after a pause
	t.revoke(causes[why])
	c.term.Store(nil)

	r := t.reigned()
	h.log(slog.LevelInfo, "leadership lost", "token", hexID(t.token), "cause", t.Err(), "lasted", r.lasted, "ended", r.ended)
	h.traceEnded(t, r)
	h.Flush() // before the term's end can lead to more reports
	t.finish()
}

// LeaseShortened sets the timer of the present term again.
func (h *host) LeaseShortened() {
	if t := h.c.term.Load(); t != nil {
		t.rearm()
	}
}

// Moved logs the candidate's new state.
func (h *host) Moved(from, to machine.State) {
	h.watchSilence(to)
	was, is := State(from.String()), State(to.String())
	h.log(slog.LevelDebug, "state changed", "from", was, "to", is)
	h.traceMoved(was, is)
}

// Retrying logs a failed request, at Warn if it needs somebody's help.
func (h *host) Retrying(err error, after time.Duration, failures int) {
	level := slog.LevelDebug
	if queue.Final(err) {
		level = slog.LevelWarn
	}
	h.log(level, "will try again", "error", err, "after", after, "failures", failures)
	h.traceFailed(err, after, failures)
}

// Evicted logs that this candidate has removed the one ahead.
func (h *host) Evicted(ahead queue.Member) {
	p := h.c.client.participant(ahead)
	h.log(slog.LevelInfo, "the candidate ahead was silent and was removed", "ahead", znode.Brief(p.ID), "znode", znode.Brief(p.Path),
		"token", hexID(p.Token))
}

// Log takes a line of the driver's.
func (h *host) Log(level slog.Level, message string, args ...any) { h.log(level, message, args...) }

// Report logs a fault of this library.
func (h *host) Report(text string) {
	h.log(slog.LevelError, "this cannot be; please report it", "what", text)
}

// Flush hands over what there is to log and to trace.
func (h *host) Flush() {
	for _, f := range h.reports {
		h.c.reports.run(f)
	}
	h.reports = nil
}

// SessionEnding reports whether Client.Close is ending the session.
func (h *host) SessionEnding() bool { return h.c.client.ending.Load() }

// Ended makes room for another candidate of the client.
func (h *host) Ended() {
	h.silence.stop()
	if h.c.stopChecks != nil {
		h.c.stopChecks()
		h.c.setHealth(nil) // it is history
	}
	h.c.client.unregister(h.c)
}

func (h *host) later(f func()) { h.reports = append(h.reports, f) }

// log costs a goroutine only if the logger takes the level.
func (h *host) log(level slog.Level, message string, args ...any) {
	log, ctx := h.c.log, h.c.driver.Context()
	if log.Enabled(ctx, level) {
		h.later(func() { log.Log(ctx, level, message, args...) })
	}
}

// overdue are the states in which a candidate waits for what should take a moment.
var overdue = map[machine.State]struct {
	what, check string
	here        bool // it waits for this process, not for ZooKeeper
}{
	machine.Joining: {what: "the candidate still has no znode",
		check: "its permissions on the path, and whether the servers answer requests"},
	machine.Elected: {what: "the candidate is first in line and still cannot prove its lease",
		check: "whether a majority of the servers runs, how long they take for a write, and whether the znode may be read"},
	machine.Stopping: {what: "the term is over and its work still runs, so this candidate does not stand again",
		check: "the function under Run, which has to return when its context ends, and what holds the term, " +
			"which has to release it: at Debug this line says where the holds were taken", here: true},
	machine.Leaving: {what: "the candidate's znode is still to be removed",
		check: "its permissions on the path, and whether the servers answer requests"},
	machine.Unhealthy: {what: "the candidate stays out of the line while its health check fails",
		check: "what the health check says", here: true},
}

// watchSilence begins and ends the silence of a candidate that has moved.
func (h *host) watchSilence(to machine.State) {
	lasted, logged := h.silence.stop()
	h.silence = nil
	if logged && to != machine.Closed && to != machine.Idle {
		h.log(slog.LevelInfo, "the candidate goes on", "after", lasted, "state", State(to.String()))
	}
	if _, waits := overdue[to]; !waits {
		return
	}

	var s *silence
	s = newSilence(h.c.sess.Timeout(), func() {
		h.c.driver.Do(func() {
			if h.silence == s {
				h.overdue(to)
			}
		}, nil)
	})
	h.silence = s
}

// overdue logs that a candidate has been in a state for too long, unless the client logs
// the reason, once for all candidates. An outage that the client has not logged yet may
// be one of many short ones. Those are logged here, at the second time.
func (h *host) overdue(in machine.State) {
	s, c := h.silence, h.c
	out, logged := c.client.states.outage()
	if !overdue[in].here && (logged || out && !s.waived) {
		s.putOff()
		return
	}
	s.waived = false
	lasted := s.tell()

	reason := c.lastProblem(c.driver.View(nil).Connected)
	var holds []any
	switch {
	case in == machine.Stopping:
		t := c.last.Load()
		reason, holds = t.Err(), t.holds()
	case reason == nil:
		reason = errUnheard
	}
	w := overdue[in]
	h.log(slog.LevelWarn, w.what, append([]any{"for", lasted, "error", reason, "check", w.check}, holds...)...)
}
