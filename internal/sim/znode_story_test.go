package sim

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Names without a UUID start again when the path is made again, so another candidate can
// get the old leader's name.
func TestTheNameOfALeaderComesToBeAnothers(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		recipe := election.WithNaming(election.ZooKeeperRecipe)
		x := s.candidate(s.client("a", election.WithDialer(p.Dial)), recipe)
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		p.pull()
		require.NoError(s, s.e.DeleteTree(job))
		y := s.start(s.client("b"), recipe)
		require.Equal(s, x.Status().Znode, y.Status().Znode, "the story is about one name borne by two")
		p.putBack()

		time.Sleep(10 * time.Second)
		require.ErrorIs(s, term.Err(), election.ErrNodeDeleted)
		_, err = term.Guard(s.Context())
		require.ErrorIs(s, err, election.ErrTermOver)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, 2, x.Status().Place)
		assert.Len(s, s.e.Children(job), 2)
	})
}

// A full counter stays at 2^31-1 (zksim's scenarios have it from the original). All
// candidates that come then have the same number, and the order of their transactions is
// the order of the line.
func TestWhoComesWhenTheCounterIsFullGoesBehind(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		s.e.SetCversion(job, math.MaxInt32)
		var all []*election.Candidate
		for range 8 {
			all = append(all, s.start(s.client("a")))
			synctest.Wait()
		}
		observer := s.client("observer")
		for i, cand := range all {
			time.Sleep(10 * time.Second)
			for k, other := range all[i:] {
				assert.Equal(s, k == 0, other.HasLeadership(), "number %d in line", k+1)
			}
			line, err := observer.Participants(s.Context(), job)
			require.NoError(s, err)
			require.Len(s, line, len(all)-i)
			assert.Equal(s, cand.Status().ID, line[0].ID)
			require.NoError(s, cand.Close())
		}
	})
}

func TestANameThatIsTakenIsAnErrorThatSaysWhy(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		s.e.SetCversion(job, math.MaxInt32)
		recipe := election.WithNaming(election.ZooKeeperRecipe)
		s.start(s.client("a"), recipe)
		err := s.candidate(s.client("b"), recipe).Start(s.Context())
		require.ErrorIs(s, err, zk.ErrNodeExists)
		require.ErrorContains(s, err, "counter is full")
	})
}
