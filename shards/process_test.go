package shards_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
	"github.com/zkelection/election/shards"
)

// childEnv makes this binary a process of the service instead of a test: "address ID root".
const childEnv = "SHARDS_TEST_CHILD"

// restEnv is for how long nothing may move, at each stop of the test on a real server. The default is short.
const restEnv = "SHARDS_REST"

const (
	realPaths   = 200
	realTimeout = 4 * time.Second // the session timeout
	patience    = time.Minute     // bounds waits that are not measured
)

// childMain works on what it leads until SIGTERM.
func childMain(what string) int {
	words := strings.Fields(what)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, err := election.Connect(ctx, words[0], election.WithSessionTimeout(realTimeout), election.WithClientLogger(silent))
	if err != nil {
		fmt.Fprintln(os.Stderr, words[1], err)
		return 1
	}
	defer client.Close()
	err = shards.Run(ctx, client, realNames(words[2]), func(ctx context.Context, _ string, _ *election.Term) error {
		<-ctx.Done()
		return ctx.Err()
	}, withID(words[1]), shards.WithLogger(silent))
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, words[1], err)
		return 1
	}
	return 0
}

func realNames(root string) []string {
	all := pathsOf(realPaths)
	for i := range all {
		all[i] = root + all[i]
	}
	return all
}

// realFleet is processes of their own, and a client that looks on.
type realFleet struct {
	t      *testing.T
	root   string
	leader []*election.Follower
	procs  map[string]*process.Process
	moves  atomic.Int64 // changes of leaders that were seen
}

func newRealFleet(t *testing.T) *realFleet {
	f := &realFleet{t: t, root: fmt.Sprintf("/%s-%d", t.Name(), os.Getpid()), procs: map[string]*process.Process{}}
	client, err := election.Connect(t.Context(), zktest.Shared(t).Addr(), election.WithClientLogger(silent))
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	for _, path := range realNames(f.root) {
		l := client.Follow(path)
		f.leader = append(f.leader, l)
		go f.count(l)
	}
	return f
}

// count counts the changes of one leader, until the client is closed.
func (f *realFleet) count(l *election.Follower) {
	last := ""
	for {
		changed := l.Changed()
		now, err := l.Leader()
		switch {
		case errors.Is(err, election.ErrClosed):
			return
		case err == nil && now.Path != last:
			last = now.Path
			f.moves.Add(1)
		}
		<-changed
	}
}

func (f *realFleet) start(id string) {
	self, err := os.Executable()
	require.NoError(f.t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{zktest.Shared(f.t).Addr(), id, f.root}, " "))
	cmd.Stderr = os.Stderr
	p, err := process.Start(cmd)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		_ = p.Kill()
		<-p.Done()
	})
	f.procs[id] = p
}

func (f *realFleet) stop(id string) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	require.NoError(f.t, f.procs[id].Stop(ctx))
	_, err := f.procs[id].State()
	require.NoError(f.t, err)
	delete(f.procs, id)
}

func (f *realFleet) kill(id string) {
	require.NoError(f.t, f.procs[id].Kill())
	<-f.procs[id].Done()
	delete(f.procs, id)
}

// counts returns how many elections each process leads, the dead ones too.
func (f *realFleet) counts() map[string]int {
	n := map[string]int{}
	for id := range f.procs {
		n[id] = 0
	}
	for _, l := range f.leader {
		if p, err := l.Leader(); err == nil {
			n[p.ID]++
		}
	}
	return n
}

// awaitEven waits until all processes that run lead equally many, and logs what that took.
func (f *realFleet) awaitEven(after string, began time.Time, moves int64) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		n := f.counts()
		values := slices.Collect(maps.Values(n))
		if len(n) == len(f.procs) && slices.Min(values) == slices.Max(values) && values[0]*len(values) == realPaths {
			break
		}
		require.Less(f.t, time.Since(began), patience, "after %s: %v", after, n)
		<-tick.C
	}
	f.t.Logf("%s: even after %v, %d changes of leaders", after, time.Since(began).Round(10*time.Millisecond), f.moves.Load()-moves)
}

// awaitRest lets time pass, in which nothing may move.
func (f *realFleet) awaitRest() {
	f.t.Helper()
	rest := 2 * time.Second
	if s := os.Getenv(restEnv); s != "" {
		var err error
		rest, err = time.ParseDuration(s)
		require.NoError(f.t, err)
	}
	before := f.moves.Load()
	<-time.After(rest)
	require.Equal(f.t, before, f.moves.Load(), "something has moved")
}

// Five processes share two hundred elections on a real server: after the start, a rolling restart, and the crash and
// return of one.
func TestProcessesShareElectionsOnARealServer(t *testing.T) {
	f := newRealFleet(t)
	began, moves := time.Now(), f.moves.Load()
	for i := range 5 {
		f.start(fmt.Sprintf("p%d-1", i))
	}
	f.awaitEven("start", began, moves)
	f.awaitRest()

	for i := range 5 {
		each, eachMoves := time.Now(), f.moves.Load()
		f.stop(fmt.Sprintf("p%d-1", i))
		f.start(fmt.Sprintf("p%d-2", i))
		f.awaitEven(fmt.Sprintf("restart of p%d", i), each, eachMoves)
	}
	f.awaitRest()

	began, moves = time.Now(), f.moves.Load()
	f.kill("p2-2")
	f.start("p2-3")
	f.awaitEven("SIGKILL and return", began, moves)
	f.awaitRest()
	for id := range maps.Clone(f.procs) {
		f.stop(id)
	}
}
