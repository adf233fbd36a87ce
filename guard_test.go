package election_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

func TestG4Fencing_GuardOfATermWhoseZnodeWasDeletedAppliesNothing(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path+"-data", "old")
	p := newPeer(t, path, steady)
	term := p.leads()
	write := &zk.SetDataRequest{Path: path + "-data", Data: []byte("new"), Version: -1}

	responses, err := term.Guard(testContext(t), write)
	require.NoError(t, err)
	require.Len(t, responses, 1)
	require.EqualValues(t, 1, responses[0].Stat.Version)

	responses, err = term.Guard(testContext(t), write, &zk.SetDataRequest{Path: path + "-data", Version: 77})
	require.ErrorIs(t, err, zk.ErrBadVersion, "the caller's operation failed")
	require.NotErrorIs(t, err, election.ErrTermOver)
	require.Len(t, responses, 2, "one for each operation")
	require.NoError(t, term.Err(), "and the term lasts")

	quiet := p.proxy.DropNotification(zktest.Any) // the leader does not hear of it
	by.make(path+"/x", "")                        // the path stays
	by.remove(p.Status().Znode)
	_, err = term.Guard(testContext(t), &zk.SetDataRequest{Path: path + "-data", Data: []byte("late"), Version: -1})
	require.ErrorIs(t, err, election.ErrTermOver)
	require.NotErrorIs(t, err, zk.ErrBadVersion)
	require.Equal(t, "new", by.read(path+"-data"))
	quiet.Remove()
	require.ErrorIs(t, p.ends(term), election.ErrNodeDeleted)
	_, err = term.Guard(testContext(t))
	require.ErrorIs(t, err, election.ErrTermOver)
	require.ErrorIs(t, err, election.ErrNodeDeleted)
}

func TestG4Fencing_GuardSaysThatTheOutcomeIsUnknownWhenTheReplyIsLost(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path+"-data", "old")
	p := newPeer(t, path, steady)
	term := p.leads()
	// The proofs of the lease are transactions too, but small ones.
	lost := p.proxy.DropReply(zktest.Once(func(f zktest.Frame) bool { return f.Op == jute.OpMulti && f.Size > 1000 }))
	data := strings.Repeat("x", 1000)
	_, err := term.Guard(testContext(t), &zk.SetDataRequest{Path: path + "-data", Data: []byte(data), Version: -1})
	require.ErrorIs(t, err, election.ErrDisconnected)
	require.NotErrorIs(t, err, election.ErrTermOver)
	require.ErrorContains(t, err, "unknown")
	require.Equal(t, 1, lost.Count())
	require.Equal(t, data, by.read(path+"-data"))
	require.NoError(t, term.Err())
}

func TestG4Fencing_GuardWritesBelowTheChroot(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path, "")
	by.make(path+"/gone", "")
	c := connect(t, zktest.Shared(t).Addr()+path, steady)
	term, err := newCandidate(t, c, "/e").Await(testContext(t))
	require.NoError(t, err)
	request := &zk.CreateRequest{Path: "/made", Data: []byte("1"), Acl: zk.WorldACL(zk.PermAll)}
	responses, err := term.Guard(testContext(t), request, &zk.SetDataRequest{Path: "/made", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/made", Version: 1}, &zk.DeleteRequest{Path: "/gone", Version: -1})
	require.NoError(t, err)
	require.Len(t, responses, 4)
	require.Equal(t, "/made", responses[0].String)
	require.Equal(t, "/made", request.Path, "the caller's request is left alone")
	require.Equal(t, "2", by.read(path+"/made"))
	found, _, err := by.Exists(path + "/gone")
	require.NoError(t, err)
	require.False(t, found)
	_, err = term.Guard(testContext(t), &zk.SetDataRequest{Path: "relative"}, "no operation", (*zk.DeleteRequest)(nil))
	for _, what := range []string{`"relative"`, "operation 1: type string", "*zk.DeleteRequest is nil"} {
		require.ErrorContains(t, err, what)
	}
	for _, flags := range []int32{zk.FlagContainer, zk.FlagTTL, zk.FlagPersistentSequentialWithTTL, -1} {
		_, err = term.Guard(testContext(t), &zk.CreateRequest{Path: "/other", Acl: zk.WorldACL(zk.PermAll), Flags: flags})
		require.ErrorContains(t, err, fmt.Sprintf("operation 0: flags %d", flags))
	}
	found, _, err = by.Exists(path + "/other")
	require.NoError(t, err)
	require.False(t, found)
	leader, err := c.Leader(testContext(t), "/e")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(leader.Path, "/e/"), leader.Path)
}
