package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// ends are the ways in which a candidate gives its term up. Each makes a candidate that
// leads, and ends its term in the background.
var ends = map[string]struct {
	cause error
	end   func(s story, c *election.Client) (*election.Candidate, *election.Term)
}{
	"Resign": {election.ErrResigned, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		x, term := leads(s, c)
		go x.Resign(s.Context())
		return x, term
	}},
	"Shutdown": {election.ErrClosed, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		x, term := leads(s, c)
		go x.Shutdown(s.Context())
		return x, term
	}},
	"Close": {election.ErrClosed, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		x, term := leads(s, c)
		time.AfterFunc(time.Second, func() { assert.NoError(s, x.Close(), "it does not wait for holds") })
		return x, term
	}},
	"the return of Run": {election.ErrResigned, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		x, began := s.candidate(c), make(chan *election.Term)
		go x.Run(s.Context(), func(_ context.Context, term *election.Term) error {
			began <- term
			time.Sleep(time.Second)
			return nil
		})
		return x, <-began
	}},
	"the end of Run's context": {election.ErrResigned, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		x, began := s.candidate(c), make(chan *election.Term)
		ctx, cancel := context.WithTimeout(s.Context(), 3*time.Second)
		s.Cleanup(cancel)
		go x.Run(ctx, func(_ context.Context, term *election.Term) error {
			began <- term
			<-ctx.Done()
			return nil
		})
		return x, <-began
	}},
	"WithMaxTerm": {election.ErrResigned, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		return leads(s, c, election.WithMaxTerm(5*time.Second))
	}},
	"a failing health check": {election.ErrUnhealthy, func(s story, c *election.Client) (*election.Candidate, *election.Term) {
		var checks int
		return leads(s, c, election.WithHealthCheck(time.Second, func(context.Context) error {
			if checks++; checks > 3 {
				return errors.New("sick")
			}
			return nil
		}))
	}},
}

func leads(s story, c *election.Client, opts ...election.Option) (*election.Candidate, *election.Term) {
	x := s.candidate(c, opts...)
	term, err := x.Await(s.Context())
	require.NoError(s, err)
	return x, term
}

func TestG3AHeldTermKeepsItsZnodeUntilTheLastRelease(t *testing.T) {
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				x, term := c.end(s, s.client("a"))
				first, err := term.Hold()
				require.NoError(s, err)
				second, err := term.Hold()
				require.NoError(s, err)
				znode := x.Status().Znode
				y := s.start(s.client("b"))

				<-term.Done()
				_, err = term.Hold()
				assert.ErrorIs(s, err, election.ErrTermOver)
				assert.ErrorIs(s, err, c.cause)
				kept := func() {
					time.Sleep(time.Hour)
					assert.False(s, x.HasLeadership())
					assert.False(s, y.HasLeadership(), "the work still runs")
					assert.Contains(s, s.e.Children(job), znode[len(job)+1:])
				}
				kept()
				first()
				kept()
				first()
				kept()
				go second()
				time.Sleep(time.Second)
				assert.True(s, y.HasLeadership())
				assert.NotContains(s, s.e.Children(job), znode[len(job)+1:])
				second()
			})
		})
	}
}

// Those who may ask a candidate that does not lead need not look whether there is a term.
func TestHoldOfATermThatIsOverSaysSo(t *testing.T) {
	tell(t, func(s story) {
		x, term := leads(s, s.client("a"))
		require.NoError(s, s.e.Delete(x.Status().Znode))
		<-term.Done()
		require.NoError(s, x.Close())
		release, err := term.Hold()
		assert.ErrorIs(s, err, election.ErrTermOver)
		assert.ErrorIs(s, err, election.ErrNodeDeleted)
		release()

		release, err = x.Term().Hold()
		assert.ErrorIs(s, err, election.ErrTermOver)
		release()
	})
}

// A candidate that has lost its znode does not take part again while its term is held.
// Others lead meanwhile, since nothing of this candidate's keeps them from it.
func TestAHeldTermKeepsItsCandidateOutOfTheLine(t *testing.T) {
	tell(t, func(s story) {
		x, term := leads(s, s.client("a"))
		y := s.start(s.client("b"))
		release, err := term.Hold()
		require.NoError(s, err)
		require.True(s, s.e.ExpireSession(x.Status().SessionID))
		time.Sleep(time.Hour)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, election.StateStopping, x.Status().State)
		release()
		time.Sleep(time.Second)
		assert.Equal(s, election.StateFollowing, x.Status().State)
	})
}

// Work may hold the term that it runs under, and leave that to others when it returns.
func TestRunReturnsBeforeTheHoldsOfItsTermAreReleased(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"))
		y := s.candidate(s.client("b"))
		var release func()
		began := time.Now()
		require.NoError(s, x.Run(s.Context(), func(_ context.Context, term *election.Term) (err error) {
			require.NoError(s, y.Start(s.Context()))
			release, err = term.Hold()
			return err
		}))
		assert.LessOrEqual(s, time.Since(began), 2*time.Second)

		again := make(chan *election.Term)
		go x.Run(s.Context(), func(_ context.Context, term *election.Term) error { again <- term; return nil })
		time.Sleep(time.Hour)
		assert.Equal(s, election.StateStopping, x.Status().State, "nor does another Run lead before that")
		assert.False(s, y.HasLeadership())
		release()
		time.Sleep(time.Second)
		assert.True(s, y.HasLeadership())
		require.NoError(s, y.Close())
		<-again
	})
}

