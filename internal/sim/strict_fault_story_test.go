package sim

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/zksim"
)

// refuseWhich has the ensemble refuse what which picks, until the returned function is called.
func (s story) refuseWhich(code jute.Code, which func(zksim.Asked) bool) (remove func()) {
	return s.e.Refuse(func(r zksim.Asked) jute.Code {
		if which(r) {
			return code
		}
		return jute.CodeOK
	})
}

// The candidate behind counts the silence from the last beat that it has seen, and a
// beginning is none: it leaves no trace in the znode. If it made the short lease good, its
// candidate would believe for longer than the one behind waits.
func TestABeginningIsNoBeat(t *testing.T) {
	tell(t, func(s story) {
		stop := s.refuseWhich(jute.CodeThrottled, func(r zksim.Asked) bool { return r.Op == jute.OpSetData })
		a := s.start(s.client("a"), election.WithStrictHandover(), election.WithFastFailover(silent))
		for range 500 {
			require.False(s, a.HasLeadership(), "it has not beaten yet")
			time.Sleep(10 * time.Millisecond)
		}
		r, _ := s.record()
		require.NotZero(s, r.Reign, "it has begun")
		require.Equal(s, 834*time.Millisecond, r.Lasts, "not less than a beat is good for")
		stop()
		s.leads(a, silent)
	})
}

// The record is worth less than the way out: while the znode stands, nobody may follow.
func TestWhoMayNotWriteTheRecordAnyMoreLeavesAllTheSame(t *testing.T) {
	for what, code := range map[string]jute.Code{"no permission": jute.CodeNoAuth, "over quota": jute.CodeQuotaExceeded} {
		t.Run(what, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.strict("a", "b")
				s.leads(all[0], 10*time.Second)
				time.Sleep(time.Second)
				own := all[0].Status().Znode
				defer s.refuseWhich(code, func(r zksim.Asked) bool { // it proves nothing any more, so this is its leave
					return r.Client == "a" && r.Op == jute.OpMulti && r.Path == own && !all[0].HasLeadership()
				})()
				ctx, cancel := timeoutContext(10 * time.Second)
				defer cancel()
				require.NoError(s, all[0].Shutdown(ctx))
				s.leads(all[1], 10*time.Second)
				require.False(s, all[0].HasLeadership())
			})
		})
	}
}

// What is read of the record may be old once the watch on it is lost. That costs a round
// trip, and neither a wait nor two leaders.
func TestALostWatchOnTheRecordCostsNoWait(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		overlaps := s.meet(all)
		s.leads(all[0], 10*time.Second)
		c := s.strict("c")[0]
		require.NoError(s, all[0].Shutdown(s.Context()))
		s.leads(all[1], time.Second)
		time.Sleep(time.Second)
		s.e.Cut("c", zksim.ServerName(1))
		time.Sleep(5 * time.Second)
		s.e.Heal("c", zksim.ServerName(1))
		require.Eventually(s, func() bool { return c.Status().Connected }, 20*time.Second, time.Millisecond)
		time.Sleep(20 * time.Second)
		require.NoError(s, all[1].Shutdown(s.Context()))
		require.Less(s, s.leads(c, 10*time.Second), time.Second)
		require.Zero(s, *overlaps)
	})
}

// A hand-over in order whose last answer is lost was in order.
func TestALeaveWhoseAnswerIsLostIsNotWaitedFor(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		s.leads(all[0], 10*time.Second)
		time.Sleep(time.Second)
		own := all[0].Status().Znode
		var lost atomic.Bool
		defer s.e.OnReply(func(r zksim.Reply) bool { // it proves nothing any more, so this is its leave
			return r.Client == "a" && r.Op == jute.OpMulti && r.Path == own && !all[0].HasLeadership() && lost.CompareAndSwap(false, true)
		})()
		var done sync.WaitGroup
		done.Go(func() { assert.NoError(s, all[0].Shutdown(s.Context())) })
		require.Less(s, s.leads(all[1], 10*time.Second), time.Second)
		done.Wait()
		require.True(s, lost.Load())
		require.Len(s, s.e.Children(job), 1)
	})
}

// A successor with a short session timeout waits for a leader with a long one.
func TestALeaderSaysForHowLongItMayBelieve(t *testing.T) {
	tell(t, func(s story) {
		const long, short = 30 * time.Second, 6 * time.Second
		a := s.start(s.client("a", election.WithSessionTimeout(long)), election.WithStrictHandover())
		s.leads(a, long)
		b := s.start(s.client("b", election.WithSessionTimeout(short)), election.WithStrictHandover())
		time.Sleep(time.Minute)
		s.e.Delay("zk1", "a", time.Second, time.Second)
		require.NoError(s, s.e.Delete(a.Status().Znode))
		took := s.leads(b, time.Minute)
		require.InDelta(s, reign.Wait(long/3).Seconds(), took.Seconds(), .1)
	})
}

// Nobody was in line when the leader's znode went, and the leader does not know yet.
func TestANewcomerWaitsForWhomTheRecordNames(t *testing.T) {
	tell(t, func(s story) {
		a := s.strict("a")[0]
		s.leads(a, 10*time.Second)
		time.Sleep(time.Minute)
		s.crash("a")
		require.NoError(s, s.e.Delete(a.Status().Znode))
		b := s.strict("b")[0]
		require.InDelta(s, reign.Wait(believed).Seconds(), s.leads(b, 10*time.Second).Seconds(), .1)
		require.False(s, a.HasLeadership())
	})
}

// The session lives, and another candidate's znode proves it. That says nothing about the
// znode of this one.
func TestAProofOfAnothersZnodeIsNone(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		a := s.start(c, election.WithStrictHandover())
		other, err := election.NewCandidate(c, "/other", election.WithStrictHandover())
		require.NoError(s, err)
		require.NoError(s, other.Start(s.Context()))
		s.leads(a, 10*time.Second)
		s.leads(other, 10*time.Second)
		time.Sleep(time.Minute)

		term, own := a.Term(), a.Status().Znode
		require.NoError(s, s.e.SetACL(own, []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "x:y"}}))
		time.Sleep(believed + time.Second)
		require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
		require.True(s, other.HasLeadership())
		require.NoError(s, s.e.SetACL(own, zk.WorldACL(zk.PermAll)))
		s.leads(a, 10*time.Second)
		require.Equal(s, term.Token(), a.Term().Token())
	})
}

// In a rolling restart the next one may leave while its beginning is under way.
func TestWhoLeavesWhileItsBeginningIsUnderWaySaysSo(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b", "c")
		s.leads(all[0], 10*time.Second)
		time.Sleep(time.Second)
		s.e.Delay("zk1", "b", 200*time.Millisecond, 200*time.Millisecond)
		require.NoError(s, all[0].Shutdown(s.Context()))
		time.Sleep(300 * time.Millisecond)
		require.Equal(s, election.StateElected, all[1].Status().State)
		require.NoError(s, all[1].Shutdown(s.Context()))
		require.Less(s, s.leads(all[2], 10*time.Second), time.Second)
	})
}
