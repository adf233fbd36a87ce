package electiontest

import (
	"io"
	"log/slog"
	"sync"
	"testing"
)

// Logger returns a logger for [election.WithClientLogger] that writes to tb's output,
// Debug included. Go shows that output if the test fails, or with -v. Among the lines is
// where a term was held that is never released: see [election.Term.Hold]. What is logged
// after tb has ended is dropped.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	w := &output{w: tb.Output()}
	tb.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// output is a test's output. Writing to that panics when the test has ended.
type output struct {
	mu sync.Mutex // guards the following; held while a line is written
	w  io.Writer  // nil when the test has ended
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(b), nil
	}
	return o.w.Write(b)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = nil
}
