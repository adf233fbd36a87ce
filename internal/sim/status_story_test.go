package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// A candidate with fast failover or strict hand-over leads by proofs of its own znode, too.
func TestStatusShowsTheLeaseThatTheCandidateLeadsBy(t *testing.T) {
	fast, strict := election.WithFastFailover(silent), election.WithStrictHandover()
	for name, kind := range map[string]struct {
		opts []election.Option
		most time.Duration
	}{
		"plain":           {nil, timeout / 3},
		"fast":            {[]election.Option{fast}, silent * 10 / 12},
		"strict":          {[]election.Option{strict}, timeout / 3},
		"fast and strict": {[]election.Option{fast, strict}, silent * 10 / 12},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				a := s.start(s.client("a"), kind.opts...)
				s.leads(a, timeout)
				for range 500 {
					time.Sleep(37 * time.Millisecond)
					synctest.Wait()
					end := a.Status().LeaseEnd
					require.Equal(s, a.Term().Deadline(), end)
					require.LessOrEqual(s, time.Until(end), kind.most)
				}

				s.crash("a")
				time.Sleep(kind.most / 4) // what was on its way has arrived
				end := a.Status().LeaseEnd
				time.Sleep(time.Until(end) - 1)
				require.True(s, a.Status().Leading)
				time.Sleep(time.Nanosecond)
				st := a.Status()
				require.False(s, st.Leading)
				require.Equal(s, end, st.LeaseEnd)
				synctest.Wait()
				require.Equal(s, end, a.Status().LeaseEnd, "nothing is proved any more")
			})
		})
	}
}

// Those behind are told what their own lease would be: of their znode, nothing is proved yet.
func TestStatusShowsNoLeaseBeforeAllThatItRestsOnIsProved(t *testing.T) {
	tell(t, func(s story) {
		plain, err := election.NewCandidate(s.client("p"), "/other")
		require.NoError(s, err)
		assert.Zero(s, plain.Status().LeaseEnd, "it has no znode")
		all := s.fast("a", "b", "c")
		assert.NotZero(s, all[1].Status().LeaseEnd, "the second beats")
		assert.Zero(s, all[2].Status().LeaseEnd, "the third does not")

		x, err := election.NewCandidate(s.client("x"), "/strict", election.WithStrictHandover())
		require.NoError(s, err)
		require.NoError(s, x.Start(s.Context()))
		time.Sleep(time.Second)
		st := x.Status()
		require.Equal(s, election.StateElected, st.State, "it waits for a leader of whom there is no record")
		assert.Zero(s, st.LeaseEnd)
		assert.Contains(s, st.String(), "the last leader's may not be over")
		time.Sleep(timeout / 2)
		require.True(s, x.HasLeadership())
		assert.Equal(s, x.Term().Deadline(), x.Status().LeaseEnd)
	})
}
