package election_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// A server reads no request that is larger than its jute.maxbuffer. The driver sets all watches of a session in one
// request when it reconnects, so a client with many candidates is greeted, which renews its session, and then cut off,
// again and again. Its first candidate may not keep the others waiting for ever.
func TestG6SomebodyLeads_AfterTheFirstsWatchesHaveGrownTooLargeForTheServer(t *testing.T) {
	const (
		timeout = 4 * time.Second
		buffer  = 8 << 10
		others  = 8
	)
	server := zktest.Start(t, zktest.WithSystemProperty("jute.maxbuffer", fmt.Sprint(buffer)))
	path := newPath(t)
	x := newPeerAt(t, server.Addr(), path, timeout)
	for i := range others {
		long := fmt.Sprintf("/%s%d", strings.Repeat("n", buffer/others), i)
		require.NoError(t, newCandidate(t, x.client, long).Start(testContext(t)))
	}
	lost := x.start().leads()
	y := newPeerAt(t, server.Addr(), path, timeout).start()

	x.proxy.CloseConnections()
	began := time.Now()
	next := y.leads()
	require.LessOrEqual(t, time.Since(began), 4*timeout, "2T until the session is given up, T until it ends, and the pauses between attempts")
	require.ErrorIs(t, x.ends(lost), election.ErrLeaseExpired)
	require.Greater(t, next.Token(), lost.Token())
	x.inState(election.StateFollowing)
	require.Contains(t, server.Logs(testContext(t)), "Len error", "or the test is about nothing")
}
