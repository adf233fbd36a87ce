package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

// limit bounds a test; starting ZooKeeper may include making its image.
const limit = 8 * time.Minute

func program(t *testing.T) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// fleet is the services under test, and what they have done so far.
type fleet struct {
	t                *testing.T
	ctx              context.Context
	connect, program string
	services         map[string]*demo.Process
	journal          demo.Journal
}

func (f *fleet) start(name string) {
	f.t.Helper()
	p, err := demo.Start(f.connect, f.journal.Take, f.program, "-service", name)
	require.NoError(f.t, err)
	f.services[name] = p
	f.t.Cleanup(func() {
		_ = p.Stop(context.Background())
		f.t.Logf("%s printed: %q", name, p.Lines())
	})
}

// awaitWork returns who did the nth step of work from now on.
func (f *fleet) awaitWork(n int) (name string) {
	f.t.Helper()
	since := time.Now()
	before := func(e demo.Entry, at time.Time) int { return e.At.Compare(at) }
	for {
		all := f.journal.Entries()
		if i, _ := slices.BinarySearchFunc(all, since, before); len(all) >= i+n {
			return all[i+n-1].Name
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-f.ctx.Done():
			f.t.Fatal("the work does not go on")
		}
	}
}

func other(name string) string {
	if name == "service1" {
		return "service2"
	}
	return "service1"
}

func TestWorkGoesOnAndIsNeverDoneTwice(t *testing.T) {
	ctx, example := program(t)
	zoo := zktest.StartEnsemble(t, 3)
	f := &fleet{t: t, ctx: ctx, connect: zoo.ConnectString(), program: example,
		services: map[string]*demo.Process{}}
	f.start("service1")
	f.start("service2")
	first := f.awaitWork(2)
	second := other(first)
	_, err := f.services[second].Expect(ctx, 0, "sees that the leader is "+first)
	require.NoError(t, err)

	// The post: "If we were to stop it, the other service would take over."
	require.NoError(t, f.services[first].Terminate())
	require.NoError(t, f.services[first].Wait(ctx), "SIGTERM is no failure")
	require.Equal(t, second, f.awaitWork(2))
	f.start(first)
	_, err = f.services[first].Expect(ctx, 0, "sees that the leader is "+second)
	require.NoError(t, err)

	leader, err := zoo.Leader(ctx)
	require.NoError(t, err)
	follower := zoo.Servers()[(leader+1)%3]
	require.NoError(t, follower.Kill(ctx))
	f.awaitWork(3)
	require.NoError(t, follower.Restart(ctx))

	leader, err = zoo.Leader(ctx)
	require.NoError(t, err)
	require.NoError(t, zoo.Servers()[leader].Kill(ctx))
	_, err = zoo.Leader(ctx)
	require.NoError(t, err)
	working := f.awaitWork(3)

	// A crash, unlike a stop: only the end of the session makes the other one leader.
	require.NoError(t, f.services[working].Kill())
	<-f.services[working].Done()
	require.Equal(t, other(working), f.awaitWork(2))

	require.NoError(t, demo.CheckOrder(f.journal.Reigns()))
}

// The README's command, on a machine where no ensemble is named.
func TestBothServicesRunUntilTheyAreStopped(t *testing.T) {
	ctx, example := program(t)
	p, err := demo.Start("", nil, example)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, demo.Notice)
	require.NoError(t, err)
	require.Equal(t, demo.Notice, p.Lines()[0])
	next := 0
	for range 3 {
		next, err = p.Expect(ctx, next, "Processing...")
		require.NoError(t, err)
	}
	require.NoError(t, p.Terminate())
	require.NoError(t, p.Wait(ctx))
	require.Len(t, pids(p.Lines()), 2)
	for _, pid := range pids(p.Lines()) {
		left, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.ErrorIs(t, left.Signal(syscall.Signal(0)), os.ErrProcessDone, "process %d is left", pid)
	}
}

// pids finds the numbers of the services' processes.
func pids(lines []string) (all []int) {
	for _, line := range lines {
		var at, name string
		var pid int
		if _, err := fmt.Sscanf(line, "%s %s is process %d:", &at, &name, &pid); err == nil {
			all = append(all, pid)
		}
	}
	return all
}
