package electiontest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zkelection/election"
)

// ledger judges what the replicas of a [Chaos] report. Its rules are in the comment of
// Chaos. Only the first violation counts: what follows it is seldom of interest.
type ledger struct {
	grace  time.Duration
	note   func(format string, args ...any)
	failed chan struct{} // closed at the first violation

	mu        sync.Mutex // guards the following; note is called under it
	violation string
	works     map[*work]struct{}  // the work that runs
	newest    map[string]claim    // by election path: the largest token of a work
	written   map[string]claim    // by resource: the largest token of a write
	gone      map[*Replica]string // processes that are no more, and why; what they report is ignored
	latest    *Replica            // the one whose work began last
	begun     int
	writes    int
}

// claim is who used a token first, and when.
type claim struct {
	token int64
	by    *Replica
	at    time.Time
}

// work is one piece of a replica's work.
type work struct {
	of    *Replica
	term  *election.Term
	began time.Time
	over  time.Time // when its term ended, as far as that is known
}

func newLedger(grace time.Duration, note func(string, ...any)) *ledger {
	return &ledger{grace: grace, note: note, failed: make(chan struct{}), works: map[*work]struct{}{},
		newest: map[string]claim{}, written: map[string]claim{}, gone: map[*Replica]string{}}
}

// fail notes a violation. The lock must be held.
func (l *ledger) fail(format string, args ...any) {
	if l.violation != "" {
		return
	}
	l.violation = fmt.Sprintf(format, args...)
	l.note("VIOLATION: %s", l.violation)
	close(l.failed)
}

// begin enters a work, and returns the function that ends it.
func (l *ledger) begin(r *Replica, t *election.Term) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.gone[r] != "":
		return func() {}
	case t == nil:
		l.fail("%s begins work without a term: it does not lead", r.name)
		return func() {}
	}

	l.note("%s begins work, token %#x", r.name, t.Token())
	l.judgeOrder(r, t)
	l.judgeOverlap(r, t)
	w := &work{of: r, term: t, began: time.Now()}
	l.works[w] = struct{}{}
	l.begun++
	l.latest = r
	forget := context.AfterFunc(t.Context(), func() { l.termOver(w) })
	return func() {
		forget()
		l.end(w)
	}
}

func (l *ledger) end(w *work) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, runs := l.works[w]; runs {
		delete(l.works, w)
		l.note("%s ends work, token %#x", w.of.name, w.term.Token())
	}
}

// judgeOrder checks that the token of a work is not smaller than an earlier one's.
func (l *ledger) judgeOrder(r *Replica, t *election.Term) {
	last := l.newest[t.Path()]
	switch {
	case t.Token() < last.token:
		l.fail("a token goes back: %s begins work with token %#x, and %s began work with %#x %v before",
			r.name, t.Token(), last.by.name, last.token, time.Since(last.at))
	case t.Token() > last.token:
		l.newest[t.Path()] = claim{t.Token(), r, time.Now()}
	}
}

// handedOver is so short that no session and no time of [election.WithFastFailover] ends
// within it. A successor that begins so soon after the end of a term was given the
// leadership, so the work of that term should have stopped before.
const handedOver = 5 * time.Millisecond

// judgeOverlap compares work that begins with the work that runs. If work begins when its own
// term is over, that does not show two leaders.
func (l *ledger) judgeOverlap(r *Replica, t *election.Term) {
	if t.Err() != nil {
		return
	}
	for w := range l.works {
		if w.of == r || w.term.Path() != t.Path() {
			continue
		}
		err := w.term.Err()
		given := errors.Is(err, election.ErrResigned) || errors.Is(err, election.ErrClosed) || errors.Is(err, election.ErrUnhealthy)
		switch {
		case err == nil:
			l.fail("two works at once: %s begins work while %s works, and both lead (tokens %#x and %#x)",
				r.name, w.of.name, t.Token(), w.term.Token())
		case given && (w.over.IsZero() || time.Since(w.over) < handedOver):
			l.fail("two works at once: %s begins work while %s, which has given leadership up (%v), still works: "+
				"work belongs into Run's function, or holds its term, and stops before its client is closed", r.name, w.of.name, err)
		}
	}
}

// termOver runs when the term of a work has ended.
func (l *ledger) termOver(w *work) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, runs := l.works[w]; !runs {
		return
	}
	w.over = time.Now()
	l.note("%s works on, its term is over: %v", w.of.name, w.term.Err())
	// A millisecond more: a work that ends exactly with its grace is in time, and events of
	// one instant come in any order.
	time.AfterFunc(l.grace+time.Millisecond, func() { l.graceOver(w) })
}

func (l *ledger) graceOver(w *work) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, runs := l.works[w]; runs {
		l.fail("%s works on %v after the end of its term, token %#x: %v", w.of.name, l.grace, w.term.Token(), w.term.Err())
	}
}

// write enters a write that a resource has accepted.
func (l *ledger) write(r *Replica, resource string, token int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone[r] != "" {
		return
	}
	l.writes++
	last := l.written[resource]
	switch {
	case token < last.token:
		l.fail("a token goes back: %s writes to %q with token %#x, and %s began to write with %#x %v before",
			r.name, resource, token, last.by.name, last.token, time.Since(last.at))
	case token > last.token:
		l.written[resource] = claim{token, r, time.Now()}
	}
}

// leave ends all that a process does: it has exited, or was killed.
func (l *ledger) leave(r *Replica, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone[r] != "" {
		return
	}
	l.gone[r] = why
	l.note("%s %s", r.name, why)
	for w := range l.works {
		if w.of == r {
			delete(l.works, w)
		}
	}
}

// working returns the replica whose work began last, and whether a work runs now.
func (l *ledger) working() (latest *Replica, now bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest, len(l.works) > 0
}

func (l *ledger) counts() (begun, writes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun, l.writes
}

// verdict returns the violation, or "".
func (l *ledger) verdict() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.violation
}
