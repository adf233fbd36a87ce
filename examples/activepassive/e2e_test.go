package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/examples/activepassive/internal/cluster"
	"github.com/zkelection/election/internal/zktest"
)

var quiet = slog.New(slog.DiscardHandler)

func TestServiceAnswersAsInThePost(t *testing.T) {
	root := ownRoot(t)
	s := startSystem(t, root, brief)
	t.Run("writes reach the leader and reads are spread", s.writesReachTheLeaderAndReadsAreSpread)
	t.Run("each node says whether it leads and others refuse writes", s.eachNodeSaysWhetherItLeadsAndOthersRefuseWrites)
	t.Run("registry and latch look as in the post", func(t *testing.T) { s.registryAndLatch(t, root) })
}

func (s *system) writesReachTheLeaderAndReadsAreSpread(t *testing.T) {
	leader := s.must(http.MethodPost, hello)
	require.NotEmpty(t, leader.token)
	for _, method := range []string{"POST", "POST", "POST", "POST", "DELETE", "DELETE", "PUT", "PUT", "PATCH"} {
		a := s.must(method, hello)
		require.Equal(t, leader.body, a.body, "%s", method)
		require.Equal(t, leader.token, a.token, "%s", method)
	}
	reads := map[string]int{}
	for range 30 {
		a := s.must(http.MethodGet, hello)
		require.Empty(t, a.token, "a read has no token")
		reads[a.body]++
	}
	t.Log("reads:", reads)
	for _, n := range s.Nodes {
		require.GreaterOrEqual(t, reads[n.ID], 5, "%s of %v", n.ID, reads)
	}
}

func (s *system) eachNodeSaysWhetherItLeadsAndOthersRefuseWrites(t *testing.T) {
	leader := s.must(http.MethodPost, hello).body
	for _, n := range s.Nodes {
		url := "http://" + n.Addr
		leads := ask(http.MethodGet, url+"/microservice/test")
		require.Equal(t, fmt.Sprint(n.ID == leader), leads.body, n.ID)
		require.Equal(t, n.ID, ask(http.MethodGet, url+hello).body)
		health := ask(http.MethodGet, url+"/healthz")
		require.Equal(t, http.StatusOK, health.status)
		require.Contains(t, health.body, `"node":"`+n.ID+`"`)
		write := ask(http.MethodPost, url+hello)
		if n.ID == leader {
			require.Equal(t, http.StatusOK, write.status)
			continue
		}
		require.Equal(t, http.StatusServiceUnavailable, write.status)
		require.Equal(t, fmt.Sprintf("%s is not the leader: %s is, at %s", n.ID, leader, s.node(leader).Addr), write.body)
		require.Empty(t, write.token)
	}
}

func (s *system) registryAndLatch(t *testing.T, root string) {
	leader := s.node(s.must(http.MethodPost, hello).body)
	client, err := election.Connect(s.ctx, root, election.WithSessionTimeout(session), election.WithClientLogger(quiet))
	require.NoError(t, err)
	defer client.Close()
	registry := discovery.New(client, root, quiet)
	read := func(dir string) []discovery.Entry {
		for entries, err := range registry.Watch(s.ctx, dir) {
			require.NoError(t, err)
			return entries
		}
		return nil
	}
	entries := read("/service-discovery/bookService")
	require.Len(t, entries, 3)
	for _, e := range entries {
		var in discovery.Instance
		require.NoError(t, json.Unmarshal([]byte(e.Value), &in))
		require.Equal(t, "/service-discovery/bookService/"+in.ID, e.Key)
		addr := net.JoinHostPort(in.Address, strconv.Itoa(in.Port))
		require.Equal(t, addr == leader.Addr, in.Payload.Leader, e.Value)
	}
	line := read("/example/leader")
	require.Len(t, line, 3)
	for _, e := range line {
		require.Regexp(t, `^/example/leader/_c_[0-9a-f-]{36}-latch-\d{10}$`, e.Key)
		id, address, _ := strings.Cut(e.Value, "?address=")
		require.Equal(t, s.node(id).Addr, address)
	}
	s.oneSessionEach(t, client, root)
}

// oneSessionEach checks that each node has one session, for its registration and its
// place in line.
func (s *system) oneSessionEach(t *testing.T, client *election.Client, root string) {
	t.Helper()
	_, chroot, _ := strings.Cut(root, "/")
	sessions := func(dir string) (all []int64) {
		dir = "/" + chroot + dir
		require.NoError(t, client.Do(s.ctx, func(conn *zk.Conn) error {
			names, _, err := conn.Children(dir)
			for _, name := range names {
				_, stat, err := conn.Exists(dir + "/" + name)
				require.NoError(t, err)
				all = append(all, stat.EphemeralOwner)
			}
			return err
		}))
		return all
	}
	require.ElementsMatch(t, sessions("/service-discovery/bookService"), sessions("/example/leader"))
}

