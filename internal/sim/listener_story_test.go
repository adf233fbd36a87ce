package sim

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Some services work in IsLeader itself until the term is over. Then, too, NotLeader
// comes before the successor's IsLeader.
func TestAListenerAtWorkIsToldOfTheEndBeforeTheNextBegins(t *testing.T) {
	tell(t, func(s story) {
		told := make(chan string, 2)
		x := s.start(s.client("a"), election.WithListener(election.ListenerFuncs{
			OnIsLeader:  func(t *election.Term) { <-t.Done(); time.Sleep(20 * time.Millisecond) },
			OnNotLeader: func(*election.Term) { told <- "x ends" }}))
		s.start(s.client("b"), election.WithListener(election.ListenerFuncs{
			OnIsLeader: func(*election.Term) { told <- "y begins" }}))
		time.Sleep(10 * time.Second)
		require.NoError(s, x.Shutdown(s.Context()))
		assert.Equal(s, "x ends", <-told)
		assert.Equal(s, "y begins", <-told)
	})
}

// A listener that never returns delays the first hand-over by its grace, and later ones
// not at all.
func TestAListenerThatNeverReturnsIsWaitedForOnce(t *testing.T) {
	tell(t, func(s story) {
		forever := make(chan struct{})
		defer close(forever)
		x := s.start(s.client("a"), election.WithListener(election.ListenerFuncs{
			OnIsLeader: func(*election.Term) { <-forever }}))
		s.start(s.client("b"))
		for _, limit := range []time.Duration{100 * time.Millisecond, 0} {
			time.Sleep(20 * time.Second)
			require.True(s, x.HasLeadership())
			began := time.Now()
			require.NoError(s, x.Resign(s.Context()))
			assert.Equal(s, limit, time.Since(began))
			s.handBack(x)
		}
	})
}

// handBack makes x lead again: it deletes the znode of the other candidate, which goes to
// the back of the line.
func (s story) handBack(x *election.Candidate) {
	time.Sleep(10 * time.Second)
	leader, err := s.client("operator").Leader(s.Context(), job)
	require.NoError(s, err)
	require.NoError(s, s.e.Delete(leader.Path))
	_, err = x.Await(s.Context())
	require.NoError(s, err)
}

// Log handlers and traces are the user's code. They may call the candidate, and even
// close it.
func TestLogsAndTracesMayCallTheCandidate(t *testing.T) {
	tell(t, func(s story) {
		var cand *election.Candidate
		asked := &asking{ask: func() { _ = cand.Status() }}
		trace := &election.Trace{TermBegan: func(election.TermBeganInfo) { _ = cand.Close() }}
		a := s.client("a", election.WithClientLogger(slog.New(asked)), election.WithTrace(trace))
		cand = s.candidate(a)
		if err := cand.Start(s.Context()); err != nil {
			require.ErrorIs(s, err, election.ErrClosed) // the trace may have closed it by then
		}
		s.e.Crash(1) // the client logs that it is disconnected
		time.Sleep(time.Second)
		s.e.Restart(1)
		time.Sleep(20 * time.Second)
		assert.Equal(s, election.StateClosed, cand.Status().State)
		assert.Empty(s, s.e.Children(job))
	})
}

type asking struct {
	slog.Handler
	ask func()
}

func (h *asking) Enabled(context.Context, slog.Level) bool { return true }

func (h *asking) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *asking) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "disconnected") {
		h.ask()
	}
	return nil
}

// A test's FailNow ends its goroutine. A callback may do so, too.
func TestACallbackThatEndsItsGoroutineIsCalledAgain(t *testing.T) {
	tell(t, func(s story) {
		var told []string
		leave := func(what string) func(*election.Term) {
			return func(*election.Term) { told = append(told, what); runtime.Goexit() }
		}
		var terms int
		trace := &election.Trace{TermBegan: func(election.TermBeganInfo) { terms++; runtime.Goexit() }}
		x := s.start(s.client("a", election.WithTrace(trace)),
			election.WithListener(election.ListenerFuncs{OnIsLeader: leave("leads"),
				OnNotLeader: leave("leads no more")}))
		for range 2 {
			synctest.Wait()
			require.NoError(s, x.Resign(s.Context()))
		}
		synctest.Wait()
		assert.Equal(s, []string{"leads", "leads no more", "leads", "leads no more", "leads"}, told)
		assert.Equal(s, 3, terms)
	})
}
