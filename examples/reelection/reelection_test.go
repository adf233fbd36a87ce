package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// limit bounds a test. Starting ZooKeeper may include making its image.
const limit = 4 * time.Minute

// program compiles the example (".") or the program to take home ("./app").
func program(t *testing.T, dir string) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, dir, t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// terminal is a candidate as its user sees it in a terminal.
type terminal struct {
	*demo.Process
	t           *testing.T
	ctx         context.Context
	znode, name string
	pid         int // of the candidate, which the example runs as a process of its own
	seen        int // how many lines were waited for
}

var introduction = regexp.MustCompile(`^I am (\S+); to end me as a crash would: kill -9 (\d+)$`)

func open(t *testing.T, ctx context.Context, connect, program string, args ...string) *terminal {
	t.Helper()
	p, err := demo.Start(connect, nil, program, args...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	c := &terminal{Process: p, t: t, ctx: ctx}
	c.shows("I am ")
	m := introduction.FindStringSubmatch(c.Lines()[c.seen-1])
	require.NotNil(t, m, "%q", c.Lines())
	c.name = m[1]
	c.pid, err = strconv.Atoi(m[2])
	require.NoError(t, err)
	c.shows("Name: /election/candidate_")
	c.znode = path.Base(c.Lines()[c.seen-1])
	return c
}

// shows waits for a line, after the lines that were waited for before.
func (c *terminal) shows(line string) {
	c.t.Helper()
	next, err := c.Expect(c.ctx, c.seen, line)
	require.NoError(c.t, err)
	c.seen = next
}

// quiet is several times what a candidate takes to look at its place in line again.
const quiet = 300 * time.Millisecond

// silent requires that the terminal shows nothing more than what was waited for, now and
// for a while.
func (c *terminal) silent() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, quiet)
	defer cancel()
	_, err := c.Expect(ctx, c.seen, "")
	require.ErrorIs(c.t, err, context.DeadlineExceeded, "it has shown %q", c.Lines())
}

var volatile = regexp.MustCompile(`0x[0-9a-f]+|kill -9 \d+`)

// said is all that a terminal has shown since its first place in line, with T for each
// token and each command.
func (c *terminal) said() []string {
	c.t.Helper()
	var all []string
	for _, line := range c.Lines() {
		if len(all) > 0 || strings.HasPrefix(line, "Name: ") {
			all = append(all, volatile.ReplaceAllString(line, "T"))
		}
	}
	return all
}

// Lines of a transcript.
const (
	leads = "I am the leader 👑 (token T); to see who is next: T"
	left  = "I am the leader no more: election: closed"
	end   = "Session closed, exiting application"
)

func behind(leader, ahead *terminal) []string {
	return []string{fmt.Sprintf("I am not the leader, %s is the leader (%s)", leader.znode, leader.name), "Watching znode " + ahead.znode}
}

func (c *terminal) follows(leader, ahead *terminal) {
	c.t.Helper()
	for _, line := range behind(leader, ahead) {
		c.shows(line)
	}
}

// kill runs the command that the candidate has printed to end it as a crash would.
func (c *terminal) kill() {
	c.t.Helper()
	candidate, err := os.FindProcess(c.pid)
	require.NoError(c.t, err)
	require.NoError(c.t, candidate.Kill())
	<-c.Done()
}

// patience is for slow machines. A candidate that loses its session joins again, and
// prints that.
var patience = []string{"-session-timeout", "10s"}

// The post's scenarios.
func TestLeaderAndMiddleOneDie(t *testing.T) {
	ctx, example := program(t, "./app")
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

	first.kill() // the leader: the next one leads, and nobody else is disturbed
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

	// This is all that was shown, so no candidate was disturbed at a time when the test
	// did not look.
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
	children, _, err := conn.Children("/election")
	require.NoError(t, err)
	var want []string
	for _, c := range line {
		require.Regexp(t, regexp.MustCompile(`^candidate_\d{10}$`), c.znode)
		want = append(want, c.znode)
	}
	require.ElementsMatch(t, want, children)
	require.IsIncreasing(t, append(want, "candidate_~"))
}

// Runs the README's command without naming an ensemble.
func TestZooKeeperOutlivesTheTerminalThatStartedItAndEndsWithTheLast(t *testing.T) {
	zktest.SkipIfShort(t, "half a minute")
	ctx, example := program(t, ".")
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

// requireFree waits until the address is free again. ZooKeeper has ended before that.
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
	ctx, example := program(t, "./app")
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
	require.Contains(t, p.Lines()[0], "connection refused", "the last failure")

	_, err = zoo.ListenTCP(addr)
	require.NoError(t, err)
	_, err = p.Expect(ctx, 1, "I am the leader")
	require.NoError(t, err)
}

// If the address is wrong, nothing is compiled.
func TestAddressThatIsNoneIsRefusedBeforeAnythingStarts(t *testing.T) {
	ctx, example := program(t, ".")
	addr := freeAddress(t)
	for servers, reason := range map[string]string{":1": "has no host", addr: "connection refused"} {
		cmd := exec.CommandContext(ctx, example)
		cmd.Env = append(os.Environ(), demo.Env+"="+servers)
		said, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(string(said), "\n"), "one line: %s", said)
		require.Contains(t, string(said), "set "+demo.Env+" to ")
		require.Contains(t, string(said), reason)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
