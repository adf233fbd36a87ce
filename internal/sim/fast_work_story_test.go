package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// slowly has the first of two candidates with fast failover end its term, by what end
// does, while its work goes on for long. meanwhile happens right after that. Nobody may
// lead before the work has returned.
func (s story) slowly(end, meanwhile func(a *election.Candidate), opts ...election.Option) {
	opts = append(opts, election.WithFastFailover(silent))
	a := s.start(s.client("a"), opts...)
	s.leads(a, silent)
	b := s.start(s.client("b"), opts...)
	time.Sleep(2 * silent)
	term := a.Term()
	release, err := term.Hold()
	require.NoError(s, err)

	end(a)
	synctest.Wait()
	require.Error(s, term.Err())
	meanwhile(a)
	for range 20 * 5 { // well over a session timeout
		time.Sleep(silent / 5)
		require.False(s, b.HasLeadership(), "the work of the last term still runs: %v", a.Status())
	}
	require.Len(s, s.e.Children(job), 2)
	release()
	require.Eventually(s, func() bool { return a.HasLeadership() || b.HasLeadership() }, silent, silent/100)
}

func (s story) resign(a *election.Candidate) {
	go func() { _ = a.Resign(context.Background()) }() // returns when the client is closed at the latest
}

func TestNobodyFollowsBeforeTheWorkHasReturned(t *testing.T) {
	tell(t, func(s story) { s.slowly(s.resign, func(*election.Candidate) {}) })
}

// The version of the znode is not known any more, and no term has it read again.
func TestABeatWithoutAnAnswerDoesNotSilenceWorkThatStopsSlowly(t *testing.T) {
	tell(t, func(s story) {
		s.slowly(s.resign, func(*election.Candidate) {
			s.Cleanup(s.e.LoseReply(func(r zksim.Reply) bool { return r.Client == "a" && r.Op == jute.OpSetData }))
		})
	})
}

func TestSomebodysWriteDoesNotSilenceWorkThatStopsSlowly(t *testing.T) {
	tell(t, func(s story) {
		s.slowly(s.resign, func(a *election.Candidate) {
			node, found := s.e.Get(a.Status().Znode)
			require.True(s, found)
			require.NoError(s, s.e.Set(node.Path, node.Data))
		})
	})
}

// The end of the connection ends the term, and leaves a beat without an answer.
func TestSteppingDownOnDisconnectDoesNotSilenceTheWork(t *testing.T) {
	tell(t, func(s story) {
		lose := func(a *election.Candidate) {
			s.e.LoseReply(func(r zksim.Reply) bool { return r.Client == "a" && r.Op == jute.OpSetData })
			time.Sleep(silent / 4)
		}
		s.slowly(lose, func(*election.Candidate) {}, election.WithStepDownOnDisconnect())
	})
}
