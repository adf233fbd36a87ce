package shards_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/shards"
)

func TestTwoHundredElectionsAreSharedByFiveProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 200)
		for i := range 5 {
			f.start(fmt.Sprintf("p%d-1", i))
		}
		time.Sleep(shards.DefaultSettle - time.Millisecond)
		require.Equal(t, len(f.paths), f.begun(), "nothing moves before the settle time")
		f.awaitEven(5*time.Second, "the start")
		for _, n := range f.counts() {
			require.Equal(t, 40, n)
		}
		f.awaitRest()

		for i := range 5 {
			works := f.begun()
			f.stop(fmt.Sprintf("p%d-1", i))
			f.start(fmt.Sprintf("p%d-2", i))
			f.awaitEven(5*time.Second, fmt.Sprintf("the restart of p%d", i))
			require.LessOrEqual(t, f.begun()-works, 100, "40 that it led, 40 that it is given, and little else")
		}
		f.awaitRest()

		works := f.begun()
		f.kill("p3-2")
		f.awaitEven(election.DefaultSessionTimeout+8*time.Second, "a kill")
		f.start("p3-3")
		f.awaitEven(5*time.Second, "the return")
		require.LessOrEqual(t, f.begun()-works, 120)
		f.awaitRest()
	})
}

// It comes back before its old session has expired, under its old ID.
func TestAKilledProcessComesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 200)
		for i := range 5 {
			f.start(fmt.Sprintf("p%d", i), withID(fmt.Sprintf("worker-%d", i)))
		}
		f.awaitEven(5*time.Second, "the start")
		f.kill("p3")
		time.Sleep(time.Second)
		before := f.running()
		f.start("p3 again", withID("worker-3"))
		time.Sleep(election.DefaultSessionTimeout / 2)
		require.Equal(t, before, f.running(), "something was handed to one that is dead, since it has the same ID")
		f.awaitEven(election.DefaultSessionTimeout+8*time.Second, "a kill and return")
		f.awaitRest()
	})
}

func withID(id string) shards.Option { return shards.WithCandidate(election.WithID(id)) }

func TestOneProcessAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 200)
		for i := range 5 {
			f.start(fmt.Sprintf("p%d", i))
			time.Sleep(700 * time.Millisecond)
		}
		f.awaitEven(10*time.Second, "starts one after the other")
		require.LessOrEqual(t, f.begun(), 400)
		f.awaitRest()
	})
}

func TestSharesOfUnevenNumbersDifferByOne(t *testing.T) {
	for _, each := range []struct{ paths, procs int }{{7, 3}, {10, 4}, {3, 5}, {1, 2}, {5, 5}, {6, 1}} {
		t.Run(fmt.Sprintf("%d elections, %d processes", each.paths, each.procs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, each.paths)
				for i := range each.procs {
					f.start(fmt.Sprintf("p%d", i))
					time.Sleep(100 * time.Millisecond)
				}
				f.awaitEven(8*time.Second, "the start")
				f.rest(2 * time.Minute)
				f.stop("p0")
				if each.procs > 1 {
					f.awaitEven(8*time.Second, "a leave")
					f.rest(2 * time.Minute)
				}
				f.start("q0")
				f.awaitEven(8*time.Second, "a return")
				f.rest(2 * time.Minute)
			})
		})
	}
}

// The work of each path takes half a second to stop, and its successor begins after that.
func TestWorkStopsBeforeAnElectionIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.stops = 500 * time.Millisecond
		f.start("a")
		f.awaitEven(time.Second, "one process")
		f.start("b")
		f.awaitEven(12*time.Second, "another one has come") // ten hand-overs, one at a time
		f.awaitRest()
	})
}

// Processes come, leave in order, are killed, and are cut off for a while, at random. Whenever they are left alone, the
// shares become even and stay so. What moves is what the events move, and what evens the shares after each of them.
func TestSharesAreEvenAfterAnythingThatHappens(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playAtRandom(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func playAtRandom(t *testing.T, rng *rand.Rand) {
	f := newFleet(t, 3+rng.IntN(60))
	var names []string
	started := 0
	start := func() {
		names = append(names, fmt.Sprintf("p%d", started))
		f.start(names[len(names)-1])
		started++
	}
	remove := func() string {
		i := rng.IntN(len(names))
		name := names[i]
		names = append(names[:i], names[i+1:]...)
		return name
	}
	start()
	for round := range 5 {
		events := 1 + rng.IntN(4)
		works := f.begun()
		for range events {
			switch which := rng.IntN(5); {
			case which < 2 && len(names) < 7 || len(names) == 1:
				start()
			case which < 3:
				f.stop(remove())
			case which < 4:
				f.kill(remove())
			default:
				name := names[rng.IntN(len(names))]
				f.zk.Cut(name)
				time.Sleep(time.Duration(rng.Int64N(int64(2 * election.DefaultSessionTimeout))))
				f.zk.Heal(name)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Second))))
		}
		f.awaitEven(2*election.DefaultSessionTimeout+10*time.Second, fmt.Sprintf("round %d, %d events", round, events))
		// Each event can begin every work once, and as often again when the shares are evened.
		require.LessOrEqual(t, f.begun()-works, 2*events*len(f.paths), "elections go to and fro")
		f.rest(time.Minute)
	}
}

