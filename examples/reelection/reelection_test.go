package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// limit bounds a test; starting ZooKeeper may include making its image.
const limit = 4 * time.Minute

func program(t *testing.T) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// terminal is a candidate as somebody at a terminal sees it.
type terminal struct {
	*demo.Process
	t     *testing.T
	ctx   context.Context
	znode string
	seen  int // lines
}

func open(t *testing.T, ctx context.Context, connect, program string, args ...string) *terminal {
	t.Helper()
	p, err := demo.Start(connect, nil, program, args...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	c := &terminal{Process: p, t: t, ctx: ctx}
	c.shows(fmt.Sprintf("process %d: kill -9 %[1]d", p.PID()))
	c.shows("Name: /election/candidate_")
	c.znode = path.Base(c.Lines()[c.seen-1])
	return c
}

// shows waits for a line, after those that were waited for before.
func (c *terminal) shows(line string) {
	c.t.Helper()
	next, err := c.Expect(c.ctx, c.seen, line)
	require.NoError(c.t, err)
	c.seen = next
}

// quiet is several times what a candidate takes to look at its place in line again.
const quiet = 6 * glance

// silent wants a terminal that shows nothing more than what was waited for, now and for a while.
func (c *terminal) silent() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, quiet)
	defer cancel()
	_, err := c.Expect(ctx, c.seen, "")
	require.ErrorIs(c.t, err, context.DeadlineExceeded, "it has shown %q", c.Lines())
}

var token = regexp.MustCompile(`0x[0-9a-f]+`)

// said is all that a terminal has shown, but for its first line, and with T for each token.
func (c *terminal) said() []string {
	c.t.Helper()
	var all []string
	for _, line := range c.Lines()[1:] {
		all = append(all, token.ReplaceAllString(line, "T"))
	}
	return all
}

// Lines of a transcript.
const (
	leads = "I am the leader 👑 (token T)"
	left  = "I am the leader no more: election: closed"
	end   = "Session closed, exiting application"
)

func behind(leader, ahead *terminal) []string {
	return []string{"I am not the leader, " + leader.znode + " is the leader", "Watching znode " + ahead.znode}
}

func (c *terminal) follows(leader, ahead *terminal) {
	c.t.Helper()
	c.shows("I am not the leader, " + leader.znode + " is the leader")
	c.shows("Watching znode " + ahead.znode)
}

// kill ends the candidate without its leaving the line.
func (c *terminal) kill() {
	c.t.Helper()
	require.NoError(c.t, c.Kill())
	<-c.Done()
}

// patience leaves a slow machine some air: a candidate that misses its session stands anew, and tells of it.
var patience = []string{"-session-timeout", "10s"}

// The post's scenarios.
func TestLeaderAndMiddleOneDie(t *testing.T) {
	ctx, example := program(t)
	server := zktest.Shared(t)
	stand := func() *terminal { return open(t, ctx, server.Addr(), example, patience...) }
	first := stand()
	first.shows("I am the leader")
	second := stand()
	second.follows(first, first)
	third := stand()
	third.follows(first, second)
	fourth := stand()
	fourth.follows(first, third)
	requireListing(t, server.Addr(), first, second, third, fourth)

	first.kill() // the leader: the next leads, and nobody else stirs
	second.shows("I am the leader")
	requireListing(t, server.Addr(), second, third, fourth)
	third.silent()
	fourth.silent()

	third.kill() // one in the middle: the one behind it watches another, and nobody else stirs
	fourth.follows(second, second)
	second.silent()

	require.NoError(t, second.Terminate()) // in good order: the next leads without waiting for a session's end
	fourth.shows("I am the leader")
	require.NoError(t, second.Wait(ctx))
	second.shows("I am the leader no more: election: closed")
	second.shows("Session closed, exiting application")
	fourth.silent()
	requireListing(t, server.Addr(), fourth)
	require.NoError(t, fourth.Terminate())
	require.NoError(t, fourth.Wait(ctx))

	// All that was shown, so that nobody has stirred at a time when nobody looked.
	named := func(c *terminal) []string { return []string{"Name: /election/" + c.znode} }
	require.Equal(t, append(named(first), leads), first.said())
	require.Equal(t, slices.Concat(named(second), behind(first, first), []string{leads, left, end}), second.said())
	require.Equal(t, slices.Concat(named(third), behind(first, second)), third.said())
	require.Equal(t, slices.Concat(named(fourth), behind(first, third), behind(second, second), []string{leads, left, end}), fourth.said())
}

// requireListing compares what "ls /election" shows with the candidates in the order of the line.
func requireListing(t *testing.T, addr string, line ...*terminal) {
	t.Helper()
	conn, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	children, _, err := conn.Children(electionNamespace)
	require.NoError(t, err)
	var want []string
	for _, c := range line {
		require.Regexp(t, regexp.MustCompile(`^candidate_\d{10}$`), c.znode)
		want = append(want, c.znode)
	}
	require.ElementsMatch(t, want, children)
	require.IsIncreasing(t, append(want, "candidate_~"))
}

// The README's command, on a machine where no ensemble is named.
func TestZooKeeperOutlivesTheTerminalThatStartedItAndEndsWithTheLast(t *testing.T) {
	ctx, example := program(t)
	meet := freeAddress(t)
	t.Setenv(demo.MeetEnv, meet)
	first := open(t, ctx, "", example, patience...)
	require.Equal(t, demo.Notice, first.Lines()[0])
	first.shows("I am the leader")
	second := open(t, ctx, "", example, patience...)
	second.follows(first, first)

	first.kill()
	second.shows("I am the leader")
	require.NoError(t, second.Terminate())
	require.NoError(t, second.Wait(ctx))
	requireFree(t, meet)
}

// requireFree waits for the end of ZooKeeper, which is removed before the address is free again.
func requireFree(t *testing.T, meet string) {
	t.Helper()
	require.Eventually(t, func() bool {
		l, err := net.Listen("tcp", meet)
		if err == nil {
			l.Close()
		}
		return err == nil
	}, limit, 100*time.Millisecond)
}

func TestEnsembleThatDoesNotAnswerIsToldOf(t *testing.T) {
	ctx, example := program(t)
	addr := freeAddress(t)
	zoo := zksim.New(zksim.Config{})
	t.Cleanup(zoo.Close)
	p, err := demo.Start(addr, nil, example, patience...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, "ZooKeeper does not answer yet: ")
	require.NoError(t, err)
	require.Len(t, p.Lines(), 1)
	require.Contains(t, p.Lines()[0], addr)
	require.Contains(t, p.Lines()[0], "connection refused", "the last trouble")

	_, err = zoo.ListenTCP(addr)
	require.NoError(t, err)
	_, err = p.Expect(ctx, 1, "I am the leader")
	require.NoError(t, err)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
