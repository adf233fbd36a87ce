package zktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

var openACL = zk.WorldACL(zk.PermAll)

// viaProxy gives a session on the shared server through a proxy of its own.
func viaProxy(t *testing.T) (*zktest.Proxy, *zk.Conn, <-chan zk.Event) {
	t.Helper()
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	conn, events := session(t, p.Addr())
	return p, conn, events
}

func TestCutRefusesAndHealReconnectsTheSameSession(t *testing.T) {
	p, conn, events := viaProxy(t)
	before := conn.SessionID()
	p.Cut()
	waitState(t, events, zk.StateDisconnected)
	_, err := zktest.FourLetterAt(timeout(t), p.Addr(), "ruok")
	require.ErrorContains(t, err, "refused")
	p.Heal()
	waitState(t, events, zk.StateHasSession)
	require.Equal(t, before, conn.SessionID())
}

func TestSetTargetLeadsNewConnectionsToAnotherServer(t *testing.T) {
	p, conn, events := viaProxy(t)
	other := zktest.Start(t)
	_, err := conn.Create("/target", nil, zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	require.NotEmpty(t, p.Sessions())
	p.SetTarget(other.Addr())
	require.Equal(t, other.Addr(), p.Target())
	require.Empty(t, p.Sessions(), "the other server does not know them")
	exists, _, err := conn.Exists("/target")
	require.NoError(t, err)
	require.True(t, exists, "a connection that stands stays")

	p.Cut() // Heal opens the same port again
	waitState(t, events, zk.StateDisconnected)
	p.Heal()
	fresh, _ := session(t, p.Addr())
	exists, _, err = fresh.Exists("/target")
	require.NoError(t, err)
	require.False(t, exists)
}

func TestBlackholePassesNothingUntilHealed(t *testing.T) {
	p, conn, _ := viaProxy(t)
	p.Blackhole()
	p.ResetStats()
	short, cancel := context.WithTimeout(timeout(t), 300*time.Millisecond)
	defer cancel()
	_, err := zktest.FourLetterAt(short, p.Addr(), "ruok")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	created := make(chan error, 1)
	go func() {
		_, err := conn.Create("/blackhole", nil, zk.FlagEphemeral, openACL)
		created <- err
	}()
	direct, _ := session(t, zktest.Shared(t).Addr())
	exists, _, err := direct.Exists("/blackhole")
	require.NoError(t, err)
	require.False(t, exists)
	require.Zero(t, p.Stats().ToServer)
	p.Heal()
	require.NoError(t, <-created)
}

func TestStallRepliesLetsRequestsThrough(t *testing.T) {
	p, conn, _ := viaProxy(t)
	direct, _ := session(t, zktest.Shared(t).Addr())
	_, _, made, err := direct.ExistsW("/stalled")
	require.NoError(t, err)
	p.StallReplies()
	created := make(chan error, 1)
	go func() {
		_, err := conn.Create("/stalled", nil, zk.FlagEphemeral, openACL)
		created <- err
	}()
	require.Equal(t, zk.EventNodeCreated, (<-made).Type)
	require.Empty(t, created)
	p.Heal()
	require.NoError(t, <-created)
}

func TestDropReplyLosesTheAnswerAndKeepsTheDeed(t *testing.T) {
	p, conn, events := viaProxy(t)
	rule := p.DropReply(zktest.Once(zktest.IsOp(jute.OpCreate)))
	_, err := conn.Create("/lost", []byte("x"), zk.FlagEphemeral, openACL)
	require.ErrorIs(t, err, zk.ErrConnectionClosed)
	require.NoError(t, rule.Wait(timeout(t)))
	require.Equal(t, 1, rule.Count())
	waitState(t, events, zk.StateHasSession)
	data, stat, err := conn.Get("/lost")
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
	require.Equal(t, conn.SessionID(), stat.EphemeralOwner)
}

func TestDropRequestLosesTheDeed(t *testing.T) {
	p, conn, events := viaProxy(t)
	p.DropRequest(zktest.Once(func(f zktest.Frame) bool { return f.Path == "/never" && f.Op == jute.OpMulti }))
	_, err := conn.Multi(&zk.CreateRequest{Path: "/never", Acl: openACL})
	require.ErrorIs(t, err, zk.ErrConnectionClosed)
	waitState(t, events, zk.StateHasSession)
	exists, _, err := conn.Exists("/never")
	require.NoError(t, err)
	require.False(t, exists)
}

func TestDropNotificationIsSilent(t *testing.T) {
	p, conn, _ := viaProxy(t)
	rule := p.DropNotification(func(f zktest.Frame) bool { return f.Path == "/watched" && f.Event == 1 })
	_, _, lost, err := conn.ExistsW("/watched")
	require.NoError(t, err)
	_, _, heard, err := conn.ExistsW("/watched2")
	require.NoError(t, err)
	for _, path := range []string{"/watched", "/watched2"} {
		_, err = conn.Create(path, nil, zk.FlagEphemeral, openACL)
		require.NoError(t, err)
	}
	require.Equal(t, "/watched2", (<-heard).Path)
	require.Equal(t, 1, rule.Count())
	require.Empty(t, lost)
	require.EqualValues(t, 1, p.Stats().Notifications.Frames)
}

func TestHoldDelaysUntilRemoved(t *testing.T) {
	p, conn, _ := viaProxy(t)
	rule := p.Hold(zktest.IsKind(zktest.Reply, zktest.IsOp(jute.OpCreate)))
	created := make(chan error, 1)
	go func() {
		_, err := conn.Create("/held", nil, zk.FlagEphemeral, openACL)
		created <- err
	}()
	require.NoError(t, rule.Wait(timeout(t)))
	direct, _ := session(t, zktest.Shared(t).Addr())
	exists, _, err := direct.Exists("/held")
	require.NoError(t, err)
	require.True(t, exists)
	require.Empty(t, created)
	rule.Remove()
	require.NoError(t, <-created)
}

func TestStatsCountByOperation(t *testing.T) {
	p, conn, _ := viaProxy(t)
	require.EqualValues(t, 1, p.Stats().Requests[jute.OpCreateSession].Frames)
	p.ResetStats()
	_, err := conn.Create("/counted", []byte("12345"), zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	_, _, err = conn.Children("/")
	require.NoError(t, err)
	stats := p.Stats()
	require.EqualValues(t, 1, stats.Requests[jute.OpCreate].Frames)
	require.EqualValues(t, 1, stats.Replies[jute.OpCreate].Frames)
	require.EqualValues(t, 1, stats.Requests[jute.OpGetChildren2].Frames)
	// length, xid, op, path, data, one ACL entry, flags
	require.EqualValues(t, 4+8+(4+8)+(4+5)+(4+4+(4+5)+(4+6))+4, stats.Requests[jute.OpCreate].Bytes)
}

func TestCloseConnectionsIsAFlap(t *testing.T) {
	p, conn, events := viaProxy(t)
	before := conn.SessionID()
	p.CloseConnections()
	waitState(t, events, zk.StateHasSession)
	require.Equal(t, before, conn.SessionID())
	require.EqualValues(t, 2, p.Stats().Connections)
	require.Len(t, p.Sessions(), 1)
}

func TestExpireSessionEndsItAtOnce(t *testing.T) {
	p, conn, events := viaProxy(t)
	direct, _ := session(t, zktest.Shared(t).Addr())
	_, err := conn.Create("/expiring", nil, zk.FlagEphemeral, openACL)
	require.NoError(t, err)
	old := p.Sessions()[0]
	require.NoError(t, p.ExpireSession(timeout(t)))
	exists, _, err := direct.Exists("/expiring")
	require.NoError(t, err)
	require.False(t, exists)
	waitState(t, events, zk.StateExpired)
	waitState(t, events, zk.StateHasSession)
	require.NotEqual(t, old.ID, conn.SessionID())
	err = zktest.ExpireSession(timeout(t), zktest.Shared(t).Addr(), old.ID, old.Passwd)
	require.ErrorIs(t, err, zktest.ErrNoSession)
}

func TestFourLetterCommandsPassTheProxy(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	answer, err := zktest.FourLetterAt(timeout(t), p.Addr(), "ruok")
	require.NoError(t, err)
	require.Equal(t, "imok", answer)
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	addr := zktest.Shared(t).Addr()
	before := goleak.IgnoreCurrent()
	p, err := zktest.ListenProxy(addr)
	require.NoError(t, err)
	conn, events, err := zk.Connect([]string{p.Addr()}, 10*time.Second, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	waitState(t, events, zk.StateHasSession)
	p.Hold(zktest.Any)
	p.Blackhole()
	require.NoError(t, p.Close())
	conn.Close()
	goleak.VerifyNone(t, before)
}

func TestServerLeavesNoGoroutineInThisProcess(t *testing.T) {
	zktest.SkipIfShort(t, "a real ZooKeeper, in a container")
	before := goleak.IgnoreCurrent()
	s, err := zktest.Launch(timeout(t))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	goleak.VerifyNone(t, before)
}