// The work of one process fails on all paths. It is given few elections, and ever more rarely.
func TestAProcessWhoseWorkFailsIsGivenLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 30, shards.WithCandidate(election.WithRequeue(time.Second, time.Minute)))
		f.start("a")
		f.start("b")
		f.awaitEven(5*time.Second, "the start")
		broken := true
		f.fails = func(process, path string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if process == "c" && broken {
				return errors.New("no database")
			}
			return nil
		}
		works := f.begun()
		f.start("c")
		time.Sleep(10 * time.Minute)
		t.Log("works begun in ten minutes:", f.begun()-works)
		require.Less(t, f.begun()-works, 60)
		require.Len(t, f.running(), 30, "the others do its work")

		f.mu.Lock()
		broken = false
		f.mu.Unlock()
		f.awaitEven(33*election.DefaultSessionTimeout, "it works again")
		f.awaitRest()
	})
}

// The work of one path fails in one process. That is given other paths.
func TestAProcessIsGivenOtherPathsThanThoseThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 12, shards.WithCandidate(election.WithRequeue(time.Second, time.Minute)))
		for _, name := range []string{"a", "b", "c"} {
			f.start(name)
		}
		f.awaitEven(8*time.Second, "the start")
		corrupt, tried := "", 0
		for path, name := range f.running() {
			if name == "a" {
				corrupt = path
			}
		}
		f.fails = func(process, path string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if process == "a" && path == corrupt {
				tried++
				return errors.New("corrupt")
			}
			return nil
		}
		time.Sleep(time.Minute)
		f.resign(corrupt) // another one leads, in its youngest term
		time.Sleep(time.Hour)
		f.mu.Lock()
		again := tried
		f.mu.Unlock()
		require.Zero(t, again)
		require.True(t, f.even(), "%v", f.counts())
	})
}

// What has been led for long has more to lose.
func TestTheYoungestTermsAreHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 6)
		f.start("a")
		time.Sleep(time.Minute)
		for _, path := range f.paths[2:5] {
			f.resign(path) // a leads again, in a younger term
		}
		time.Sleep(time.Minute)
		f.start("b")
		f.awaitEven(8*time.Second, "another one has come")
		for _, path := range f.paths[2:5] {
			require.Equal(t, "b", f.running()[path])
		}
	})
}

// With fast failover, the others remove what a dead process leads long before its session expires. Until then it still
// stands in the lines behind them, and is given nothing.
func TestADeadProcessIsGivenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 30, shards.WithCandidate(election.WithFastFailover(500*time.Millisecond)))
		for i := range 4 {
			f.start(fmt.Sprintf("p%d", i))
		}
		f.awaitEven(5*time.Second, "the start")
		f.kill("p2")
		time.Sleep(1500 * time.Millisecond)
		for end := time.Now().Add(election.DefaultSessionTimeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			require.GreaterOrEqual(t, len(f.running()), 29, "nobody leads what was handed to one that is dead")
		}
		f.awaitEven(8*time.Second, "a kill")
	})
}

// One process has more paths than the other, as in a rolling update that adds some. The other cannot take its share, and
// cannot know of the paths that it does not have. What both have is shared, and does not go to and fro.
func TestProcessesMayHaveOtherPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 40)
		all, refusals := f.paths, new(countingHandler)
		f.start("new", shards.WithLogger(slog.New(refusals)))
		f.paths = all[:10]
		f.start("old")
		time.Sleep(10 * time.Second)
		require.Len(t, f.running(), 40)
		require.GreaterOrEqual(t, f.counts()["old"], 5)
		for _, path := range f.paths { // new leads its part of them in the youngest terms, then
			if f.running()[path] == "new" {
				f.resign(path)
			}
		}
		time.Sleep(time.Minute)
		before := refusals.n.Load()
		f.awaitRest()
		t.Log("refused hand-overs in ten minutes:", refusals.n.Load()-before)
		require.Less(t, refusals.n.Load()-before, int64(30*7), "each is tried after growing pauses")

		f.paths = all
		f.stop("old")
		f.start("new 2")
		f.awaitEven(15*time.Second, "both are new")
		f.awaitRest()
	})
}