// A goroutine that holds the term waits for itself, unless it calls with the term's
// context.
func TestResignAndShutdownOfAHolderEndWithTheirContext(t *testing.T) {
	for name, call := range map[string]func(*election.Candidate, context.Context) error{
		"Resign": (*election.Candidate).Resign, "Shutdown": (*election.Candidate).Shutdown,
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				x, term := leads(s, s.client("a"))
				release, err := term.Hold()
				require.NoError(s, err)
				began := time.Now()
				if err := call(x, term.Context()); err != nil {
					assert.ErrorContains(s, err, "leaving goes on")
				}
				assert.Less(s, time.Since(began), short)
				ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
				defer cancel()
				assert.ErrorIs(s, call(x, ctx), context.DeadlineExceeded)
				release()
				assert.NoError(s, call(x, s.Context()))
			})
		})
	}
}

func TestOverrunIsCalledOnceForHolds(t *testing.T) {
	tell(t, func(s story) {
		var calls atomic.Int32
		x, term := leads(s, s.client("a"), election.WithOverrun(time.Minute, func(*election.Term) { calls.Add(1) }))
		first, err := term.Hold()
		require.NoError(s, err)
		second, err := term.Hold()
		require.NoError(s, err)
		require.NoError(s, x.Close())
		time.Sleep(59 * time.Second)
		assert.Zero(s, calls.Load())
		time.Sleep(2 * time.Second)
		assert.EqualValues(s, 1, calls.Load())
		first()
		time.Sleep(time.Hour)
		second()
		time.Sleep(time.Hour)
		assert.EqualValues(s, 1, calls.Load())
	})
}

// takes holds a term, and returns where it did so.
func takes(s story, term *election.Term) (release func(), place string) {
	_, file, line, _ := runtime.Caller(0)
	release, err := term.Hold()
	require.NoError(s, err)
	return release, fmt.Sprintf("%s:%d", file, line+1)
}

func TestAHoldThatIsNeverReleasedIsToldWithWhereItWasTaken(t *testing.T) {
	for level, places := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		t.Run(level.String(), func(t *testing.T) {
			tell(t, func(s story) {
				said, log := listen(level)
				x, term := leads(s, s.client("a"), election.WithLogger(log))
				_, file, line, _ := runtime.Caller(0)
				released, err := term.Hold()
				require.NoError(s, err)
				_, place := takes(s, term)
				_, err = term.Hold()
				require.NoError(s, err)
				released()
				require.NoError(s, x.Close())
				closed := time.Since(said.began)
				time.Sleep(8 * timeout)

				var told []heard
				for _, l := range said.take() {
					if l.level == slog.LevelWarn {
						told = append(told, l)
						assert.EqualValues(s, 2, l.with["holds"])
						taken, _ := l.with["taken"].(string)
						assert.Equal(s, places, taken != "")
						if places {
							assert.Contains(s, taken, place)
							assert.NotContains(s, taken, fmt.Sprintf("%s:%d", file, line+1))
							assert.Contains(s, l.with["check"], "release")
						}
					}
				}
				warnings(s, told, closed, "its work still runs", election.ErrClosed.Error(), firstThree...)
			})
		})
	}
}

// The function under Run is no hold.
func TestWorkThatDoesNotReturnIsToldWithoutHolds(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelDebug)
		x := s.candidate(s.client("a"), election.WithLogger(log))
		end := make(chan struct{})
		go x.Run(s.Context(), func(_ context.Context, term *election.Term) error {
			release, err := term.Hold()
			require.NoError(s, err)
			<-term.Done()
			release()
			<-end
			return nil
		})
		time.Sleep(time.Second)
		require.NoError(s, x.Close())
		time.Sleep(2 * timeout)
		var told int
		for _, l := range said.take() {
			if l.level == slog.LevelWarn {
				told++
				assert.NotContains(s, l.with, "holds")
			}
		}
		assert.Equal(s, 1, told)
		close(end)
	})
}

func TestATermSaysWhoseItIsAndSinceWhen(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), election.WithID("worker-1"))
		time.Sleep(time.Hour)
		before := time.Now()
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		assert.Equal(s, job, term.Path())
		assert.Equal(s, "worker-1", term.ID())
		assert.False(s, term.Began().Before(before) || term.Began().After(time.Now()), term.Began())
		time.Sleep(time.Hour)
		assert.GreaterOrEqual(s, time.Since(term.Began()), time.Hour)
		require.NoError(s, x.Close())
		assert.Equal(s, []string{job, "worker-1"}, []string{term.Path(), term.ID()})
	})
}
