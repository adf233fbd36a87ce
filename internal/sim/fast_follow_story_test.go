package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Each beat writes the leader's znode. Those who follow it want to know only when it goes,
// and there may be thousands of them.
func TestBeatsCostThoseWhoFollowNothing(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b")
		f := s.client("f").Follow(job)
		defer f.Close()
		time.Sleep(2 * silent)
		asked := 0
		remove := s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "f" && r.Path != "" { // no ping
				asked++
			}
			return false
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		remove()
		assert.Zero(s, asked)

		s.crash("a")
		s.leads(all[1], 10*time.Second)
		synctest.Wait()
		at, err := f.Leader()
		require.NoError(s, err)
		assert.Equal(s, "b", at.ID)
		require.NoError(s, all[1].Shutdown(s.Context()))
		synctest.Wait()
		_, err = f.Leader()
		require.ErrorIs(s, err, election.ErrNoLeader)
	})
}
