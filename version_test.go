package election_test

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// What depends on the server's version. .ci/run runs this package on ZooKeeper 3.9.3 as well (zktest, ZKTEST_VERSION).

// logVersion says, for whoever reads the result, on which server it was got.
func logVersion(t *testing.T, s *zktest.Server) {
	t.Helper()
	version, err := s.Version(testContext(t))
	require.NoError(t, err)
	t.Logf("on ZooKeeper %s", version)
}

// Servers since 3.8.4 and 3.9.2 refuse Exists, too, of a znode that may not be read (ZOOKEEPER-2590).
func TestStart_BelowAnAncestorThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	server := zktest.Shared(t)
	logVersion(t, server)
	corp, by := newPath(t), sharedAdmin(t)
	require.NoError(t, by.AddAuth("digest", []byte("corp:secret")))
	by.make(corp, "")
	by.make(corp+"/team", "")
	_, err := by.SetACL(corp, zk.DigestACL(zk.PermAll, "corp", "secret"), -1)
	require.NoError(t, err)
	p := newPeer(t, corp+"/team/service/election", steady).start()
	p.leads()
	closes(t, p)
}

// 3.4 knows no containers, so the path stays.
func TestServersOf3_4_LeadHandOverAndClose(t *testing.T) {
	t.Parallel()
	server := zktest.Start(t, zktest.WithVersion("3.4.13"))
	logVersion(t, server)
	path, by := newPath(t), newAdmin(t, server.Addr())
	a := newPeerAt(t, server.Addr(), path, steady).start()
	first := a.leads()
	b := newPeerAt(t, server.Addr(), path, steady).start()
	require.Len(t, by.line(path), 2)
	require.NoError(t, a.Resign(testContext(t)))
	second := b.leads()
	require.Greater(t, second.Token(), first.Token())
	b.expire()
	b.proxy.Heal()
	third := a.leads()
	require.Greater(t, third.Token(), second.Token())
	closes(t, a.client)
	b.leads()
	closes(t, b.client)
	eventually(t, func() bool { return len(by.line(path)) == 0 }, "the end of both znodes")
}
