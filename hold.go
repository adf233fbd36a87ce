package election

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
)

// Hold counts work outside of [Candidate.Run], such as an HTTP handler or a cron job, as
// work of the term. Like the function under Run, it keeps the candidate's znode in place:
// when the term ends by Resign, Shutdown, Close, the return of Run, [WithMaxTerm] or a
// failing health check, nobody else leads before the last release. Until then this
// candidate does not take part again either, and [WithOverrun] reports work that goes on
// for too long.
//
// Call release when the work is done. It may be called from any goroutine, and a second
// call does nothing. release is never nil.
//
// If the term is over, Hold returns [ErrTermOver], which wraps the term's cause, and the
// work must not begin. A nil Term is over, so Hold may be called on what
// [Candidate.Term] returns:
//
//	term := candidate.Term()
//	release, err := term.Hold()
//	if err != nil {
//		return err // this process does not lead
//	}
//	defer release()
//	return write(ctx, term.Token())
//
// A hold does not make the term last. Long work must stop when the term's context ends. A
// hold also does not keep ZooKeeper from ending the session, or the next candidate from
// replacing this one by [WithFastFailover]: if this process is cut off, another candidate
// may lead while the work still runs. [Client.Close] does not wait for holds either. Only
// [Term.Token] and [Term.Guard] protect what is written then.
//
// A goroutine that holds the term must not wait for its own release. If it calls Resign or
// Shutdown, these return only when their ctx ends. With the term's context, or a context
// derived from it, they return as soon as the term is over.
//
// If a hold is not released within one session timeout after the term's end, the candidate
// logs that at Warn. If its logger is enabled for Debug, the line also says where the hold
// was taken.
func (t *Term) Hold() (release func(), err error) {
	if t == nil {
		return func() {}, ErrTermOver
	}

	traces := t.cand.log.Enabled(context.Background(), slog.LevelDebug)
	if !t.join() {
		return func() {}, fmt.Errorf("%w: %w", ErrTermOver, t.Err())
	}
	h := &hold{term: t}
	if traces {
		runtime.Callers(2, h.taken[:])
		t.trace(h)
	}
	return h.release, nil
}

// hold is work outside of Run.
type hold struct {
	term     *Term
	released atomic.Bool
	taken    [1]uintptr // where it was taken, if the log is to show that
}

func (h *hold) release() {
	if !h.released.CompareAndSwap(false, true) {
		return
	}
	if h.taken[0] != 0 {
		h.term.untrace(h)
	}
	h.term.leave()
}

func (h *hold) String() string {
	at, _ := runtime.CallersFrames(h.taken[:]).Next()
	return fmt.Sprintf("%s:%d", at.File, at.Line)
}

func (t *Term) trace(h *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.traced == nil {
		t.traced = map[*hold]struct{}{}
	}
	t.traced[h] = struct{}{}
}

func (t *Term) untrace(h *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.traced, h)
}

// mostPlaces is how many places one log line names at most.
const mostPlaces = 10

// holds returns log attributes of the open holds: how many there are, and where they were
// taken, each place once.
func (t *Term) holds() (attrs []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := t.running
	if t.worker != 0 {
		open--
	}
	if open == 0 {
		return nil
	}

	var places []string
	for h := range t.traced {
		places = append(places, h.String())
	}
	slices.Sort(places)
	places = slices.Compact(places)
	if len(places) > mostPlaces {
		places = append(places[:mostPlaces], "…")
	}
	attrs = []any{"holds", open}
	if len(places) > 0 {
		attrs = append(attrs, "taken", strings.Join(places, ", "))
	}
	return attrs
}
