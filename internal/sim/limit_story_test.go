package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Stories about how many candidates one session can have.

// bulky is an election path of 20 KB. About 26 candidates there fill a session.
func bulky(i int) string { return fmt.Sprintf("/%s%03d", strings.Repeat("x", 20_000), i) }

// The simulated ensemble shows the damage: without a limit, the end of a session breaks
// it.
func TestASessionWithTooManyNamesBreaksTheEnsemble(t *testing.T) {
	for _, c := range []struct {
		names  int
		breaks bool
	}{{104, false}, {105, true}} { // 20,004 bytes each, and 4; the limit is 2,097,150
		tell(t, func(s story) {
			conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
				zk.WithDialer(s.e.DialerFor("a")), zk.WithLogInfo(false), zk.WithLogger(mute{}),
				zk.WithHostProvider(new(asGiven)))
			require.NoError(s, err)
			s.Cleanup(conn.Close)
			for conn.State() != zk.StateHasSession {
				time.Sleep(time.Millisecond)
			}
			for i := range c.names {
				_, err := conn.Create(bulky(i), nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
				require.NoError(s, err)
			}
			require.NoError(s, s.e.Broken())
			conn.Close()
			time.Sleep(time.Minute)
			assert.Equal(s, c.breaks, s.e.Broken() != nil, "%d names: %v", c.names, s.e.Broken())
			s.e.Restart(1)
			time.Sleep(time.Minute)
			assert.Equal(s, c.breaks, !s.e.Serving(1))
		})
	}
}

func TestAClientRefusesBeforeItHarmsTheEnsemble(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		var refused error
		started := 0
		for i := range 150 {
			if err := s.startAt(c, bulky(i)); err == nil {
				started++
			} else {
				refused = err
			}
		}
		require.ErrorIs(s, refused, election.ErrTooMany)
		for _, word := range []string{"524288", "another Client", "WithMaxEphemeralBytes"} {
			require.ErrorContains(s, refused, word)
		}
		require.InDelta(s, 26, started, 1)
		require.NoError(s, s.startAt(s.client("b"), bulky(149)), "another client has room")
		require.NoError(s, c.Close())
		time.Sleep(time.Minute)
		require.NoError(s, s.e.Broken())
	})
}
