//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

const (
	rootNode       = "/leader-election" // this path and this timeout are those of the program in app
	sessionTimeout = 10 * time.Second
	// limit bounds a test. Starting ZooKeeper may include making its image.
	limit = 8 * time.Minute
	// takeOver bounds a take-over without good order. The library promises a leader
	// within the session timeout + 2 s after the last fault. The rest is for the steps of
	// work that a test waits for, one a second, and for a machine that is busy.
	takeOver = sessionTimeout + 2*time.Second + 13*time.Second
	// handOver bounds a hand-over in good order, with two steps of work by the next
	// service. Waiting for the end of the session would take longer: it does not end
	// before eleven twelfths of the timeout are over.
	handOver = 2*time.Second + 4*time.Second
)

// program compiles the example (".") or the program to take home ("./app").
func program(t *testing.T, dir string) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, dir, t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// place returns a chroot in the shared server that no other run uses.
func place(name string) string { return fmt.Sprintf("/%s-%d", name, time.Now().UnixNano()) }

// fleet has the services under test, and what they have done so far.
type fleet struct {
	t                *testing.T
	ctx              context.Context
	connect, program string
	services         map[string]*demo.Process
	journal          demo.Journal
}

func (f *fleet) start(name string) {
	f.t.Helper()
	p, err := demo.Start(f.connect, f.journal.Take, f.program, "-name", name)
	require.NoError(f.t, err)
	f.services[name] = p
	f.t.Cleanup(func() {
		_ = p.Stop(context.Background())
		f.t.Logf("%s printed: %q", name, p.Lines())
	})
}

