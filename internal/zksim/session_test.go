package zksim_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

func TestTimeoutsAreBoundedByTicks(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		client(t, e, "a", time.Second)
		client(t, e, "b", 7*time.Second)
		client(t, e, "c", time.Hour)
		var got []time.Duration
		for _, s := range e.Sessions() {
			got = append(got, s.Timeout)
		}
		require.Equal(t, []time.Duration{4 * time.Second, 7 * time.Second, 40 * time.Second}, got)
	})
}

// ExpiryQueue: a session ends at the first tick after last touch + T, not earlier and not
// much later.
func TestSilentSessionExpiresAfterItsTimeoutRoundedUpToATick(t *testing.T) {
	const timeout, tick = 10 * time.Second, 2 * time.Second
	for seed := range uint64(8) {
		inBubble(t, zksim.Config{Servers: 3, Seed: seed}, func(t *testing.T, e *zksim.Ensemble) {
			a, states := watchedClient(t, e, "a", timeout, "zk3:2181") // zk3 leads: touches count at once
			// Every follower touches a new session with its next answer to a ping
			// (LearnerSessionTracker.commitSession).
			time.Sleep(tick / 2)
			mustCreate(t, a, "/e", zk.FlagEphemeral)
			start := time.Now()
			e.Cut("a", "zk3")
			took := goneAfter(t, client(t, e, "b", timeout), "/e", start)
			require.Greater(t, took, timeout)
			require.LessOrEqual(t, took, timeout+tick)
			e.HealAll()
			await(t, states, zk.StateExpired)
		})
	}
}

// LearnerSessionTracker: a follower's touches reach the leader at its next ping, half a
// tick later at most.
func TestTouchesOfAFollowersClientsAreRelayedEveryHalfTick(t *testing.T) {
	const timeout, tick = 10 * time.Second, 2 * time.Second
	for seed := range uint64(8) {
		inBubble(t, zksim.Config{Servers: 3, Seed: seed}, func(t *testing.T, e *zksim.Ensemble) {
			a := client(t, e, "a", timeout, "zk1:2181")
			mustCreate(t, a, "/e", zk.FlagEphemeral)
			time.Sleep(time.Duration(seed) * 700 * time.Millisecond)
			_, _, err := a.Get("/e")
			require.NoError(t, err)
			start := time.Now()
			e.Cut("a", "zk1")
			took := goneAfter(t, client(t, e, "b", timeout), "/e", start)
			require.Greater(t, took, timeout)
			require.LessOrEqual(t, took, timeout+tick+tick/2)
		})
	}
}

func TestIdleSessionLivesOnPings(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		inBubble(t, zksim.Config{Servers: n}, func(t *testing.T, e *zksim.Ensemble) {
			a := client(t, e, "a", 4*time.Second, "zk1:2181")
			id := a.SessionID()
			mustCreate(t, a, "/e", zk.FlagEphemeral)
			time.Sleep(2 * time.Hour)
			ok, _, err := a.Exists("/e")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, id, a.SessionID())
			require.Equal(t, 1, e.Stats().Connections)
		})
	}
}

// Leader.startZkServer makes a new tracker. How long sessions were silent before is
// forgotten.
func TestNewLeaderGivesEverySessionAFreshTimer(t *testing.T) {
	const timeout = 10 * time.Second
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", timeout, "zk1:2181")
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		e.Cut("a", "zk1")
		time.Sleep(8 * time.Second)
		e.Crash(3)
		start := time.Now()
		b := client(t, e, "b", timeout, "zk2:2181")
		require.Equal(t, 2, e.Leader())
		took := goneAfter(t, b, "/e", start)
		require.Greater(t, took, timeout)
		require.LessOrEqual(t, took, timeout+3*time.Second)
	})
}

