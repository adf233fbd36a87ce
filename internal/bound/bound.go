// Package bound joins the context of a term with that of the work done in the term.
package bound

import (
	"context"
	"time"
)

// Context returns a context that ends with term or with outer, whichever is first. It has
// the values of both and the deadline of outer. Call release when the work is over.
//
// Its Err asks both, so it is right on the first call after a pause of the process if
// theirs are. Contexts derived from it cost no goroutine.
func Context(term, outer context.Context) (ctx context.Context, release func()) {
	inner, cancel := context.WithCancelCause(term)
	stop := context.AfterFunc(outer, func() { cancel(context.Cause(outer)) })
	return joined{inner, term, outer, cancel}, func() {
		stop()
		cancel(nil)
	}
}

type joined struct {
	context.Context // derived from term
	term, outer     context.Context
	cancel          context.CancelCauseFunc
}

func (j joined) Err() error {
	if err := j.term.Err(); err != nil {
		return err
	}
	if j.outer.Err() != nil { // which asks the clock if this is work within other work
		j.cancel(context.Cause(j.outer))
	}
	return j.Context.Err()
}

func (j joined) Deadline() (time.Time, bool) { return j.outer.Deadline() }

func (j joined) Value(key any) any {
	if v := j.Context.Value(key); v != nil {
		return v
	}
	return j.outer.Value(key)
}
