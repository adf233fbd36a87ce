package sim

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// Stories about the election path: who makes it, and of which kind.

// tellAt is tell with a config for the ensemble.
func tellAt(t *testing.T, cfg zksim.Config, f func(s story)) {
	synctest.Test(t, func(t *testing.T) {
		s := story{t, zksim.New(cfg)}
		defer s.e.Close()
		f(s)
	})
}

// onBothKinds plays a story on servers before and after ZOOKEEPER-2590.
func onBothKinds(t *testing.T, f func(s story)) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("OpenExists=%v", open), func(t *testing.T) { tellAt(t, zksim.Config{OpenExists: open}, f) })
	}
}

// ours is an access control list that excludes everyone else.
var ours = []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "corp:secret"}}

func (s story) make(path string, acl []zk.ACL) {
	s.Helper()
	require.NoError(s, s.e.CreateFor(path, nil, acl))
}

func (s story) startAt(c *election.Client, path string) error {
	cand, err := election.NewCandidate(c, path)
	require.NoError(s, err)
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	err = cand.Start(ctx)
	if err == nil {
		assert.NotEmpty(s, cand.Status().Znode)
	}
	return err
}

func TestAnAncestorThatMayNotBeReadIsLeftAlone(t *testing.T) {
	onBothKinds(t, func(s story) {
		s.make("/corp", ours)
		s.make("/corp/team", zk.WorldACL(zk.PermAll))
		require.NoError(s, s.startAt(s.client("a"), "/corp/team/job"))
		require.NoError(s, s.startAt(s.client("b"), "/corp/team/deep/down/job"))
		require.Len(s, s.e.Children("/corp/team/job"), 1)
	})
}

func TestAnAncestorThatMayNotBeReadMayBeAParent(t *testing.T) {
	onBothKinds(t, func(s story) {
		s.make("/corp", zk.WorldACL(zk.PermCreate))
		require.NoError(s, s.startAt(s.client("a"), "/corp/team/job"))
	})
}

func TestARefusalNamesWhatCouldNotBeMade(t *testing.T) {
	onBothKinds(t, func(s story) {
		s.make("/corp", ours)
		began := time.Now()
		err := s.startAt(s.client("a"), "/corp/team/job")
		require.ErrorIs(s, err, zk.ErrNoAuth)
		require.ErrorContains(s, err, "create /corp/team:")
		require.Zero(s, time.Since(began), "at once")
	})
}

// Another client, which has the permission, makes the path after we have found it
// missing.
func TestAPathThatCameMeanwhileIsNoRefusal(t *testing.T) {
	onBothKinds(t, func(s story) {
		s.make("/corp", ours)
		c := s.client("a")
		s.e.Delay("zk1", "a", time.Second, time.Second)
		go func() {
			time.Sleep(time.Second / 2)
			s.make("/corp/job", zk.WorldACL(zk.PermAll))
		}()
		require.NoError(s, s.startAt(c, "/corp/job"))
	})
}

// On a caller's connection, the first evidence for the lease is a read of the root. It
// may be refused: that is an answer, too.
func TestARootThatMayNotBeReadKeepsNobodyFromLeading(t *testing.T) {
	onBothKinds(t, func(s story) {
		require.NoError(s, s.e.SetACL("/", zk.WorldACL(zk.PermCreate|zk.PermDelete)))
		c := s.adopt(s.e.DialerFor("a"))
		cand := s.candidate(c)
		_, err := cand.Await(s.Context())
		require.NoError(s, err)
	})
}

// counting counts the dials.
func counting(dial zk.Dialer, dials *atomic.Int32) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		dials.Add(1)
		return dial(network, address, timeout)
	}
}

// startMany starts a candidate at each of n paths at once, and waits until all have their
// znodes.
func (s story) startMany(c *election.Client, n int) (took time.Duration) {
	began := time.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { assert.NoError(s, s.startAt(c, fmt.Sprintf("/service/%d/job", i))) })
	}
	all.Wait()
	return time.Since(began)
}

// Servers without containers end the connection at a request for one, and so interrupt
// all other requests on it.
func TestServersWithoutContainersAreAskedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		support zksim.ContainerSupport
		asks    int32
	}{
		"before 3.5": {zksim.NoContainers, 1},
		"ClickHouse": {zksim.CutsForContainers, 2}, // one connection may be lost for another reason
	} {
		t.Run(name, func(t *testing.T) {
			tellAt(t, zksim.Config{Containers: c.support}, func(s story) {
				var dials atomic.Int32
				client := s.client("a", election.WithDialer(counting(s.e.DialerFor("a"), &dials)))
				require.LessOrEqual(s, s.startMany(client, 10), 5*time.Second)
				assert.Equal(s, 1+c.asks, dials.Load(), "connections")
				time.Sleep(time.Hour)
				require.NoError(s, s.startAt(client, "/another/job"))
				assert.Equal(s, 1+c.asks, dials.Load(), "it is remembered")
				require.NoError(s, client.Close())
				time.Sleep(time.Hour)
				_, stays := s.e.Get("/service/0/job")
				assert.True(s, stays, "a plain znode")
			})
		})
	}
}

// If servers have containers, a lost connection does not mean that they have none.
func TestALostAnswerIsNoLackOfContainers(t *testing.T) {
	tell(t, func(s story) {
		lose := func() (remove func()) {
			return s.e.LoseReply(func(r zksim.Reply) bool { return r.Op == jute.OpCreateContainer })
		}
		c := s.client("a")
		lose()
		require.NoError(s, s.startAt(c, "/a/job"))
		for i := range 5 {
			lose()
			require.NoError(s, s.startAt(c, fmt.Sprintf("/%d/job", i)))
		}
		require.NoError(s, c.Close())
		time.Sleep(time.Hour)
		assert.Equal(s, []string{"zookeeper"}, s.e.Children("/"), "all were containers")
	})
}
