package sim

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// delay makes every message between a client and the story's server take d.
func (s story) delay(client string, d time.Duration) {
	s.e.Delay(client, zksim.ServerName(1), d, d)
	s.e.Delay(zksim.ServerName(1), client, d, d)
}

// From one moment on, every answer takes equally long. The lease would lapse if a proof
// waited for the last one's answer.
func TestALeaseRidesOutAConstantLatency(t *testing.T) {
	for _, share := range []int{12, 10, 9, 8, 7, 6} {
		t.Run(fmt.Sprintf("T/%d", share), func(t *testing.T) {
			tell(t, func(s story) {
				c := s.client("a")
				var lost atomic.Int64
				cand := s.candidate(c, election.WithListener(election.ListenerFuncs{
					OnNotLeader: func(*election.Term) { lost.Add(1) }}))
				_, err := cand.Await(s.Context())
				require.NoError(s, err)
				for phase := range 5 { // of the onset between two proofs
					time.Sleep(timeout + time.Duration(phase)*timeout/60)
					s.delay("a", timeout/time.Duration(2*share))
					time.Sleep(time.Minute)
					s.delay("a", 0)
				}
				synctest.Wait()
				require.Zero(s, lost.Load(), "terms that ended")
				require.True(s, cand.HasLeadership())
			})
		})
	}
}

// A candidate that joins while answers are slow begins its term on the evidence of a few
// answers. That is enough for a first term that lasts, if they take less than T/12.
func TestATermThatBeginsWhileAnswersAreSlowLasts(t *testing.T) {
	for _, share := range []int{60, 24, 18, 15, 13} {
		t.Run(fmt.Sprintf("T/%d", share), func(t *testing.T) {
			tell(t, func(s story) {
				c := s.client("a")
				s.delay("a", timeout/time.Duration(2*share))
				time.Sleep(time.Minute) // with the driver's pings only
				var began, lost atomic.Int64
				s.start(c, election.WithListener(election.ListenerFuncs{
					OnIsLeader: func(*election.Term) { began.Add(1) }, OnNotLeader: func(*election.Term) { lost.Add(1) }}))
				time.Sleep(time.Minute)
				require.Zero(s, lost.Load(), "terms that ended")
				require.EqualValues(s, 1, began.Load())
			})
		})
	}
}

// More proofs are sent only while answers are slow.
func TestQuickAnswersAreAskedForEveryTwelfth(t *testing.T) {
	tell(t, func(s story) {
		cand := s.start(s.client("a"))
		time.Sleep(timeout)
		var proofs atomic.Int64
		defer s.e.OnReply(func(r zksim.Reply) bool {
			if r.Op == jute.OpMulti {
				proofs.Add(1)
			}
			return false
		})()
		time.Sleep(10 * timeout)
		require.InDelta(s, 120, proofs.Load(), 1)
		require.True(s, cand.HasLeadership())
	})
}

// If a server grants less, the term must end with the shortened lease, and not when its
// timer was set to fire.
func TestATermEndsWithTheTimeoutThatWasGrantedLast(t *testing.T) {
	tell(t, func(s story) {
		s.e.Grant(40 * time.Second)
		p := &plug{dial: s.e.DialerFor("a")}
		c := s.client("a", election.WithDialer(p.Dial), election.WithSessionTimeout(40*time.Second))
		cand := s.candidate(c)
		term, err := cand.Await(s.Context())
		require.NoError(s, err)
		s.e.Grant(4 * time.Second)
		p.pull()
		p.putBack()
		for cand.Status().Timeout != 4*time.Second {
			time.Sleep(time.Millisecond)
		}
		s.e.Unplug("a")
		resumed := time.Now()
		<-term.Done()
		require.LessOrEqual(s, time.Since(resumed), 4*time.Second, "the session ends by then")
		require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
	})
}

// A new leader of the ensemble starts the session's timer with the timeout that the
// session was made with.
func TestOfTheTimeoutsGrantedTheShortestCounts(t *testing.T) {
	tell(t, func(s story) {
		s.e.Grant(4 * time.Second)
		p := &plug{dial: s.e.DialerFor("a")}
		cand := s.start(s.client("a", election.WithDialer(p.Dial)))
		before := cand.Status()
		s.e.Grant(timeout)
		p.pull()
		p.putBack()
		time.Sleep(3 * time.Second)
		after := cand.Status()
		require.True(s, after.Connected)
		require.Equal(s, before.SessionID, after.SessionID)
		require.Equal(s, 4*time.Second, after.Timeout)
		require.LessOrEqual(s, time.Until(after.LeaseEnd), 4*time.Second/3)
		require.True(s, cand.HasLeadership())
	})
}

// If only the pings of the ensemble's leader are held up, sessions end although their
// clients are served all the while. A client cannot notice that. An overlap lasts at most
// as long as one proof is good. With strict hand-over there is none.
func TestStalledPingsOfTheEnsemblesLeader_TwoLeadForAThirdOfTheTimeoutAtMost(t *testing.T) {
	both := stallPings(t)
	require.LessOrEqual(t, both, timeout/3)
	require.Positive(t, both, "the fault does not show")
	require.Zero(t, stallPings(t, election.WithStrictHandover()))
	require.Zero(t, stallPings(t, election.WithStrictHandover(), election.WithFastFailover(silent)))
}

// stallPings returns for how long two candidates lead at once if the pings are held up.
func stallPings(t *testing.T, opts ...election.Option) (both time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{Servers: 3})
		defer e.Close()
		s := story{t, e}
		leader := e.Leader()
		at := map[string]int{"a": 1 + leader%3, "b": leader} // its touches need no ping
		var all []*election.Candidate
		for _, name := range []string{"a", "b"} {
			c, err := election.Connect(t.Context(), zksim.ServerName(at[name])+":2181",
				election.WithDialer(e.DialerFor(name)),
				election.WithClientLogger(quiet))
			require.NoError(t, err)
			defer c.Close()
			all = append(all, s.start(c, opts...))
		}
		s.leads(all[0], timeout)
		// Otherwise a would notice the end of its session at once.
		e.Delay(zksim.ServerName(at["a"]), "a", 500*time.Millisecond, 500*time.Millisecond)
		e.StallPings(true)
		const step = time.Millisecond
		for range 3 * timeout / step {
			if all[0].HasLeadership() && all[1].HasLeadership() {
				both += step
			}
			time.Sleep(step)
		}
		require.True(t, all[1].HasLeadership())
	})
	return both
}
