package sim

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

var errTrouble = errors.New("trouble")

// runs runs a candidate with WithRequeue, whose function returns what results hold. It
// returns when the function was called, and what Run returns.
func runs(s story, x *election.Candidate, ctx context.Context, results <-chan error) (called <-chan time.Time, result <-chan error) {
	calls, returns := make(chan time.Time, 99), make(chan error, 1)
	go func() {
		returns <- x.Run(ctx, func(ctx context.Context, _ *election.Term) error {
			calls <- time.Now()
			select {
			case err := <-results:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return calls, returns
}

func requeues(min, max time.Duration) election.Option { return election.WithRequeue(min, max) }

// The function returns nil. Whoever waits leads next, and so on in turn.
func TestRequeueAfterNilStandsAgainAtOnceAtTheBack(t *testing.T) {
	tell(t, func(s story) {
		results := make(chan error)
		a := s.candidate(s.client("a"), requeues(time.Hour, time.Hour), election.WithID("a"))
		b := s.candidate(s.client("b"), requeues(time.Hour, time.Hour), election.WithID("b"))
		byA, _ := runs(s, a, s.Context(), results)
		<-byA
		byB, _ := runs(s, b, s.Context(), results)
		time.Sleep(time.Second)
		for range 5 {
			results <- nil
			<-byB
			require.True(s, b.HasLeadership())
			time.Sleep(time.Second)
			require.Equal(s, election.StateFollowing, a.Status().State)
			results <- nil
			<-byA
			time.Sleep(time.Second)
		}
		require.NoError(s, b.Close())
		began := time.Now()
		results <- nil
		<-byA
		assert.Less(s, time.Since(began), time.Second, "nobody else is there")
	})
}

func TestRequeueAfterAnErrorPausesForLongerAndLonger(t *testing.T) {
	tell(t, func(s story) {
		const least, most = time.Second, 10 * time.Second
		said, log := listen(slog.LevelWarn)
		x := s.candidate(s.client("a"), requeues(least, most), election.WithLogger(log))
		results := make(chan error)
		called, _ := runs(s, x, s.Context(), results)
		<-called
		var all []time.Duration
		pause := func(after time.Duration, result error) time.Duration {
			time.Sleep(after)
			results <- result
			began := time.Now()
			synctest.Wait()
			if result != nil {
				assert.Empty(s, s.e.Children(job), "the znode goes before the pause")
			}
			d := (<-called).Sub(began)
			all = append(all, d)
			return d
		}
		about := func(want, got time.Duration) {
			assert.InEpsilon(s, want, got, 0.11, "%v", all)
			assert.NotEqual(s, want, got.Round(time.Microsecond), "it is spread")
		}
		const soon = 10 * time.Millisecond
		for range 2 {
			for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
				about(want*time.Second, pause(0, errTrouble))
			}
			assert.Less(s, pause(0, nil), soon)
		}
		about(1*time.Second, pause(0, errTrouble))
		about(2*time.Second, pause(most-time.Second, errTrouble))
		about(1*time.Second, pause(most, errTrouble)) // it had run for long

		told := said.take()
		require.Len(s, told, 15)
		assert.Equal(s, errTrouble, told[0].with["error"])
		assert.InEpsilon(s, 1.0, told[0].with["pause"].(time.Duration).Seconds(), 0.1)
	})
}

// While it pauses, others lead.
func TestRequeueGivesWayDuringItsPause(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Minute, time.Hour))
		results := make(chan error)
		called, _ := runs(s, x, s.Context(), results)
		<-called
		y := s.start(s.client("b"))
		results <- errTrouble
		time.Sleep(time.Second)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, election.StateIdle, x.Status().State)
		assert.Contains(s, x.Status().String(), "pauses")
		assert.ErrorContains(s, x.Run(s.Context(), func(context.Context, *election.Term) error { return nil }), "already running")
		time.Sleep(2 * time.Minute)
		assert.Equal(s, election.StateFollowing, x.Status().State)
	})
}

// A term that is lost is no failure of the function.
func TestRequeueDoesNotPauseAfterALostTerm(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Hour, time.Hour))
		called, _ := runs(s, x, s.Context(), nil)
		<-called
		for range 3 {
			began := time.Now()
			require.NoError(s, s.e.Delete(x.Status().Znode))
			assert.Less(s, (<-called).Sub(began), time.Second)
		}
	})
}

