package sim

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// A candidate whose Run has returned keeps no goroutine, no timer and no room among its
// client's names. It can run again.
func TestCandidatesWhoseRunHasReturnedCostNothing(t *testing.T) {
	tell(t, func(s story) {
		const all = 100
		c := s.client("a", election.WithMaxEphemeralBytes(nameRoom))
		time.Sleep(time.Minute)
		synctest.Wait()
		before := s.goroutines()

		var ran, checks atomic.Int32
		var jobs []*election.Candidate
		for i := range all {
			x, err := election.NewCandidate(c, fmt.Sprintf("/job%02d", i),
				election.WithListener(election.ListenerFuncs{}),
				election.WithHealthCheck(time.Second, func(context.Context) error { checks.Add(1); return nil }))
			require.NoError(s, err)
			jobs = append(jobs, x)
		}
		for range 3 {
			for _, x := range jobs { // one at a time: there is room for one name
				require.NoError(s, x.Run(s.Context(), func(context.Context, *election.Term) error {
					ran.Add(1)
					return nil
				}))
				synctest.Wait()
				assert.Equal(s, election.StateIdle, x.Status().State)
				require.NoError(s, x.Resign(s.Context()))
			}
			synctest.Wait()
			assert.Equal(s, before, s.goroutines())
			made := checks.Load()
			time.Sleep(time.Hour)
			assert.Equal(s, made, checks.Load(), "nobody asks for its health")
		}
		assert.EqualValues(s, 3*all, ran.Load())

		for _, x := range jobs[:10] {
			require.NoError(s, x.Close())
			assert.Equal(s, election.StateClosed, x.Status().State)
			require.ErrorIs(s, x.Start(s.Context()), election.ErrClosed)
		}
		require.NoError(s, c.Close())
		require.ErrorIs(s, jobs[20].Start(s.Context()), election.ErrClosed)
		require.NoError(s, jobs[21].Shutdown(s.Context()))
	})
}

// nameRoom has room for one name at a path of six bytes.
const nameRoom = 4 + len("/job00/_c_") + 36 + len("-latch-") + 11
