package election_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// A server comes back at the same address with an empty disk. It refuses clients that have seen a later transaction than it
// has, without a word.
func TestG6SomebodyLeads_AfterTheEnsembleHasLostItsData(t *testing.T) {
	const timeout = 4 * time.Second
	full, empty := zktest.Start(t), zktest.Start(t)
	var addr atomic.Value
	addr.Store(full.Addr())
	dial := election.WithDialer(func(network, _ string, limit time.Duration) (net.Conn, error) {
		return net.DialTimeout(network, addr.Load().(string), limit)
	})
	path := newPath(t)
	log, lines := newLog()
	x := newCandidate(t, connect(t, "zookeeper:2181", timeout, dial, election.WithClientLogger(log)), path)
	_, err := x.Await(testContext(t))
	require.NoError(t, err)
	seen := newAdmin(t, full.Addr())
	for range 200 {
		seen.make(path+"/seen", "")
		seen.remove(path + "/seen")
	}
	require.NoError(t, x.Resign(testContext(t)), "so that it has seen these, too")
	term, err := x.Await(testContext(t))
	require.NoError(t, err)

	addr.Store(empty.Addr())
	require.NoError(t, full.Kill(testContext(t)))
	began := time.Now()
	<-term.Done()
	again, err := x.Await(testContext(t))
	require.NoError(t, err)
	require.LessOrEqual(t, time.Since(began), timeout+2*time.Second)
	require.Less(t, again.Token(), term.Token(), "tokens go back with the data")
	require.Contains(t, lines.String(), "zookeeper session given up")
	require.Contains(t, empty.Logs(testContext(t)), "has seen zxid", "or the test is about nothing")
}
