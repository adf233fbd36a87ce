package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Calls that the work under Run makes for its own candidate, with each context that it
// may have. None of them may wait for the work, which is the caller.
var contexts = map[string]func(s story, own context.Context, term *election.Term) context.Context{
	"its own":          func(_ story, own context.Context, _ *election.Term) context.Context { return own },
	"the term's":       func(_ story, _ context.Context, term *election.Term) context.Context { return term.Context() },
	"the background's": func(story, context.Context, *election.Term) context.Context { return context.Background() },
	"a request's": func(s story, _ context.Context, _ *election.Term) context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		s.Cleanup(cancel)
		return ctx
	},
}

// work leads once and calls f from inside. It returns f's result and how long f took.
func work(s story, x *election.Candidate, f func(own context.Context, term *election.Term) error) (took time.Duration,
	err error) {
	done := make(chan struct{})
	var once bool
	go x.Run(s.Context(), func(ctx context.Context, term *election.Term) error {
		if once {
			<-ctx.Done()
			return nil
		}
		once = true
		began := time.Now()
		err = f(ctx, term)
		took = time.Since(began)
		close(done)
		<-ctx.Done()
		return nil
	})
	select {
	case <-done:
	case <-time.After(time.Hour):
		require.Fail(s, "the work waits for itself")
	}
	return took, err
}

// short is how long a call takes if it waits only for the end of the term.
const short = time.Second

func TestShutdownFromInsideTheWorkReturnsWhenTheTermIsOver(t *testing.T) {
	for name, given := range contexts {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				x := s.candidate(s.client("a"))
				took, err := work(s, x, func(own context.Context, term *election.Term) error {
					err := x.Shutdown(given(s, own, term))
					assert.False(s, x.HasLeadership())
					assert.Len(s, s.e.Children(job), 1, "the znode stays until the work returns")
					return err
				})
				assert.ErrorIs(s, err, context.Canceled)
				assert.ErrorIs(s, err, election.ErrClosed)
				assert.ErrorContains(s, err, "leaving goes on")
				assert.Less(s, took, short)
				time.Sleep(time.Minute)
				assert.Empty(s, s.e.Children(job))
				assert.NoError(s, x.Shutdown(s.Context()), "from outside, when it has left")
			})
		})
	}
}

func TestResignFromInsideTheWorkReturnsWhenTheTermIsOver(t *testing.T) {
	for name, given := range contexts {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				x := s.candidate(s.client("a"))
				took, err := work(s, x, func(own context.Context, term *election.Term) error {
					err := x.Resign(given(s, own, term))
					assert.ErrorIs(s, term.Err(), election.ErrResigned)
					return err
				})
				assert.NoError(s, err)
				assert.Less(s, took, short)
				time.Sleep(time.Minute)
				assert.True(s, x.HasLeadership(), "again, since nobody else stands")
				leave(s, x)
			})
		})
	}
}

// A term that is over stays over, and the next one begins when the work has returned.
func TestAwaitAndStartFromInsideTheWorkEndWithTheTerm(t *testing.T) {
	for name, given := range contexts {
		for method, call := range map[string]func(*election.Candidate, context.Context) error{
			"Await": func(x *election.Candidate, ctx context.Context) error { _, err := x.Await(ctx); return err },
			"Start": (*election.Candidate).Start,
		} {
			t.Run(method+" with "+name, func(t *testing.T) {
				tell(t, func(s story) {
					x := s.candidate(s.client("a"))
					took, err := work(s, x, func(own context.Context, term *election.Term) error {
						require.NoError(s, call(x, given(s, own, term)), "the term lasts")
						require.NoError(s, s.e.Delete(x.Status().Znode))
						<-term.Done()
						return call(x, given(s, own, term))
					})
					assert.ErrorIs(s, err, context.Canceled)
					assert.ErrorIs(s, err, election.ErrNodeDeleted)
					assert.Less(s, took, short)
					leave(s, x)
				})
			})
		}
	}
}

// Shutdown waits for the work if it is called from outside, or from a goroutine that the
// work started and does not wait for.
func TestShutdownFromOutsideWaitsForTheWork(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"))
		const takes = 5 * time.Second
		left := make(chan error, 1)
		began := time.Now()
		_, _ = work(s, x, func(own context.Context, _ *election.Term) error {
			go func() { left <- x.Shutdown(context.Background()) }()
			<-own.Done()
			time.Sleep(takes)
			return nil
		})
		require.NoError(s, <-left)
		assert.GreaterOrEqual(s, time.Since(began), takes)
		assert.Empty(s, s.e.Children(job))
	})
}

// Work inside the work of another candidate is inside both.
func TestWorkWithinOtherWorkIsInsideBoth(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		x := s.candidate(a)
		y, err := election.NewCandidate(a, "/other")
		require.NoError(s, err)
		took, err := work(s, x, func(context.Context, *election.Term) error {
			return y.Run(context.Background(), func(context.Context, *election.Term) error {
				assert.NoError(s, x.Resign(context.Background()))
				return y.Shutdown(context.Background())
			})
		})
		assert.ErrorIs(s, err, election.ErrClosed)
		assert.Less(s, took, short)
		leave(s, x)
	})
}

// A callback delays the call that it makes by its grace of 100 ms, whatever its context.
func TestCallsFromACallbackWaitForItATenthOfASecond(t *testing.T) {
	const grace = 100 * time.Millisecond
	for name, given := range contexts {
		for method, call := range map[string]func(*election.Candidate, context.Context) error{
			"Resign": (*election.Candidate).Resign, "Shutdown": (*election.Candidate).Shutdown,
			"Close": func(x *election.Candidate, _ context.Context) error { return x.Close() },
		} {
			for which, slot := range map[string]func(func(*election.Term)) election.ListenerFuncs{
				"IsLeader": func(f func(*election.Term)) election.ListenerFuncs {
					return election.ListenerFuncs{OnIsLeader: f}
				},
				"NotLeader": func(f func(*election.Term)) election.ListenerFuncs {
					return election.ListenerFuncs{OnNotLeader: f}
				},
			} {
				t.Run(method+" from "+which+" with "+name, func(t *testing.T) {
					tell(t, func(s story) {
						var x *election.Candidate
						took := make(chan time.Duration, 9)
						x = s.candidate(s.client("a"), election.WithListener(slot(func(term *election.Term) {
							began := time.Now()
							_ = call(x, given(s, term.Context(), term))
							took <- time.Since(began)
						})))
						began := make(chan *election.Term, 9)
						x.AddListener(election.ListenerFuncs{OnIsLeader: func(term *election.Term) { began <- term }})
						go x.Start(s.Context())
						term := <-began
						if which == "NotLeader" {
							require.NoError(s, s.e.Delete(x.Status().Znode))
						}
						<-term.Done()
						select {
						case d := <-took:
							assert.LessOrEqual(s, d, grace+50*time.Millisecond, "and a few round trips")
						case <-time.After(time.Hour):
							require.Fail(s, "the callback waits for itself")
						}
						require.NoError(s, x.Close())
						synctest.Wait()
					})
				})
			}
		}
	}
}
