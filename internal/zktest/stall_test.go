package zktest_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// A stall of the ensemble's leader ends the sessions of its followers' clients, though their writes are answered.
func TestAStallOfTheEnsemblesLeaderEndsSessionsOfFollowersClients(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second // of the session; the stall is three ticks longer
	e := zktest.StartEnsemble(t, 3, zktest.WithStall(timeout+1500*time.Millisecond))
	leader, err := e.Leader(t.Context())
	require.NoError(t, err)
	near, _ := session(t, e.Servers()[leader].Addr())
	far, _, err := zk.Connect([]string{e.Servers()[other(leader)].Addr()}, timeout, zk.WithLogInfo(false))
	require.NoError(t, err)
	t.Cleanup(far.Close)
	_, err = far.Create("/far", nil, zk.FlagEphemeral, openACL)
	require.NoError(t, err)

	_, err = near.Sync("/")
	require.NoError(t, err)
	line, _, gone, err := near.ChildrenW("/")
	require.NoError(t, err)
	require.Contains(t, line, "far")
	var last atomic.Int64 // when a write was last known to be answered
	go func() {
		for err := error(nil); err == nil; _, err = far.Set("/far", nil, -1) {
			last.Store(time.Now().UnixNano())
		}
	}()

	require.NoError(t, e.Servers()[leader].Stall(t.Context()))
	select {
	case <-gone: // nothing else comes or goes
		require.Less(t, time.Since(time.Unix(0, last.Load())), timeout, "the client was heard of so recently")
	case <-time.After(limit / 2):
		require.Fail(t, "the session did not end")
	}
}
