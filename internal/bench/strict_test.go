package bench

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// pair is two candidates of an election, each behind a proxy of its own. The first leads.
type pair struct {
	leads, next *election.Candidate
	from, to    *zktest.Proxy
}

func newPair(tb testing.TB, addr, path string, timeout time.Duration, opts ...election.Option) *pair {
	tb.Helper()
	one := func() (*election.Candidate, *zktest.Proxy) {
		p := zktest.NewProxy(tb, addr)
		c, err := election.Connect(within(tb), p.Addr(), election.WithSessionTimeout(timeout),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		require.NoError(tb, err)
		tb.Cleanup(func() { c.Close() })
		return candidate(tb, c, path, opts...), p
	}
	p := &pair{}
	p.leads, p.from = one()
	p.next, p.to = one()
	lead(tb, p.leads)
	require.NoError(tb, p.next.Start(within(tb)))
	followed(tb, p.next)
	return p
}

// The second in line is told of the first one's end by two watches, on its znode and on the record. It would delay the
// beginning if it read the record again.
func TestAStrictHandOverTakesTwoTransactionsAndNoReadBetweenThem(t *testing.T) {
	p := newPair(t, zktest.Shared(t).Addr(), "/bench/two", 20*time.Second, election.WithStrictHandover())
	require.Eventually(t, func() bool { // it has read its own znode, the one ahead and the record
		s := p.to.Stats()
		return s.Replies[jute.OpGetData].Frames >= 3 && s.Replies[jute.OpGetData].Frames == s.Requests[jute.OpGetData].Frames
	}, patience, time.Millisecond)
	p.from.ResetStats()
	p.to.ResetStats()

	require.NoError(t, p.leads.Close())
	lead(t, p.next)
	left, began := p.from.Stats(), p.to.Stats()
	t.Logf("it left: %v; the next began: %v", left.Requests, began.Requests)
	for _, s := range []zktest.Stats{left, began} {
		assert.NotZero(t, s.Requests[jute.OpMulti].Frames) // may be two, as a proof may be due
		assert.Equal(t, s.ToServer.Frames, s.Requests[jute.OpMulti].Frames+s.Requests[jute.OpPing].Frames, "requests: %v", s.Requests)
	}
}

// BenchmarkCrashStrict cuts off the client that leads, which the server cannot tell from a crash, and measures the time
// until the next candidate leads: with and without strict hand-over and fast failover. The kinds crash at the same time,
// since nearly all of it is waiting.
func BenchmarkCrashStrict(b *testing.B) {
	const timeout, silence = 4 * time.Second, time.Second
	strict, fast := election.WithStrictHandover(), election.WithFastFailover(silence)
	kinds := []struct {
		name string
		opts []election.Option
	}{
		{"without", nil},
		{"strict", []election.Option{strict}},
		{"fast", []election.Option{fast}},
		{"strict-fast", []election.Option{strict, fast}},
	}
	server := zktest.Start(b, zktest.WithConfig("forceSync", "yes"))
	pairs := make([]*pair, len(kinds))
	for i, kind := range kinds {
		pairs[i] = newPair(b, server.Addr(), "/bench/crash-"+kind.name, timeout, kind.opts...)
	}

	took := make([][]time.Duration, len(kinds))
	for b.Loop() {
		var all sync.WaitGroup
		for i, p := range pairs {
			all.Go(func() {
				// So that it does not come at a certain moment between two proofs or beats.
				<-time.After(rand.N(timeout / 3))
				took[i] = append(took[i], p.crash(b))
			})
		}
		all.Wait()
		for _, p := range pairs {
			require.Eventually(b, func() bool { return p.next.Status().Ahead != nil }, patience, time.Millisecond)
		}
	}

	for i, kind := range kinds {
		slices.Sort(took[i])
		b.Logf("%s: %d crashes, %v at the median, %v to %v", kind.name, len(took[i]), median(took[i]), took[i][0],
			took[i][len(took[i])-1])
		b.ReportMetric(median(took[i]).Seconds(), "s/"+kind.name)
	}
}

// crash cuts the leader off until the next one leads, and has them change places. It does not fail the benchmark, since
// it is not on the benchmark's goroutine.
func (p *pair) crash(b *testing.B) time.Duration {
	began := time.Now()
	p.from.Cut()
	_, err := p.next.Await(within(b))
	took := time.Since(began)
	assert.NoError(b, err)
	p.from.Heal()
	p.leads, p.next, p.from, p.to = p.next, p.leads, p.to, p.from
	return took
}