func TestRequeueEndsWithItsContextAndWithItsCandidate(t *testing.T) {
	type end func(s story, x *election.Candidate, c *election.Client, cancel func())
	for name, c := range map[string]struct {
		end  end
		want error
	}{
		"the context": {func(_ story, _ *election.Candidate, _ *election.Client, cancel func()) { cancel() }, context.Canceled},
		"Shutdown": {func(s story, x *election.Candidate, _ *election.Client, _ func()) {
			assert.NoError(s, x.Shutdown(s.Context()))
		}, election.ErrClosed},
		"Close": {func(s story, x *election.Candidate, _ *election.Client, _ func()) {
			assert.NoError(s, x.Close())
		}, election.ErrClosed},
		"the client's Close": {func(s story, _ *election.Candidate, c *election.Client, _ func()) {
			assert.NoError(s, c.Close())
		}, election.ErrClosed},
	} {
		for when, result := range map[string]error{"a pause": errTrouble, "work": nil} {
			t.Run(name+" during "+when, func(t *testing.T) {
				tell(t, func(s story) {
					client := s.client("a")
					x := s.candidate(client, requeues(time.Hour, time.Hour))
					ctx, cancel := context.WithCancel(s.Context())
					defer cancel()
					results := make(chan error, 1)
					called, returned := runs(s, x, ctx, results)
					<-called
					if result != nil {
						results <- result
					}
					time.Sleep(time.Minute)
					began := time.Now()
					c.end(s, x, client, cancel)
					err := <-returned
					assert.ErrorIs(s, err, c.want)
					assert.NotErrorIs(s, err, errTrouble)
					assert.LessOrEqual(s, time.Since(began), 100*time.Millisecond)
					assert.Empty(s, called)
					time.Sleep(time.Second)
					assert.Empty(s, s.e.Children(job))
				})
			})
		}
	}
}

// What Start would return at once ends Run, also when it comes later.
func TestRequeueEndsWithAFinalErrorOfStart(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Minute, time.Hour))
		results := make(chan error)
		called, returned := runs(s, x, s.Context(), results)
		<-called
		results <- errTrouble
		time.Sleep(time.Second)
		require.NoError(s, s.e.DeleteTree(job))
		require.NoError(s, s.e.CreateFor(job, nil, zk.WorldACL(zk.PermRead)))
		assert.ErrorIs(s, <-returned, zk.ErrNoAuth)
	})
}

func TestRequeueWithoutErrorsOfItsOwnReturnsNothingElse(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Hour, time.Hour))
		assert.PanicsWithValue(s, "work's panic", func() {
			_ = x.Run(s.Context(), func(context.Context, *election.Term) error { panic("work's panic") })
		})
		assert.Empty(s, s.e.Children(job))
	})
}

// Run is not among what a hold holds up.
func TestRequeueEndsWithShutdownThoughItsTermIsHeld(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Hour, time.Hour))
		results := make(chan error)
		called, returned := runs(s, x, s.Context(), results)
		<-called
		release, err := x.Term().Hold()
		require.NoError(s, err)
		results <- errTrouble
		time.Sleep(time.Minute)
		began := time.Now()
		left := make(chan error)
		go func() { left <- x.Shutdown(s.Context()) }()
		assert.ErrorIs(s, <-returned, election.ErrClosed)
		assert.LessOrEqual(s, time.Since(began), time.Second)
		release()
		assert.NoError(s, <-left)
	})
}

// A term that is held keeps its znode during the pause, and after it.
func TestRequeueLeavesOnlyWhenTheTermIsReleased(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), requeues(time.Minute, time.Hour))
		results := make(chan error)
		called, _ := runs(s, x, s.Context(), results)
		<-called
		y := s.start(s.client("b"))
		release, err := x.Term().Hold()
		require.NoError(s, err)
		results <- errTrouble
		time.Sleep(time.Hour)
		assert.False(s, x.HasLeadership() || y.HasLeadership())
		assert.Equal(s, election.StateStopping, x.Status().State)
		release()
		time.Sleep(time.Second)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, election.StateFollowing, x.Status().State)
	})
}

func TestRequeueOfWrongPausesIsNamed(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		for _, p := range []struct {
			min, max time.Duration
			want     string
		}{
			{0, time.Second, "WithRequeue: min 0s is not positive"},
			{-time.Second, time.Second, "WithRequeue: min -1s is not positive"},
			{time.Minute, time.Second, "WithRequeue: max 1s is less than min 1m0s"},
		} {
			_, err := election.NewCandidate(c, job, requeues(p.min, p.max))
			assert.ErrorContains(s, err, p.want)
		}
		_, err := election.NewCandidate(c, job, requeues(-2, -3))
		assert.ErrorContains(s, err, "min")
		assert.ErrorContains(s, err, "max")
	})
}

func TestRequeueTakesTheLongestPause(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		for range 8 { // some spread to less, and some to more
			x := s.candidate(c, requeues(math.MaxInt64, math.MaxInt64))
			results := make(chan error)
			called, _ := runs(s, x, s.Context(), results)
			<-called
			results <- errTrouble
			time.Sleep(time.Hour)
			assert.Empty(s, called)
		}
	})
}