func TestReconnectKeepsTheSessionAndTouchesIt(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 10*time.Second, "zk1:2181", "zk2:2181")
		id := a.SessionID()
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		e.Crash(1)
		await(t, states, zk.StateHasSession)
		require.Equal(t, id, a.SessionID())
		require.Equal(t, "zk2:2181", a.Server())
		require.Equal(t, 2, e.Sessions()[0].Server)
		require.Greater(t, e.Sessions()[0].Expires, 10*time.Second)
		ok, _, err := a.Exists("/e")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestExpireSession(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 10*time.Second)
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		old := a.SessionID()
		require.True(t, e.ExpireSession(old))
		await(t, states, zk.StateExpired)
		await(t, states, zk.StateHasSession)
		require.NotEqual(t, old, a.SessionID())
		require.Empty(t, e.Sessions()[1:])
		require.NotContains(t, e.Children("/"), "e")
		require.False(t, e.ExpireSession(old))
	})
}

// A request that arrives after its session has moved must not be carried out. Its client
// considers it lost and may have repeated it (SessionTrackerImpl.checkSession,
// ZOOKEEPER-710).
func TestWriteThroughTheOldServerIsRefusedAfterTheSessionMoved(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 6*time.Second, "zk1:2181", "zk2:2181")
		id := a.SessionID()
		e.CutOneWay("zk1", "zk3")
		lost := make(chan error, 1)
		go func() {
			_, err := a.Create("/x", nil, 0, open)
			lost <- err
		}()
		e.Heal("zk1", "a")
		require.ErrorIs(t, <-lost, zk.ErrConnectionClosed)
		await(t, states, zk.StateHasSession)
		require.Equal(t, "zk2:2181", a.Server())
		require.Equal(t, id, a.SessionID())
		e.HealAll()
		_, err := a.Sync("/")
		require.NoError(t, err)
		ok, _, err := a.Exists("/x")
		require.NoError(t, err)
		require.False(t, ok)
	})
}

// ask sends by hand what the client library would not send.
func ask(t *testing.T, nc net.Conn, words ...any) []byte {
	t.Helper()
	var b []byte
	for _, w := range words {
		b, _ = binary.Append(b, binary.BigEndian, w)
	}
	_, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	require.NoError(t, err)
	head := make([]byte, 4)
	if _, err := io.ReadFull(nc, head); err != nil {
		return nil
	}
	b = make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(nc, b)
	require.NoError(t, err)
	return b
}

func dialByHand(t *testing.T, e *zksim.Ensemble) net.Conn {
	t.Helper()
	nc, err := e.Dialer()("tcp", "zk1:2181", time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func TestUnknownSessionGetsZeros(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 10*time.Second)
		id := a.SessionID()
		for _, id := range []int64{42, id} { // the second with a wrong password
			nc := dialByHand(t, e)
			got := ask(t, nc, int32(0), int64(0), int32(10_000), id, int32(16), make([]byte, 16))
			require.Equal(t, append(append(make([]byte, 16), 0, 0, 0, 16), make([]byte, 16)...), got)
			_, err := nc.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		// A wrong guess costs the owner its connection, not its session.
		await(t, states, zk.StateHasSession)
		require.Equal(t, id, a.SessionID())
	})
}

func TestClientThatSawTheFutureIsRefused(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		require.Nil(t, ask(t, dialByHand(t, e), int32(0), int64(1_000), int32(10_000), int64(0), int32(16),
			make([]byte, 16)))
		require.Equal(t, 1, e.Stats().Refused)
	})
}

func TestUnknownOperationIsRefusedAndEndsTheConnection(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		for _, op := range []int32{-2, -1, 0, 10, 13, 23, 99, 108, 999} {
			nc := dialByHand(t, e)
			require.Len(t, ask(t, nc, int32(0), int64(0), int32(10_000), int64(0), int32(16), make([]byte, 16)), 36)
			got := ask(t, nc, int32(7), op)
			require.EqualValues(t, 7, binary.BigEndian.Uint32(got), op)
			require.EqualValues(t, jute.CodeUnimplemented, int32(binary.BigEndian.Uint32(got[12:])), op)
			_, err := nc.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, op)
		}
	})
}
