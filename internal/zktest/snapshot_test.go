package zktest_test

import (
	"math"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

func TestServerStartsWithTheCountersThatItWasGiven(t *testing.T) {
	s := zktest.Start(t, zktest.WithCounters(map[string]int32{"/old": math.MaxInt32 - 1, "/older": -7}))
	conn, _ := session(t, s.Addr())
	for path, want := range map[string]string{"/old": "/old/n-2147483646", "/older": "/older/n--000000007"} {
		got, err := conn.Create(path+"/n-", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := conn.Create("/new", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	require.NoError(t, s.Restart(timeout(t)))
	_, _, err = conn.Get("/new")
	require.NoError(t, err, "what came after the snapshot is kept")
}
