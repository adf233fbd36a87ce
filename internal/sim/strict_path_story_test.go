package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/zksim"
)

// What befalls the election path and its record.

// deleteLeader takes the leader's znode away, so that it hears of that late.
func (s story) deleteLeader(name string, c *election.Candidate) {
	s.e.Delay("zk1", name, time.Second, time.Second)
	require.NoError(s, s.e.Delete(c.Status().Znode))
}

func TestThePathIsDeletedWhileOneWaits(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b", "c")
		overlaps := s.meet(all)
		s.leads(all[0], 10*time.Second)
		time.Sleep(time.Minute)
		s.deleteLeader("a", all[0])
		time.Sleep(2 * time.Second)
		require.Equal(s, election.StateElected, all[1].Status().State)
		require.NoError(s, s.e.DeleteTree(job))
		s.e.HealAll()
		began := time.Now()
		for !all[0].HasLeadership() && !all[1].HasLeadership() && !all[2].HasLeadership() {
			require.Less(s, time.Since(began), 10*time.Second)
			time.Sleep(10 * time.Millisecond)
		}
		require.InDelta(s, reign.Wait(believed).Seconds(), time.Since(began).Seconds(), .2, "there is no record any more")
		require.Zero(s, *overlaps)
	})
}

// The record goes with the path, and with it for how long the last leader may consider itself
// leader. So the next one reckons with the longest time that its session timeout allows.
func TestWhoFindsNoRecordWaitsForAnyTimeOfFastFailover(t *testing.T) {
	tell(t, func(s story) {
		start := func(name string, within time.Duration) *election.Candidate {
			return s.start(s.client(name), election.WithStrictHandover(), election.WithFastFailover(within))
		}
		a := start("a", timeout/2)
		s.leads(a, 10*time.Second)
		b := start("b", 200*time.Millisecond)
		overlaps := s.meet([]*election.Candidate{a, b})
		time.Sleep(time.Minute)
		s.crash("a")
		require.NoError(s, s.e.DeleteTree(job))
		require.Greater(s, s.leads(b, 10*time.Second), reign.Wait(believed)-time.Millisecond)
		require.Zero(s, *overlaps)
	})
}

func TestOneThatWaitsLeavesAtOnceAndNothingOfItStays(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		synctest.Wait()
		idle := s.goroutines()
		for range 3 {
			a := s.start(c, election.WithStrictHandover())
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(s, election.StateElected, a.Status().State)
			began := time.Now()
			require.NoError(s, a.Close())
			require.Less(s, time.Since(began), 100*time.Millisecond)
			synctest.Wait()
			require.Empty(s, s.e.Children(job))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(s, idle, s.goroutines())
		r, version := s.record()
		require.Zero(s, r)
		require.Zero(s, version)
	})
}

// A candidate without the option has made the path, so it is a container, and goes with the
// last candidate. The record goes with it, and whoever comes then waits.
func TestARecordInAContainerIsMissedAndWaitedFor(t *testing.T) {
	tell(t, func(s story) {
		old := s.start(s.client("old"))
		s.leads(old, 10*time.Second)
		all := s.strict("a", "b")
		overlaps := s.meet(append(all, old))
		require.NoError(s, old.Shutdown(s.Context()))
		require.InDelta(s, reign.Wait(believed).Seconds(), s.leads(all[0], 10*time.Second).Seconds(), .1, "there is no record yet")
		require.NoError(s, all[0].Shutdown(s.Context()))
		require.Less(s, s.leads(all[1], 10*time.Second), time.Second)

		s.deleteLeader("b", all[1])
		time.Sleep(time.Millisecond)
		_ = s.e.Delete(job) // as the server does with a container that is empty
		_, there := s.e.Get(job)
		require.False(s, there)
		c := s.strict("c")[0]
		*overlaps += *s.meet([]*election.Candidate{c, all[1]})
		require.InDelta(s, reign.Wait(believed).Seconds(), s.leads(c, 10*time.Second).Seconds(), .1)
		require.Zero(s, *overlaps)
	})
}

func TestACandidateWithoutTheOptionWaitsForNobodyAndNobodyForIt(t *testing.T) {
	tell(t, func(s story) {
		a := s.strict("a")[0]
		s.leads(a, 10*time.Second)
		plain := s.start(s.client("plain"))
		c := s.strict("c")[0]
		time.Sleep(time.Second)
		require.NoError(s, a.Shutdown(s.Context()))
		require.Less(s, s.leads(plain, 10*time.Second), time.Second)
		require.NoError(s, plain.Shutdown(s.Context()))
		require.Less(s, s.leads(c, 10*time.Second), time.Second, "the record says that a has left")
	})
}

// Nobody may write the record but candidates. If somebody does, that costs a wait.
func TestARecordThatSomebodyOverwroteIsWaitedFor(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b", "c")
		overlaps := s.meet(all)
		s.leads(all[0], 10*time.Second)
		for i := range 2 {
			time.Sleep(time.Minute)
			require.NoError(s, s.e.Set(job, []byte("somebody's")))
			time.Sleep(time.Second)
			require.True(s, all[i].HasLeadership())
			require.NoError(s, all[i].Shutdown(s.Context()))
			require.InDelta(s, reign.Wait(believed).Seconds(), s.leads(all[i+1], 10*time.Second).Seconds(), .1)
		}
		require.Zero(s, *overlaps)
	})
}

// A beginning that is refused is tried again, however long that takes.
func TestABeginningThatIsRefusedIsTriedAgain(t *testing.T) {
	for what, code := range map[string]jute.Code{"no permission": jute.CodeNoAuth, "overload": jute.CodeThrottled} {
		t.Run(what, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.strict("a", "b")
				s.leads(all[0], 10*time.Second)
				time.Sleep(time.Second)
				stop := s.refuseWhich(code, func(r zksim.Asked) bool { return r.Client == "b" && r.Op == jute.OpMulti })
				require.NoError(s, all[0].Shutdown(s.Context()))
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					assert.False(s, all[1].HasLeadership())
				}
				stop()
				s.leads(all[1], 2*time.Second)
			})
		})
	}
}
