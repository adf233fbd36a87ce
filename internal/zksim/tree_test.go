package zksim_test

import (
	"math"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

func TestSequenceNumbersAreNegativeAfterTheyWrapped(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second)
		mustCreate(t, a, "/q", 0)
		e.SetCversion("/q", -2)
		for _, want := range []string{"/q/n--000000002", "/q/n--000000001", "/q/n-0000000000"} {
			require.Equal(t, want, mustCreate(t, a, "/q/n-", zk.FlagSequence))
		}
	})
}

// DataTree.createNode only lets the counter grow, so a full counter stays full. Creates
// that are pending together use the leader's change records instead, and wrap.
func TestFullSequenceCounterStaysFull(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second)
		mustCreate(t, a, "/q", 0)
		e.SetCversion("/q", math.MaxInt32)
		require.Equal(t, "/q/n-2147483647", mustCreate(t, a, "/q/n-", zk.FlagSequence))
		_, err := a.Create("/q/n-", nil, zk.FlagSequence, open)
		require.ErrorIs(t, err, zk.ErrNodeExists)

		mustCreate(t, a, "/r", 0)
		e.SetCversion("/r", math.MaxInt32)
		seq := &zk.CreateRequest{Path: "/r/n-", Flags: zk.FlagSequence, Acl: open}
		res, err := a.Multi(seq, seq)
		require.NoError(t, err)
		require.Equal(t, "/r/n--2147483648", res[1].String)
		_, err = a.Create("/r/n-", nil, zk.FlagSequence, open)
		require.ErrorIs(t, err, zk.ErrNodeExists)
	})
}

func TestEmptyContainerIsRemovedOnceItHadAChild(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3, ContainerNeverUsed: time.Hour}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second)
		for _, p := range []string{"/used", "/unused", "/busy"} {
			_, err := a.CreateContainer(p, nil, zk.FlagContainer, open)
			require.NoError(t, err)
		}
		mustCreate(t, a, "/busy/kid", zk.FlagEphemeral)
		require.NoError(t, a.Delete(mustCreate(t, a, "/used/kid", zk.FlagEphemeral), -1))
		require.Less(t, goneAfter(t, a, "/used", time.Now()), 61*time.Second)
		time.Sleep(50 * time.Minute)
		require.Equal(t, []string{"busy", "unused", "zookeeper"}, e.Children("/"))
		time.Sleep(20 * time.Minute)
		require.Equal(t, []string{"busy", "zookeeper"}, e.Children("/"))
	})
}

// Since 3.8.4 exists needs permission, too. The servers that testdata was recorded on did
// not ask for it.
func TestExistsNeedsPermissionToRead(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second)
		_, err := a.Create("/mine", nil, 0, zk.DigestACL(zk.PermAll, "me", "secret"))
		require.NoError(t, err)
		_, _, err = a.Exists("/mine")
		require.ErrorIs(t, err, zk.ErrNoAuth)
	})
}

func TestMissedEventsFireWhenWatchesAreSetAgain(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second, "zk1:2181", "zk2:2181")
		b := client(t, e, "b", 10*time.Second, "zk3:2181")
		for _, p := range []string{"/set", "/gone", "/kids", "/same"} {
			mustCreate(t, a, p, 0)
		}
		watch := map[string]<-chan zk.Event{}
		for _, p := range []string{"/set", "/gone", "/same"} {
			_, _, watch[p], _ = a.GetW(p)
		}
		_, _, watch["/new"], _ = a.ExistsW("/new")
		_, _, watch["/later"], _ = a.ExistsW("/later")
		_, _, watch["/kids"], _ = a.ChildrenW("/kids")
		e.Cut("a", "zk1")
		_, err := b.Set("/set", nil, -1)
		require.NoError(t, err)
		require.NoError(t, b.Delete("/gone", -1))
		mustCreate(t, b, "/kids/kid", 0)
		mustCreate(t, b, "/new", 0)
		for path, want := range map[string]zk.EventType{"/set": zk.EventNodeDataChanged, "/gone": zk.EventNodeDeleted,
			"/kids": zk.EventNodeChildrenChanged, "/new": zk.EventNodeCreated} {
			require.Equal(t, want, (<-watch[path]).Type, path)
		}
		require.Empty(t, watch["/same"])
		mustCreate(t, b, "/later", 0)
		require.NoError(t, b.Delete("/same", -1))
		require.Equal(t, zk.EventNodeCreated, (<-watch["/later"]).Type)
		require.Equal(t, zk.EventNodeDeleted, (<-watch["/same"]).Type)
	})
}

func TestOperator(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		require.NoError(t, e.Create("/a", []byte("x")))
		require.NoError(t, e.Create("/a/b", nil))
		require.NoError(t, e.Set("/a", []byte("y")))
		require.Equal(t, jute.CodeNotEmpty, e.Delete("/a"))
		require.Equal(t, jute.CodeNoNode, e.Delete("/none"))
		n, ok := e.Get("/a")
		require.True(t, ok)
		require.Equal(t, "y", string(n.Data))
		require.NoError(t, e.DeleteTree("/a"))
		require.Len(t, e.Tree(), 1)
	})
}
