package zksim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election/internal/zksim"
)

func TestRealClientOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t)
	e := zksim.New(zksim.Config{Servers: 3})
	defer e.Close()
	addr, err := e.ListenTCP("127.0.0.1:0")
	require.NoError(t, err)
	require.Len(t, strings.Split(addr, ","), 3)
	c, events, err := zk.Connect(strings.Split(addr, ","), 10*time.Second, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	defer func() {
		c.Close()
		for range events { // the driver has ended once its channel is closed
		}
	}()
	mustCreate(t, c, "/n-", zk.FlagEphemeralSequential)
	_, _, w, err := c.GetW("/n-0000000000")
	require.NoError(t, err)
	require.NoError(t, e.Delete("/n-0000000000"))
	require.Equal(t, zk.EventNodeDeleted, (<-w).Type)
}

func TestCloseEndsOpenConnections(t *testing.T) {
	defer goleak.VerifyNone(t)
	e := zksim.New(zksim.Config{})
	addr, err := e.ListenTCP("127.0.0.1:0")
	require.NoError(t, err)
	c, events, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	mustCreate(t, c, "/x", 0)
	e.Close()
	_, _, err = c.Get("/x")
	require.Error(t, err)
	c.Close()
	for range events {
	}
}

// An idle ensemble must cost little, so that years of virtual time fit into a test.
func TestIdleHourIsCheap(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		client(t, e, "a", 10*time.Second)
		time.Sleep(time.Hour)
		require.Less(t, e.Stats().Requests, 1_200, "a ping every T/3")
		require.Less(t, e.Stats().Pending, 50)
	})
}
