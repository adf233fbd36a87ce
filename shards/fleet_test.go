package shards_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/shards"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

func pathsOf(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("/shards/%03d", i)
	}
	return all
}

// fleet is a service of several processes, and a ledger of their work.
type fleet struct {
	t     *testing.T
	zk    *electiontest.Ensemble
	paths []string
	opts  []shards.Option
	stops time.Duration // how long work takes to stop
	fails func(process, path string) error

	mu      sync.Mutex        // guards the following
	works   map[string]string // which process works on a path
	begins  int               // works that were begun
	overlap []string
	procs   map[string]*proc
}

// proc is one process.
type proc struct {
	name   string
	cancel context.CancelCauseFunc
	ended  chan error
	client *election.Client
}

var errStop = errors.New("the process is told to stop")

func newFleet(t *testing.T, n int, opts ...shards.Option) *fleet {
	f := &fleet{t: t, zk: electiontest.New(t), paths: pathsOf(n), opts: opts, works: map[string]string{}, procs: map[string]*proc{}}
	t.Cleanup(func() {
		for _, name := range slices.Sorted(maps.Keys(f.procs)) {
			f.stop(name)
		}
		require.Empty(t, f.overlap, "two processes worked on one path")
	})
	return f
}

// start starts a process. Each start of a process needs another name.
func (f *fleet) start(name string, opts ...shards.Option) {
	ctx, cancel := context.WithCancelCause(context.Background())
	client := f.connect(name)
	p := &proc{name, cancel, make(chan error, 1), client}
	all := append([]shards.Option{shards.WithCandidate(election.WithID(name)), shards.WithLogger(silent)}, f.opts...)
	paths := f.paths
	go func() {
		p.ended <- shards.Run(ctx, client, paths, func(ctx context.Context, path string, term *election.Term) error {
			return f.work(ctx, name, path)
		}, append(all, opts...)...)
	}()
	f.procs[name] = p
}

func (f *fleet) connect(name string) *election.Client {
	client, err := election.Connect(context.Background(), f.zk.ConnectString(), election.WithDialer(f.zk.Dialer(name)),
		election.WithClientLogger(silent))
	require.NoError(f.t, err)
	return client
}

func (f *fleet) work(ctx context.Context, name, path string) error {
	f.mu.Lock()
	if by, taken := f.works[path]; taken {
		f.overlap = append(f.overlap, fmt.Sprintf("%s: %s and %s", path, by, name))
	}
	f.works[path] = name
	f.begins++
	f.mu.Unlock()

	var err error
	if f.fails != nil {
		err = f.fails(name, path)
	}
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
		time.Sleep(f.stops)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.works, path)
	return err
}

// stop ends a process in good order.
func (f *fleet) stop(name string) {
	p := f.procs[name]
	delete(f.procs, name)
	p.cancel(errStop)
	require.Equal(f.t, errStop, <-p.ended)
	require.NotContains(f.t, slices.Collect(maps.Values(f.running())), name)
	_ = p.client.Close()
}

// kill ends a process as SIGKILL would: nothing more is heard of it, and its work ends.
func (f *fleet) kill(name string) {
	p := f.procs[name]
	delete(f.procs, name)
	f.zk.Cut(name)
	p.cancel(errStop)
	<-p.ended
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.client.Close()
	}()
	f.t.Cleanup(func() { <-closed })
}

// resign asks the leader of a path to go to the back, as an operator may do.
func (f *fleet) resign(path string) {
	for _, p := range f.procs {
		_, err := p.client.RequestResign(f.t.Context(), path)
		require.NoError(f.t, err)
		return
	}
}

func (f *fleet) running() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.works)
}

func (f *fleet) begun() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begins
}

// counts returns on how many paths each process works.
func (f *fleet) counts() map[string]int {
	n := map[string]int{}
	for name := range f.procs {
		n[name] = 0
	}
	for _, name := range f.running() {
		n[name]++
	}
	return n
}

// even reports whether all paths are worked on, in shares that differ by one at most.
func (f *fleet) even() bool {
	n, total := slices.Collect(maps.Values(f.counts())), 0
	for _, each := range n {
		total += each
	}
	return total == len(f.paths) && slices.Max(n)-slices.Min(n) <= 1
}

// awaitEven waits until the shares are even, and returns how long that took and how many
// works were begun meanwhile.
func (f *fleet) awaitEven(within time.Duration, after string) {
	f.t.Helper()
	began, works := time.Now(), f.begun()
	for !f.even() {
		require.Less(f.t, time.Since(began), within, "after %s: %v", after, f.counts())
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	f.t.Logf("%s: even after %v, %d works begun: %v", after, time.Since(began), f.begun()-works, f.counts())
}

// awaitRest lets ten minutes pass, in which nothing may move.
func (f *fleet) awaitRest() {
	f.t.Helper()
	f.rest(10 * time.Minute)
}

func (f *fleet) rest(d time.Duration) {
	f.t.Helper()
	before, works := f.running(), f.begun()
	time.Sleep(d)
	require.Equal(f.t, before, f.running(), "something has moved")
	require.Equal(f.t, works, f.begun(), "something has moved and come back")
}
