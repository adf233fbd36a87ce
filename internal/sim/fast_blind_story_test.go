package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// What is sent while the network is cut arrives when it is healed: the question whether
// the candidate ahead is still silent, too.
func TestWhoWasCutOffDoesNotEvictALeaderThatLives(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b")
		term := all[0].Term()
		for range 5 {
			s.crash("b")
			time.Sleep(2 * silent)
			s.e.Heal("b", zksim.ServerName(1))
			time.Sleep(2 * silent)
			require.NoError(s, term.Err())
		}
		require.False(s, all[1].HasLeadership())
	})
}

// Its timer has found no connection.
func TestWhoWasAwayWhileTheLeaderCrashedEvictsItWhenItIsBack(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithFastFailover(silent))
		s.leads(a, silent)
		away := plug{dial: s.e.DialerFor("b")}
		b := s.start(s.client("b", election.WithDialer(away.Dial)), election.WithFastFailover(silent))
		time.Sleep(2 * silent)

		s.crash("a")
		synctest.Wait() // it has seen the last beat: no watch will tell it anything
		away.pull()
		time.Sleep(2 * silent)
		away.putBack()
		back := time.Now()
		s.leads(b, 10*time.Second)
		require.Less(s, time.Since(back), 2*silent, "the session of the leader goes on for longer")
	})
}

// A beat is committed after the event of the one before, and before the reading.
func TestSilenceCountsFromTheAnswerThatShowedTheVersion(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b")
		const late = silent / 2 // what else is sent until then does not hold up the eviction
		read := make(chan struct{}, 10)
		defer s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "b" && r.Op == jute.OpGetData {
				read <- struct{}{}
			}
			return false
		})()
		s.e.Delay("b", zksim.ServerName(1), late, late)
		<-read
		s.crash("a")
		s.e.Delay("b", zksim.ServerName(1), 0, 0)
		took := s.leads(all[1], 10*time.Second)
		require.False(s, all[0].HasLeadership())
		require.GreaterOrEqual(s, took, silent*9/10, "the last beat had just been seen")
	})
}

func TestTheSilentOneSaysForHowLongItMayBe(t *testing.T) {
	tell(t, func(s story) {
		const patient = 4 * silent
		a := s.start(s.client("a"), election.WithFastFailover(patient))
		s.leads(a, patient)
		b := s.start(s.client("b"), election.WithFastFailover(silent))
		time.Sleep(2 * patient)
		s.crash("a")
		took := s.leads(b, 10*time.Second)
		require.False(s, a.HasLeadership())
		require.GreaterOrEqual(s, took, patient*8/10)
	})
}