// awaitWork returns the name of the service that does the nth step of work from now on.
// It fails if that takes longer than bound.
func (f *fleet) awaitWork(n int, bound time.Duration) (name string) {
	f.t.Helper()
	since := time.Now()
	ctx, cancel := context.WithTimeout(f.ctx, bound)
	defer cancel()
	before := func(e demo.Entry, at time.Time) int { return e.At.Compare(at) }
	for {
		all := f.journal.Entries()
		if i, _ := slices.BinarySearchFunc(all, since, before); len(all) >= i+n {
			f.t.Logf("step %d of work was done by %s after %v", n, all[i+n-1].Name, all[i+n-1].At.Sub(since).Round(time.Millisecond))
			return all[i+n-1].Name
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			f.t.Fatalf("the work has not gone on within %v: %v", bound, all)
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
	ctx, example := program(t, "./app")
	zoo := zktest.StartEnsemble(t, 3)
	f := &fleet{t: t, ctx: ctx, connect: zoo.ConnectString(), program: example,
		services: map[string]*demo.Process{}}
	f.start("service1")
	f.start("service2")
	first := f.awaitWork(2, limit) // the compiler and a new ensemble may take their time
	second := other(first)
	requireLine(t, f.connect, "service1", "service2")
	_, err := f.services[second].Expect(ctx, 0, "sees that the leader is "+first)
	require.NoError(t, err)

	// The post: "If we were to stop it, the other service would take over."
	require.NoError(t, f.services[first].Terminate())
	require.NoError(t, f.services[first].Wait(ctx), "SIGTERM is no failure")
	require.Equal(t, second, f.awaitWork(2, handOver))
	f.start(first)
	_, err = f.services[first].Expect(ctx, 0, "sees that the leader is "+second)
	require.NoError(t, err)

	leader, err := zoo.Leader(ctx)
	require.NoError(t, err)
	follower := zoo.Servers()[(leader+1)%3]
	require.NoError(t, follower.Kill(ctx))
	f.awaitWork(3, takeOver)
	require.NoError(t, follower.Restart(ctx))

	leader, err = zoo.Leader(ctx)
	require.NoError(t, err)
	seen := len(f.services[second].Lines())
	require.NoError(t, zoo.Servers()[leader].Kill(ctx))
	// No client is served while the servers elect a leader of their own.
	seen, err = f.services[second].Expect(ctx, seen, "is disconnected, and cannot know who leads")
	require.NoError(t, err)
	_, err = f.services[second].Expect(ctx, seen, "sees that the leader is ")
	require.NoError(t, err)
	_, err = zoo.Leader(ctx)
	require.NoError(t, err)
	working := f.awaitWork(3, takeOver)

	// A crash is unlike a stop: the other service leads only when the session has ended.
	require.NoError(t, f.services[working].Kill())
	<-f.services[working].Done()
	require.Equal(t, other(working), f.awaitWork(2, takeOver))

	require.NoError(t, demo.CheckOrder(f.journal.Reigns()))
}

// requireLine requires znodes that are named as the recipe names them, with the services'
// names as their data.
func requireLine(t *testing.T, connect string, names ...string) {
	t.Helper()
	conn, _, err := zk.Connect(strings.Split(connect, ","), sessionTimeout, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	children, _, err := conn.Children(rootNode)
	require.NoError(t, err)
	var found []string
	for _, child := range children {
		require.Regexp(t, `^n_\d{10}$`, child)
		data, _, err := conn.Get(rootNode + "/" + child)
		require.NoError(t, err)
		found = append(found, string(data))
	}
	require.ElementsMatch(t, names, found)
}

// The post leaves this out: the session of a service that is frozen expires, and later
// the service joins again by itself.
func TestServiceThatStoodStillForTooLongLeadsNoMoreAndStandsAgain(t *testing.T) {
	ctx, example := program(t, "./app")
	f := &fleet{t: t, ctx: ctx, connect: zktest.Shared(t).Addr() + place("stood-still"), program: example,
		services: map[string]*demo.Process{}}
	f.start("service1")
	f.start("service2")
	frozen := f.awaitWork(2, limit)
	p := f.services[frozen]
	require.NoError(t, p.Pause())
	t.Cleanup(func() { _ = p.Resume() }) // otherwise it could not be stopped in good order
	require.Equal(t, other(frozen), f.awaitWork(2, takeOver))
	from := len(p.Lines())
	require.NoError(t, p.Resume())
	from, err := p.Expect(ctx, from, frozen+" leads no more: ")
	require.NoError(t, err)
	require.Regexp(t, regexp.QuoteMeta(election.ErrLeaseExpired.Error())+"|"+regexp.QuoteMeta(election.ErrSessionExpired.Error()),
		p.Lines()[from-1], "the reason")
	_, err = p.Expect(ctx, from, frozen+" sees that the leader is "+other(frozen))
	require.NoError(t, err)

	client, err := election.Connect(ctx, f.connect)
	require.NoError(t, err)
	defer client.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		line, err := client.Participants(ctx, rootNode)
		assert.NoError(c, err)
		if assert.Len(c, line, 2) {
			assert.Equal(c, frozen, line[1].ID, "at the back of the line")
		}
	}, takeOver, 100*time.Millisecond, "it joins again")
	require.NoError(t, f.services[other(frozen)].Terminate())
	require.Equal(t, frozen, f.awaitWork(2, handOver), "and it leads again when it is its turn")
	require.NoError(t, demo.CheckOrder(f.journal.Reigns()))
}

// A service that may not take part prints the reason and ends. It does not wait for a
// leader to observe.
func TestServiceThatMayNotStandEndsWithTheReason(t *testing.T) {
	server := zktest.Shared(t)
	conn, _, err := zk.Connect([]string{server.Addr()}, sessionTimeout, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	root := place("forbidden")
	_, err = conn.Create(root, nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, err = conn.Create(root+rootNode, nil, 0, zk.WorldACL(zk.PermRead))
	require.NoError(t, err)
	ctx, service := program(t, "./app")
	cmd := exec.CommandContext(ctx, service, "-name", "service1")
	cmd.Env = append(os.Environ(), demo.Env+"="+server.Addr()+root)
	said, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "it hangs")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", said)
	require.Contains(t, string(said), zk.ErrNoAuth.Error())
}

// A supervisor that has started the command must see that neither service works any more.
func TestNoServiceLeftIsAFailureUnlessTheyWereStopped(t *testing.T) {
	ctx, example := program(t, ".")
	p, err := demo.Start("", nil, example)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, "Processing...")
	require.NoError(t, err)
	require.Len(t, pids(p.Lines()), 2)
	for _, pid := range pids(p.Lines()) {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(ctx), &exit)
	require.Equal(t, 1, exit.ExitCode())
}

// Runs the README's command without naming an ensemble.
func TestBothServicesRunUntilTheyAreStopped(t *testing.T) {
	ctx, example := program(t, ".")
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
	require.Len(t, pids(p.Lines()), 2)
	for _, pid := range pids(p.Lines()) {
		group, err := syscall.Getpgid(pid)
		require.NoError(t, err)
		require.NotEqual(t, p.PID(), group, "process %d would get the terminal's signal too, and take its parent's for the second", pid)
	}
	require.NoError(t, syscall.Kill(-p.PID(), syscall.SIGINT), "what a terminal's Ctrl-C does")
	require.NoError(t, p.Wait(ctx))
	_, err = p.Expect(ctx, 0, "leads no more: election: closed")
	require.NoError(t, err, "the leader has handed over")
	for _, pid := range pids(p.Lines()) {
		left, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.ErrorIs(t, left.Signal(syscall.Signal(0)), os.ErrProcessDone, "process %d is left", pid)
	}
}

// pids finds the process ids of the services in the output.
func pids(lines []string) (all []int) {
	for _, line := range lines {
		var name string
		var pid int
		if _, err := fmt.Sscanf(line, "%s is process %d:", &name, &pid); err == nil {
			all = append(all, pid)
		}
	}
	return all
}
