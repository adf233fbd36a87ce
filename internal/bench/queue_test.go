package bench

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

const writesTimeout = 10 * time.Second

// BenchmarkTenThousandWrites measures how long the slowest proof of a lease takes while
// 10,000 writes of the user's are made at once on the leader's session: by Do, and
// directly on a connection that the client shares. The ratio is that of the two.
func BenchmarkTenThousandWrites(b *testing.B) {
	addr := zktest.Start(b, zktest.WithConfig("forceSync", "yes")).Addr()
	var slowest atomic.Int64
	proved := election.WithTrace(&election.Trace{LeaseProved: func(i election.LeaseProvedInfo) {
		if took := int64(i.Took); took > slowest.Load() {
			slowest.Store(took)
		}
	}})
	silent := election.WithClientLogger(slog.New(slog.DiscardHandler))

	own, err := election.Connect(within(b), addr, proved, silent, election.WithSessionTimeout(writesTimeout))
	require.NoError(b, err)
	b.Cleanup(func() { own.Close() })
	conn, _, err := zk.Connect([]string{addr}, writesTimeout, zk.WithLogInfo(false))
	require.NoError(b, err)
	b.Cleanup(conn.Close)
	shared, err := election.NewClient(conn, writesTimeout, proved, silent)
	require.NoError(b, err)
	b.Cleanup(func() { shared.Close() })

	by := dial(b, addr)
	_, err = by.Create("/data", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(b, err)
	set := func(c *zk.Conn) error { _, err := c.Set("/data", nil, -1); return err }

	var byDo, direct []time.Duration
	ends := 0
	for b.Loop() {
		proof, all, ended := behind(b, &slowest, own, "/bench/do", func() error { return own.Do(within(b), set) })
		byDo, ends = append(byDo, proof), ends+ended
		b.Logf("Do: the slowest proof took %v of %v", proof.Round(time.Millisecond), all.Round(time.Millisecond))
		proof, all, ended = behind(b, &slowest, shared, "/bench/direct", func() error { return set(conn) })
		direct = append(direct, proof)
		b.Logf("direct: the slowest proof took %v of %v, %d terms ended", proof.Round(time.Millisecond), all.Round(time.Millisecond), ended)
	}
	b.ReportMetric(float64(median(byDo))/float64(median(direct)), "Do/direct")
	b.ReportMetric(float64(ends), "terms-ended-by-Do")
}

// behind makes 10,000 writes at once while a candidate leads. It returns the slowest proof
// meanwhile, the time of all writes, and how many terms ended.
func behind(b *testing.B, slowest *atomic.Int64, c *election.Client, path string,
	write func() error) (proof, all time.Duration, ended int) {
	cand := candidate(b, c, path)
	term, err := cand.Await(within(b))
	require.NoError(b, err)
	time.Sleep(2 * writesTimeout / 12) // the first proofs have been made
	slowest.Store(0)
	began := time.Now()
	var each sync.WaitGroup
	for range 10_000 {
		each.Go(func() {
			if err := write(); err != nil {
				b.Error(err)
			}
		})
	}
	each.Wait()
	all = time.Since(began)
	time.Sleep(2 * writesTimeout / 12) // so has the one behind the writes
	if term.Err() != nil {
		ended++
	}
	require.NoError(b, cand.Close())
	return time.Duration(slowest.Load()), all, ended
}
