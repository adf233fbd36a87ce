package main

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
)

// timeout(1), or a shell that ends its jobs, sends the signal to everything that the
// terminal has started.
func TestZooKeeperOutlivesTheGroupOfTheTerminalThatStartedIt(t *testing.T) {
	ctx, example := program(t, ".")
	meet := freeAddress(t)
	t.Setenv(demo.MeetEnv, meet)
	first := open(t, ctx, "", example, patience...)
	first.shows("I am the leader")
	second := open(t, ctx, "", example, patience...)
	second.follows(first, first)

	require.NoError(t, syscall.Kill(-first.PID(), syscall.SIGTERM)) // its group is its own: demo.OwnGroup
	require.NoError(t, first.Wait(ctx))
	second.shows("I am the leader")
	third := open(t, ctx, "", example, patience...)
	third.follows(second, second) // it uses the same ZooKeeper, and not one of its own

	require.NoError(t, third.Terminate())
	require.NoError(t, third.Wait(ctx))
	require.NoError(t, second.Terminate())
	require.NoError(t, second.Wait(ctx))
	requireFree(t, meet)
}
