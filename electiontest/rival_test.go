package electiontest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// byHand makes the znode of a participant as another library does.
func byHand(t *testing.T, servers *electiontest.Ensemble, id string) {
	t.Helper()
	client, err := election.Connect(t.Context(), servers.ConnectString(), election.WithDialer(servers.Dialer(id)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Do(t.Context(), func(conn *zk.Conn) error {
		if _, err := conn.Create(jobPath, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
			return err
		}
		const name = "/_c_6d3c1b1e-0000-0000-0000-000000000000-latch-"
		_, err := conn.Create(jobPath+name, []byte(id), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
		return err
	}))
}

// The service waits while the rival leads, works when the rival leaves, stops when another
// one takes over, and works again when that one has crashed.
func TestServiceLosesLeadershipToARivalAndRegainsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		first := zk.Rival(jobPath)
		services := start(t, zk, "a")
		require.Equal(t, first.ID(), zk.AwaitLeader(jobPath).ID)
		work, _ := services.during(time.Minute)
		require.Empty(t, work)
		require.NoError(t, first.Leave(t.Context()))
		zk.AwaitLeader(jobPath, "a")
		work, ends := services.during(time.Minute)
		require.InDelta(t, 60, work["a"], 2)
		require.Empty(t, ends)

		second := zk.Rival(jobPath)
		require.Equal(t, "a", zk.AwaitLeader(jobPath).ID, "it stands behind")
		term, err := second.TakeOver(t.Context())
		require.NoError(t, err)
		require.NoError(t, term.Err())
		require.Equal(t, "rival-2", zk.Leader(jobPath).ID)
		work, ends = services.during(time.Minute)
		require.LessOrEqual(t, work["a"], 1)
		require.Equal(t, []string{"a: " + election.ErrResigned.Error()}, ends)

		second.Crash()
		work, _ = services.during(election.DefaultSessionTimeout * 9 / 10)
		require.Empty(t, work, "the session of the crashed rival still lasts")
		require.Equal(t, "a", zk.AwaitLeader(jobPath, "a").ID)
		work, _ = services.during(time.Minute)
		require.InDelta(t, 60, work["a"], 2)
	})
}

func TestRivalResignsToTheBackOfTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		first, second := zk.Rival(jobPath), zk.Rival(jobPath, election.WithID("other"))
		require.Equal(t, "other", second.ID())
		_, err := first.Await(t.Context())
		require.NoError(t, err)
		require.NoError(t, first.Resign(t.Context()))
		require.Equal(t, "other", zk.AwaitLeader(jobPath).ID)
		require.Equal(t, election.StateFollowing, first.Status().State)
		_, err = second.TakeOver(t.Context())
		require.NoError(t, err, "it leads already")
	})
}

// It is on the network under its own name.
func TestRivalCanBeCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		rival := zk.Rival(jobPath)
		services := start(t, zk, "a")
		zk.Cut(rival.Client())
		zk.AwaitLeader(jobPath, "a")
		zk.Heal(rival.Client())
		work, _ := services.during(time.Minute)
		require.NotZero(t, work["a"])
		require.Equal(t, 2, rival.Status().Place)
	})
}

func TestRivalSaysWhyItDoesNotTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		require.NoError(t, candidate(t, zk.Servers, "a", election.WithoutRequests()).Start(t.Context()))
		zk.AwaitLeader(jobPath, "a")
		rival := zk.Rival(jobPath)
		_, err := rival.TakeOver(t.Context())
		require.ErrorIs(t, err, election.ErrUnasked)
		zk.TakeLeadership(jobPath)
		require.Equal(t, rival.ID(), zk.AwaitLeader(jobPath).ID)

		rival.Crash()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = rival.TakeOver(ctx)
		require.Error(t, err)
	})
}

func TestRivalIsNotMadeWithoutServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		zk.StopServer(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := zk.Servers.Rival(ctx, jobPath)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, err.Error(), "electiontest: rival: ")
	})
}
