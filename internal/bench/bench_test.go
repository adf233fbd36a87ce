// Package bench measures what the library promises to cost. The figures that do not depend on the machine are tests, so
// that a change that makes them worse fails; the times are benchmarks.
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
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

const patience = time.Minute

func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// connect asks for a session so long that neither proofs nor ticks fall into what is measured, as a rule.
func connect(tb testing.TB, addr string) *election.Client {
	tb.Helper()
	c, err := election.Connect(within(tb), addr, election.WithSessionTimeout(time.Minute),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}

func candidate(tb testing.TB, c *election.Client, path string) *election.Candidate {
	tb.Helper()
	cand, err := election.NewCandidate(c, path, election.WithID("bench"))
	require.NoError(tb, err)
	return cand
}

func lead(tb testing.TB, c *election.Candidate) {
	tb.Helper()
	_, err := c.Await(within(tb))
	require.NoError(tb, err)
}

// leading returns a candidate that leads, with a lease of a third of a minute, renewed all the time.
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

// crowd puts n znodes at the end of the line at path, in a session of its own.
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

// cost is what one hand-off sends over the two connections that take part in it.
type cost struct{ requests, bytes int64 }

// handOff measures one with n candidates in line, from the leader's leaving to the next one's term.
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
		require.Eventually(t, func() bool { // the delete's reply and the notifications may be on their way still
			s := p.Stats()
			return s.Notifications.Frames == 1 && s.Replies[zktest.OpDelete].Frames == s.Requests[zktest.OpDelete].Frames
		}, patience, time.Millisecond)
		s := p.Stats()
		require.Zero(t, s.Requests[zktest.OpGetChildren2].Frames+s.Requests[zktest.OpGetChildren].Frames)
		t.Logf("%d in line: requests %v, replies %v, notifications %v", n, s.Requests, s.Replies, s.Notifications)
		sum.requests += s.ToServer.Frames
		sum.bytes += s.ToServer.Bytes + s.ToClient.Bytes
	}
	return sum
}

// followed returns when the candidate's lease is good and its watch on the one ahead stands.
func followed(tb testing.TB, c *election.Candidate) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		s := c.Status()
		return s.Ahead != nil && time.Now().Before(s.LeaseEnd)
	}, patience, 100*time.Microsecond)
}

// quiet repeats a measurement into which a proof or a tick has fallen, which is rare: the smallest is the true one.
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

// size is what stands on the heap, after everything that can go has gone.
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
			require.Eventually(t, func() bool { _, n := size(); return n-goroutines <= 2*many }, patience, 10*time.Millisecond)
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

// BenchmarkHandOff measures graceful hand-offs on sessions that stand, between two candidates, against the bare limit: one
// connection deletes a znode on which another has a watch. The kinds take turns of a few rounds, so that what disturbs
// one disturbs all; the first rounds of a turn do not count, so that each finds the machine as its own kind leaves it.
// The server writes its log to the disk before it answers, as it does by default.
func BenchmarkHandOff(b *testing.B) {
	const counted, before = 20, 4
	zk := zktest.Start(b, zktest.WithConfig("forceSync", "yes"))
	rounds := []func() time.Duration{bareRound(b, zk.Addr()), resignRound(b, zk.Addr()), leaveRound(b, zk.Addr()), lockRound(b, zk)}
	for range 20 { // the server's compiler has to see it first
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
}

// calm lets what prepared a round die down, so that all rounds find the same machine: a server whose threads have just
// worked answers half as late as one whose threads have to be woken.
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

// resignRound has the leader go to the back of the line: while the next one takes over, it makes its new znode.
func resignRound(b *testing.B, addr string) func() time.Duration {
	ctx := context.Background()
	holds, waits := candidate(b, connect(b, addr), "/bench/resign"), candidate(b, connect(b, addr), "/bench/resign")
	lead(b, holds)
	require.NoError(b, waits.Start(ctx))
	return func() time.Duration {
		took := passOn(b, waits, func() error { return holds.Resign(ctx) })
		holds, waits = waits, holds
		return took
	}
}

// leaveRound has the leader leave for good, and another candidate stand on its session for the next round.
func leaveRound(b *testing.B, addr string) func() time.Duration {
	ctx := context.Background()
	here, there := connect(b, addr), connect(b, addr)
	holds, waits := candidate(b, here, "/bench/leave"), candidate(b, there, "/bench/leave")
	lead(b, holds)
	require.NoError(b, waits.Start(ctx))
	return func() time.Duration {
		took := passOn(b, waits, holds.Close)
		holds, waits, here, there = waits, candidate(b, here, "/bench/leave"), there, here
		require.NoError(b, waits.Start(ctx))
		return took
	}
}

// passOn measures from the leader's call to the return of the next one's Await.
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
	holds, waits := zk.NewLock(one, "/bench/lock", zk.WorldACL(zk.PermAll)), zk.NewLock(two, "/bench/lock", zk.WorldACL(zk.PermAll))
	require.NoError(b, holds.Lock())
	return func() time.Duration {
		won, left := make(chan time.Time), make(chan error, 1)
		lock := waits
		go func() {
			lock.Lock()
			won <- time.Now()
		}()
		require.Eventually(b, func() bool { // its watch stands
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
		require.NoError(b, <-left) // until it has returned, it takes its next Lock for a second one
		holds, waits = waits, holds
		return took
	}
}
