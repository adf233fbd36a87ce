package shards_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/shards"
)

// What five processes with a hundred elections cost while nothing happens, a minute and process, beside the same
// candidates without balancing.
func TestBalancingCostsFewRequestsWhileNothingHappens(t *testing.T) {
	const procs, minutes = 5, 30
	paths := pathsOf(100)
	cost := func(takePart func(ctx context.Context, client *election.Client) error) (requests, bytes float64) {
		synctest.Test(t, func(t *testing.T) {
			zk := zksim.New(zksim.Config{})
			defer zk.Close()
			var sent atomic.Int64
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error)
			for i := range procs {
				dial := zk.DialerFor(fmt.Sprint("p", i))
				client, err := election.Connect(ctx, zk.ConnectString(), election.WithClientLogger(silent),
					election.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
						conn, err := dial(network, address, timeout)
						return counted{conn, &sent}, err
					}))
				require.NoError(t, err)
				defer client.Close()
				go func() { ended <- takePart(ctx, client) }()
			}
			time.Sleep(time.Minute) // the shares are even
			before, from := zk.Stats().Requests, sent.Load()
			time.Sleep(minutes * time.Minute)
			requests = float64(zk.Stats().Requests-before) / minutes / procs
			bytes = float64(sent.Load()-from) / minutes / procs
			cancel()
			for range procs {
				require.ErrorIs(t, <-ended, context.Canceled)
			}
		})
		return requests, bytes
	}

	with, withBytes := cost(func(ctx context.Context, client *election.Client) error {
		return shards.Run(ctx, client, paths, func(ctx context.Context, _ string, _ *election.Term) error {
			<-ctx.Done()
			return ctx.Err()
		}, shards.WithLogger(silent))
	})
	without, withoutBytes := cost(func(ctx context.Context, client *election.Client) error {
		for _, path := range paths {
			c, err := election.NewCandidate(client, path)
			if err != nil {
				return err
			}
			if err := c.Start(ctx); err != nil {
				return err
			}
			defer c.Close()
		}
		<-ctx.Done()
		return ctx.Err()
	})
	t.Logf("requests a minute: %.1f with balancing, %.1f without; bytes in both directions: %.0f and %.0f",
		with, without, withBytes, withoutBytes)
	// Without balancing it is 90 for the session and its lease and at most 120 for the check of watches, fewer if a
	// process has nothing to check by chance.
	require.Less(t, with, 90.0+120+125, "two requests a second more, and a few by chance")
}

// counted counts the bytes of a connection.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}
