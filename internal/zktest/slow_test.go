package zktest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

func TestASlowDiskDelaysEveryTransactionThatWaitsForAnother(t *testing.T) {
	t.Parallel()
	const n, delay = 20, 50 * time.Millisecond
	slow := zktest.Start(t, zktest.WithSlowDisk(delay))
	require.GreaterOrEqual(t, creates(t, slow.Addr(), n), n*delay)
}

// creates says how long n znodes take, one after another.
func creates(t *testing.T, addr string, n int) time.Duration {
	conn, _ := session(t, addr)
	began := time.Now()
	for i := range n {
		_, err := conn.Create(fmt.Sprintf("/slow%d", i), nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
	}
	return time.Since(began)
}

func TestASlowDiskByEnvironmentIsADuration(t *testing.T) {
	t.Setenv("ZKTEST_SLOW_DISK", "5")
	_, err := zktest.Launch(timeout(t))
	require.ErrorContains(t, err, `ZKTEST_SLOW_DISK="5" is no duration`)
}