// countingHandler counts the log lines of hand-overs that were refused.
type countingHandler struct{ n atomic.Int64 }

func (h *countingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *countingHandler) WithGroup(string) slog.Handler            { return h }
func (h *countingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "an election could not be handed over" {
		h.n.Add(1)
	}
	return nil
}

// Each request takes longer than the time that a candidate waits for its znode's removal when its context has ended.
func TestRunReturnsTheCauseAndLeavesTheLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, paths := electiontest.New(t), pathsOf(8)
		client := slowly(t, zk)
		defer client.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		works := make(chan struct{}, len(paths))
		ended := make(chan error)
		go func() {
			ended <- shards.Run(ctx, client, paths, func(ctx context.Context, _ string, _ *election.Term) error {
				<-ctx.Done()
				time.Sleep(3 * time.Second)
				works <- struct{}{}
				return ctx.Err()
			}, shards.WithLogger(silent))
		}()
		time.Sleep(time.Minute)
		cancel(errStop)
		require.Equal(t, errStop, <-ended)
		require.Len(t, works, len(paths), "it waits for the work")
		for _, path := range paths {
			require.Zero(t, zk.Leader(path), "Run has left %s", path)
		}
	})
}

// slow is a connection on which each request takes a while.
type slow struct{ net.Conn }

func (c slow) Write(p []byte) (int, error) {
	time.Sleep(30 * time.Millisecond)
	return c.Conn.Write(p)
}

func TestRunReturnsTheErrorOfWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		broken := errors.New("disk full")
		fail := make(chan struct{})
		client := f.connect("a")
		defer client.Close()
		err := make(chan error)
		go func() {
			err <- shards.Run(t.Context(), client, f.paths, func(ctx context.Context, path string, term *election.Term) error {
				if path == f.paths[7] {
					<-fail
					return broken
				}
				<-ctx.Done()
				time.Sleep(time.Second)
				if path == f.paths[8] {
					return errors.New("cannot flush")
				}
				return ctx.Err()
			}, shards.WithLogger(silent))
		}()
		time.Sleep(time.Minute)
		close(fail)
		began, got := time.Now(), <-err
		require.ErrorIs(t, got, broken)
		require.EqualError(t, got, "shards: /shards/007: disk full\nshards: /shards/008: cannot flush")
		require.GreaterOrEqual(t, time.Since(began), time.Second, "it waits for the other work")
		require.Zero(t, f.zk.Leader(f.paths[3]))
	})
}

func TestRunReturnsWhenAllWorkIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 5)
		client := f.connect("a")
		defer client.Close()
		done := make(chan string, len(f.paths))
		require.NoError(t, shards.Run(t.Context(), client, f.paths, func(_ context.Context, path string, _ *election.Term) error {
			done <- path
			return nil
		}, shards.WithLogger(silent)))
		require.Len(t, done, len(f.paths), "each once")
	})
}

func TestRunEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 5)
		client := f.connect("a")
		closed := make(chan struct{})
		time.AfterFunc(time.Minute, func() {
			defer close(closed)
			client.Close()
		})
		defer func() { <-closed }()
		err := shards.Run(t.Context(), client, f.paths, func(ctx context.Context, _ string, _ *election.Term) error {
			<-ctx.Done()
			return ctx.Err()
		}, shards.WithLogger(silent))
		require.ErrorIs(t, err, election.ErrClosed)
		require.NotContains(t, err.Error(), "\n", "once, not for each path")
	})
}

func TestRunNamesAllWrongArguments(t *testing.T) {
	//lint:ignore SA1012 what happens is the question
	err := shards.Run(nil, nil, nil, nil, nil, shards.WithLogger(nil), shards.WithSettle(0), shards.WithCandidate(election.WithMaxTerm(-1)))
	for _, want := range []string{"shards: Run: ", "ctx is nil", "client is nil", "lead is nil", "paths is empty", "option 0 is nil",
		"WithLogger: logger is nil", "WithSettle: duration 0s is not positive", "WithMaxTerm: duration -1ns is not positive"} {
		require.ErrorContains(t, err, want)
	}
	lead := func(context.Context, string, *election.Term) error { return nil }
	err = shards.Run(t.Context(), new(election.Client), []string{"/a", "b", "/c//d", "/a", "/a"}, lead)
	require.EqualError(t, err, `shards: Run: path 1, "b", does not start with /
path 2, "/c//d", has an empty component (//)
path 3, "/a", is there twice
election: NewCandidate: client is nil, or not made by Connect, Open or NewClient`)
}
