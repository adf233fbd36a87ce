// Package bench measures what the library costs. Figures that do not depend on the
// machine are tests, which fail if a change makes them worse. Times are benchmarks.
package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// TestMain also plays the processes that BenchmarkCrash kills.
func TestMain(m *testing.M) {
	if what := os.Getenv(lockEnv); what != "" {
		os.Exit(lockMain(what))
	}
	os.Exit(interop.Main(func() int { return zktest.Main(m) }))
}

const patience = time.Minute

func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// connect asks for a session timeout so long that a measurement rarely includes a proof
// or a check.
func connect(tb testing.TB, addr string) *election.Client {
	tb.Helper()
	c, err := election.Connect(within(tb), addr, election.WithSessionTimeout(time.Minute),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}

func candidate(tb testing.TB, c *election.Client, path string, opts ...election.Option) *election.Candidate {
	tb.Helper()
	cand, err := election.NewCandidate(c, path, append(opts, election.WithID("bench"))...)
	require.NoError(tb, err)
	return cand
}

func lead(tb testing.TB, c *election.Candidate) {
	tb.Helper()
	_, err := c.Await(within(tb))
	require.NoError(tb, err)
}

// leading returns a candidate that leads. Its lease is good for 20 s and is renewed all
// the time.
func leading(tb testing.TB, path string) *election.Candidate {
	cand := candidate(tb, connect(tb, zktest.Shared(tb).Addr()), path)
	lead(tb, cand)
	return cand
}

func BenchmarkHasLeadership(b *testing.B) {
	cand := leading(b, "/bench/has")
	b.ReportAllocs()
	for b.Loop() {
		if !cand.HasLeadership() {
			b.Fatal("does not lead")
		}
	}
}

func BenchmarkHold(b *testing.B) {
	term, err := leading(b, "/bench/hold").Await(within(b))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		release, err := term.Hold()
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

func BenchmarkAwaitWhenLeading(b *testing.B) {
	cand, ctx := leading(b, "/bench/await"), within(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cand.Await(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHasLeadershipAndAwaitAllocateNothing(t *testing.T) {
	cand, ctx := leading(t, "/bench/allocs"), within(t)
	require.Zero(t, testing.AllocsPerRun(1000, func() { cand.HasLeadership() }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { cand.Await(ctx) }))
}

// crowd adds n znodes to the end of the line at path, in another session.
func crowd(tb testing.TB, path string, n int) {
	conn := dial(tb, zktest.Shared(tb).Addr())
	for n > 0 {
		ops := make([]any, min(n, 100))
		for i := range ops {
			ops[i] = &zk.CreateRequest{Path: path + "/_c_12345678-1234-4123-8123-123456789abc-latch-",
				Data: []byte("crowd"), Acl: zk.WorldACL(zk.PermAll), Flags: zk.FlagEphemeralSequential}
		}
		_, err := conn.Multi(ops...)
		require.NoError(tb, err)
		n -= len(ops)
	}
}

func dial(tb testing.TB, addr string) *zk.Conn {
	conn, events, err := zk.Connect([]string{addr}, time.Minute, zk.WithLogInfo(false))
	require.NoError(tb, err)
	tb.Cleanup(conn.Close)
	for ev := range events {
		if ev.State == zk.StateHasSession {
			break
		}
	}
	return conn
}

// cost is the traffic of one hand-over on the two connections that take part in it.
type cost struct{ requests, bytes int64 }

// handOff measures one hand-over with n candidates in line, from the end of the leader to
// the term of the next candidate.
func handOff(t *testing.T, path string, n int) cost {
	addr := zktest.Shared(t).Addr()
	from, to := zktest.NewProxy(t, addr), zktest.NewProxy(t, addr)
	old, next := candidate(t, connect(t, from.Addr()), path), candidate(t, connect(t, to.Addr()), path)
	lead(t, old)
	require.NoError(t, next.Start(within(t)))
	crowd(t, path, n-2)
	followed(t, next)
	from.ResetStats()
	to.ResetStats()
	require.NoError(t, old.Close())
	lead(t, next)
	var sum cost
	for _, p := range []*zktest.Proxy{from, to} {
		require.Eventually(t, func() bool { // the delete's reply and the notifications may still be on their way
			s := p.Stats()
			deletes, replies := s.Requests[jute.OpDelete], s.Replies[jute.OpDelete]
			return s.Notifications.Frames == 1 && replies.Frames == deletes.Frames
		}, patience, time.Millisecond)
		s := p.Stats()
		require.Zero(t, s.Requests[jute.OpGetChildren2].Frames+s.Requests[jute.OpGetChildren].Frames)
		t.Logf("%d in line: requests %v, replies %v, notifications %v", n, s.Requests, s.Replies, s.Notifications)
		sum.requests += s.ToServer.Frames
		sum.bytes += s.ToServer.Bytes + s.ToClient.Bytes
	}
	return sum
}

// followed waits until the candidate watches the one ahead, and its lease is good if it is proved before it leads.
func followed(tb testing.TB, c *election.Candidate) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		s := c.Status()
		return s.Ahead != nil && (s.LeaseEnd.IsZero() || time.Now().Before(s.LeaseEnd))
	}, patience, 100*time.Microsecond)
}

// quiet repeats a measurement and returns the smallest result. A larger one includes a
// proof or a check, which is rare.
func quiet(measure func() cost) cost {
	best := measure()
	for range 2 {
		if c := measure(); c.bytes < best.bytes {
			best = c
		}
	}
	return best
}

func TestAHandOffCostsTheSameWith10AndWith1000InLine(t *testing.T) {
	var costs [2]cost
	for i, n := range []int{10, 1000} {
		round := 0
		costs[i] = quiet(func() cost {
			round++
			return handOff(t, fmt.Sprintf("/bench/line-%d-%d", n, round), n)
		})
		t.Logf("%d in line: %d requests, %d bytes", n, costs[i].requests, costs[i].bytes)
		require.Less(t, costs[i].bytes, int64(400))
	}
	require.InEpsilon(t, costs[0].bytes, costs[1].bytes, 0.1)
	require.Equal(t, costs[0].requests, costs[1].requests)
}

// size returns the bytes on the heap after garbage collection, and the number of
// goroutines.
func size() (heap uint64, goroutines int) {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

func TestACandidateOnASharedClientIsSmall(t *testing.T) {
	const many = 1000
	for name, at := range map[string]func(i int) string{
		"each leads an election of its own": func(i int) string { return fmt.Sprintf("/bench/small/%04d", i) },
		"each is second in an election":     func(i int) string { return fmt.Sprintf("/bench/second/%04d", i) },
		"all are in one line":               func(int) string { return "/bench/line" },
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, zktest.Shared(t).Addr())
			all := make([]*election.Candidate, many)
			if strings.Contains(name, "second") {
				others := connect(t, zktest.Shared(t).Addr())
				for i := range many {
					lead(t, candidate(t, others, at(i)))
				}
			}
			heap, goroutines := size()
			for i := range all {
				all[i] = candidate(t, c, at(i))
				require.NoError(t, all[i].Start(within(t)))
			}
			require.Eventually(t, func() bool { _, n := size(); return n-goroutines <= 2*many }, patience,
				10*time.Millisecond)
			after, running := size()
			perHeap, perGo := int64(after-heap)/many, float64(running-goroutines)/many
			t.Logf("%d bytes of heap and %.2f goroutines a candidate", perHeap, perGo)
			require.Less(t, perHeap, int64(8<<10))
			runtime.KeepAlive(all)
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkHandOff measures graceful hand-overs between two candidates with live
// sessions. The lower limit, for comparison, is a bare one: one connection deletes a
// znode that another watches.
//
// The kinds take turns of a few rounds, so that a disturbance hits all of them. The first
// rounds of a turn do not count, so that each kind finds the machine as its own rounds
// leave it. The server writes its log to the disk before it answers, which is its
// default.
func BenchmarkHandOff(b *testing.B) {
	const counted, before = 20, 4
	zk := zktest.Start(b, zktest.WithConfig("forceSync", "yes"))
	strict := election.WithStrictHandover()
	rounds := []func() time.Duration{bareRound(b, zk.Addr()), resignRound(b, zk.Addr(), "/bench/resign"),
		leaveRound(b, zk.Addr(), "/bench/leave"), lockRound(b, zk), resignRound(b, zk.Addr(), "/bench/strict-resign", strict),
		leaveRound(b, zk.Addr(), "/bench/strict-leave", strict)}
	for range 20 { // so that the server's compiler has compiled it
		for _, round := range rounds {
			round()
		}
	}
	took := make([][]time.Duration, len(rounds))
	for b.Loop() {
		for i, round := range rounds {
			for range before {
				round()
			}
			for range counted {
				took[i] = append(took[i], round())
			}
		}
	}
	bare := median(took[0])
	b.ReportMetric(float64(bare.Nanoseconds()), "ns/bare")
	b.ReportMetric(float64(median(took[1]).Nanoseconds()), "ns/resign")
	b.ReportMetric(float64(median(took[1]))/float64(bare), "resign/bare")
	b.ReportMetric(float64(median(took[2]))/float64(bare), "close/bare")
	b.ReportMetric(float64(median(took[3]))/float64(bare), "zk.Lock/bare")
	b.ReportMetric(float64(median(took[4]))/float64(bare), "strict-resign/bare")
	b.ReportMetric(float64(median(took[5]))/float64(bare), "strict-close/bare")
}

// calm waits after the preparation of a round, so that all rounds find the same machine:
// a server whose threads have just worked answers in half the time that one with sleeping
// threads needs.
func calm() { <-time.After(2 * time.Millisecond) }

func bareRound(b *testing.B, addr string) func() time.Duration {
	deleter, watcher := dial(b, addr), dial(b, addr)
	return func() time.Duration {
		_, err := deleter.Create("/bare", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		require.NoError(b, err)
		_, _, gone, err := watcher.GetW("/bare")
		require.NoError(b, err)
		calm()
		began := time.Now()
		go deleter.Delete("/bare", -1)
		<-gone
		return time.Since(began)
	}
}

// resignRound makes the leader go to the back of the line. It makes its new znode while
// the next candidate takes over.
func resignRound(b *testing.B, addr, path string, opts ...election.Option) func() time.Duration {
	ctx := context.Background()
	holds, waits := candidate(b, connect(b, addr), path, opts...), candidate(b, connect(b, addr), path, opts...)
	lead(b, holds)
	require.NoError(b, waits.Start(ctx))
	return func() time.Duration {
		took := passOn(b, waits, func() error { return holds.Resign(ctx) })
		holds, waits = waits, holds
		return took
	}
}

// leaveRound makes the leader leave for good. Another candidate then enters the election
// on its session, for the next round.
func leaveRound(b *testing.B, addr, path string, opts ...election.Option) func() time.Duration {
	ctx := context.Background()
	here, there := connect(b, addr), connect(b, addr)
	holds, waits := candidate(b, here, path, opts...), candidate(b, there, path, opts...)
	lead(b, holds)
	require.NoError(b, waits.Start(ctx))
	return func() time.Duration {
		took := passOn(b, waits, holds.Close)
		holds, waits, here, there = waits, candidate(b, here, path, opts...), there, here
		require.NoError(b, waits.Start(ctx))
		return took
	}
}

// passOn measures the time from the leader's call to the return of the next candidate's
// Await.
func passOn(b *testing.B, next *election.Candidate, leave func() error) time.Duration {
	followed(b, next)
	won, left := make(chan time.Time), make(chan error, 1)
	go func() {
		next.Await(context.Background())
		won <- time.Now()
	}()
	calm()
	began := time.Now()
	go func() { left <- leave() }()
	took := (<-won).Sub(began)
	require.NoError(b, <-left)
	return took
}

func lockRound(b *testing.B, server *zktest.Server) func() time.Duration {
	one, two := dial(b, server.Addr()), dial(b, server.Addr())
	eyes := dial(b, server.Addr())
	holds, waits := zk.NewLock(one, "/bench/lock", zk.WorldACL(zk.PermAll)),
		zk.NewLock(two, "/bench/lock", zk.WorldACL(zk.PermAll))
	require.NoError(b, holds.Lock())
	return func() time.Duration {
		won, left := make(chan time.Time), make(chan error, 1)
		lock := waits
		go func() {
			lock.Lock()
			won <- time.Now()
		}()
		require.Eventually(b, func() bool { // its watch is set
			line, _, err := eyes.Children("/bench/lock")
			require.NoError(b, err)
			all, err := server.FourLetter(within(b), "wchp")
			require.NoError(b, err)
			return len(line) == 2 && strings.Contains(all, "/bench/lock/")
		}, patience, time.Millisecond)
		calm()
		began := time.Now()
		go func() { left <- holds.Unlock() }()
		took := (<-won).Sub(began)
		require.NoError(b, <-left) // until it has returned, it takes the next Lock for a second one
		holds, waits = waits, holds
		return took
	}
}