// out returns nil if gone is in no upstream and another node takes writes.
func (s *system) out(gone *cluster.Node) error {
	up, err := s.NGINX.Upstreams()
	switch {
	case err != nil:
		return err
	case slices.Contains(up["read_nodes"], gone.Addr):
		return fmt.Errorf("%s still in read_nodes %v", gone.ID, up["read_nodes"])
	case len(up["write_nodes"]) != 1 || up["write_nodes"][0] == gone.Addr:
		return fmt.Errorf("write_nodes are %v", up["write_nodes"])
	}
	write := ask(http.MethodPost, s.URL+hello)
	if !write.ok() || write.body == gone.ID {
		return fmt.Errorf("a write is answered with %d %q, error %v", write.status, write.body, write.err)
	}
	return nil
}

// The order is the post's: first one node, which leads, and then two more, which do not.
func TestFirstNodeIsInBothUpstreamsAndTheNextTwoJoinTheReads(t *testing.T) {
	s := startSystemWith(t, cluster.Config{ZooKeeper: ownRoot(t), Nodes: 1, Session: session, Linger: brief})
	first := s.Nodes[0]
	up, err := s.NGINX.Upstreams()
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"read_nodes": {first.Addr}, "write_nodes": {first.Addr}}, up)
	before := s.must(http.MethodPost, hello)
	require.Equal(t, first.ID, before.body)
	require.Equal(t, first.ID, s.must(http.MethodGet, hello).body)

	require.NoError(t, s.AddNode("node-2"))
	require.NoError(t, s.AddNode("node-3"))
	s.settle("three readers", func() error {
		if up, err = s.NGINX.Upstreams(); err == nil && len(up["read_nodes"]) < 3 {
			err = fmt.Errorf("read_nodes are %v", up["read_nodes"])
		}
		return err
	})
	require.ElementsMatch(t, []string{first.Addr, s.Nodes[1].Addr, s.Nodes[2].Addr}, up["read_nodes"])
	require.Equal(t, []string{first.Addr}, up["write_nodes"])
	after := s.must(http.MethodPost, hello)
	require.Equal(t, first.ID, after.body)
	require.Equal(t, before.token, after.token, "it is still the first term")
	s.writesReachTheLeaderAndReadsAreSpread(t)
}

// litter writes an entry into the registry that is no instance.
func litter(t *testing.T, connect string) {
	t.Helper()
	addr, root, _ := strings.Cut(connect, "/")
	conn, _, err := zk.Connect([]string{addr}, session, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Create("/"+root+"/service-discovery/bookService/junk", []byte("junk"), 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
}

func TestKilledLeaderIsReplacedWithinTheSessionTimeout(t *testing.T) {
	root := ownRoot(t)
	s := startSystem(t, root, brief)
	litter(t, root) // the balancer must ignore it
	before := s.must(http.MethodPost, hello)
	leader := s.node(before.body)
	killed := time.Now()
	require.NoError(t, leader.Kill())
	gap := s.settle("new writer", func() error {
		s.must(http.MethodGet, hello) // NGINX asks the next node
		return s.out(leader)
	}).Sub(killed)
	require.LessOrEqual(t, gap, session+2*time.Second)
	after := s.must(http.MethodPost, hello)
	require.NotEqual(t, before.body, after.body)
	require.Greater(t, number(t, after.token), number(t, before.token))
	t.Logf("%s killed; out of both upstreams and %s writing after %v (session timeout %v)",
		before.body, after.body, gap.Round(time.Millisecond), session)
}

func TestConfigurationStaysWhileZooKeeperIsAway(t *testing.T) {
	server := zktest.Start(t)
	s := startSystem(t, server.Addr(), brief)
	leader := s.must(http.MethodPost, hello).body
	good := s.config()
	require.NoError(t, server.Stop(s.ctx))
	s.await(limit, "end of the leader's lease", func() error {
		if a := ask(http.MethodPost, s.URL+hello); a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("a write is answered with %d %q", a.status, a.body)
		}
		return nil
	})
	reads := map[string]bool{}
	for range 9 {
		reads[s.must(http.MethodGet, hello).body] = true
	}
	require.Len(t, reads, 3, "all nodes still answer reads")
	dead := s.Nodes[0]
	if dead.ID == leader {
		dead = s.Nodes[1]
	}
	require.NoError(t, dead.Kill())
	for range 9 {
		s.must(http.MethodGet, hello)
	}
	require.Equal(t, good, s.config())

	require.NoError(t, server.Restart(s.ctx))
	s.settle("recovery without "+dead.ID, func() error { return s.out(dead) })
}
