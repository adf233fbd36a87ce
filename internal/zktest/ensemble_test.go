package zktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// other returns the index of a server that is not i.
func other(i int) int { return (i + 1) % 3 }

// stopsServing waits until s notices that it has no quorum.
func stopsServing(t *testing.T, s *zktest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Mode(ctx)
		return err != nil
	}, limit, 100*time.Millisecond)
}

// servesAgain waits until s has a quorum.
func servesAgain(t *testing.T, s *zktest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Mode(ctx)
		return err == nil
	}, limit, 100*time.Millisecond)
}

func TestEnsembleSurvivesTheLossOfItsLeader(t *testing.T) {
	e := zktest.StartEnsemble(t, 3)
	ctx := timeout(t)
	leader, err := e.Leader(ctx)
	require.NoError(t, err)
	conn, _ := session(t, e.Servers()[other(leader)].Addr())
	_, err = conn.Create("/before", nil, 0, openACL)
	require.NoError(t, err)

	require.NoError(t, e.Servers()[leader].Kill(ctx))
	next, err := e.Leader(ctx)
	require.NoError(t, err)
	require.NotEqual(t, leader, next)
	conn, _ = session(t, e.Servers()[next].Addr())
	_, err = conn.Create("/after", nil, 0, openACL)
	require.NoError(t, err)

	require.NoError(t, e.Servers()[leader].Restart(ctx))
	conn, _ = session(t, e.Servers()[leader].Addr())
	_, err = conn.Sync("/")
	require.NoError(t, err)
	for _, path := range []string{"/before", "/after"} {
		exists, _, err := conn.Exists(path)
		require.NoError(t, err)
		require.True(t, exists, path)
	}
}

func TestServerWithoutPeersServesItsClientsUntilItNotices(t *testing.T) {
	e := zktest.StartEnsemble(t, 3, zktest.WithSyncLimit(12))
	for _, which := range []string{"follower", "leader"} {
		t.Run(which, func(t *testing.T) {
			cut, err := e.Leader(timeout(t))
			require.NoError(t, err)
			if which == "follower" {
				cut = other(cut)
			}
			cutAndHeal(t, e, cut, "/"+which)
		})
	}
}

// cutAndHeal shows that the server with the index cut, without its peers, still
// reads, cannot write, sees nothing of what the others do, and recovers.
func cutAndHeal(t *testing.T, e *zktest.Ensemble, cut int, path string) {
	t.Helper()
	ctx := timeout(t)
	alone := e.Servers()[cut]
	conn, _ := session(t, alone.Addr())
	_, err := conn.Create(path, []byte("old"), 0, openACL)
	require.NoError(t, err)

	require.NoError(t, e.CutPeers(ctx, cut))
	data, _, err := conn.Get(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	_, err = conn.Set(path, []byte("lost"), -1)
	require.Error(t, err)
	stopsServing(t, alone)

	leader, err := e.Leader(ctx)
	require.NoError(t, err)
	require.NotEqual(t, cut, leader)
	rest, _ := session(t, e.Servers()[leader].Addr())
	_, err = rest.Set(path, []byte("new"), -1)
	require.NoError(t, err)

	require.NoError(t, e.HealPeers(ctx, cut))
	servesAgain(t, alone)
	back, _ := session(t, alone.Addr())
	_, err = back.Sync(path)
	require.NoError(t, err)
	data, _, err = back.Get(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
}
