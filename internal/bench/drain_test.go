package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

// A drain is a line whose candidates leave one after another, as in a rolling restart:
// each as soon as it leads. Nobody waits long enough to learn in its own time who has
// left.

// contender is a candidate, or a client that waits for go-zookeeper's Lock.
type contender struct {
	lead  func() error // returns when it leads
	leave func() error
	wire  *zktest.Proxy // its connection, which it may share
}

// fleet is a number of connections on which contenders are spread.
type fleet struct {
	tb      testing.TB
	addr    string
	proxies []*zktest.Proxy
}

// connections bounds those of a line. Contenders of a longer line share them.
const connections = 20

func newFleet(tb testing.TB, addr string, n int) *fleet {
	f := &fleet{tb: tb, addr: addr}
	for range min(n, connections) {
		f.proxies = append(f.proxies, zktest.NewProxy(tb, addr))
	}
	return f
}

// candidates returns what makes a line of our candidates at a path.
func (f *fleet) candidates() func(path string, n int) []contender {
	var clients []*election.Client
	for _, p := range f.proxies {
		clients = append(clients, connect(f.tb, p.Addr()))
	}
	return func(path string, n int) []contender {
		line := make([]contender, n)
		for i := range line {
			c := candidate(f.tb, clients[i%len(clients)], path)
			require.NoError(f.tb, c.Start(within(f.tb)))
			line[i] = contender{
				lead:  func() error { _, err := c.Await(context.Background()); return err },
				leave: c.Close,
				wire:  f.proxies[i%len(clients)],
			}
		}
		return line
	}
}

// locks returns what makes a line of locks.
func (f *fleet) locks() func(path string, n int) []contender {
	var conns []*zk.Conn
	for _, p := range f.proxies {
		conns = append(conns, dial(f.tb, p.Addr()))
	}
	eyes := dial(f.tb, f.addr)
	return func(path string, n int) []contender {
		line := make([]contender, n)
		for i := range line {
			lock := zk.NewLock(conns[i%len(conns)], path, zk.WorldACL(zk.PermAll))
			locked := make(chan error, 1)
			go func() { locked <- lock.Lock() }()
			line[i] = contender{
				lead:  func() error { return <-locked },
				leave: lock.Unlock,
				wire:  f.proxies[i%len(conns)],
			}
			require.Eventually(f.tb, func() bool { // so that the line is in this order
				all, _, err := eyes.Children(path)
				return err == nil && len(all) == i+1
			}, patience, 200*time.Microsecond)
		}
		return line
	}
}

// handover is what one of them cost.
type handover struct {
	took  time.Duration
	bytes int64 // on the connection of the one that leads next
}

// drain has those of a line leave one after another, and returns what each hand-over cost.
func drain(tb testing.TB, line []contender) []handover {
	settle(tb, line)
	require.NoError(tb, line[0].lead())
	all := make([]handover, 0, len(line)-1)
	for i, holds := range line[:len(line)-1] {
		next := line[i+1]
		won, left := make(chan time.Time, 1), make(chan error, 2)
		go func() {
			left <- next.lead()
			won <- time.Now()
		}()
		calm()
		before := traffic(next.wire)
		began := time.Now()
		go func() { left <- holds.leave() }()
		took := (<-won).Sub(began)
		require.NoError(tb, <-left)
		require.NoError(tb, <-left)
		calm() // the last of them may still be on their way through the proxy
		all = append(all, handover{took, traffic(next.wire) - before})
	}
	require.NoError(tb, line[len(line)-1].leave())
	return all
}

// settle waits until nothing more is sent: all watches are set.
func settle(tb testing.TB, line []contender) {
	sum := func() (n int64) {
		for _, c := range line[:min(len(line), connections)] {
			n += traffic(c.wire)
		}
		return n
	}
	last := sum()
	require.Eventually(tb, func() bool {
		now := sum()
		quiet := now == last
		last = now
		return quiet
	}, patience, 100*time.Millisecond)
}

func traffic(p *zktest.Proxy) int64 {
	s := p.Stats()
	return s.ToServer.Bytes + s.ToClient.Bytes
}

// embedded returns the address of a ZooKeeper in this process.
func embedded(tb testing.TB) string {
	e := zksim.New(zksim.Config{})
	tb.Cleanup(e.Close)
	addr, err := e.ListenTCP("127.0.0.1:0")
	require.NoError(tb, err)
	return addr
}

// longerNames is by how much the default names are longer than those of a lock, of which
// a listing has one for each that is left in line, and a notification has one.
const longerNames = 5

func TestADrainCostsNoMoreBytesThanZkLock(t *testing.T) {
	const n = connections
	f := newFleet(t, embedded(t), n)
	ours := drain(t, f.candidates()("/ours", n))
	f = newFleet(t, f.addr, n)
	locks := drain(t, f.locks()("/lock", n))
	for i := range ours {
		t.Logf("position %d: %d bytes, zk.Lock %d", i+2, ours[i].bytes, locks[i].bytes)
		assert.LessOrEqual(t, ours[i].bytes, locks[i].bytes+longerNames*int64(n-i), "position %d", i+2)
	}
}

// BenchmarkDrain measures each hand-over of a line that has just formed, beside
// go-zookeeper's Lock. The times are medians over all drains, as multiples of the bare
// limit of BenchmarkHandOff. Lines of 1,000 are left out unless BENCH_LONG is set.
func BenchmarkDrain(b *testing.B) {
	for name, start := range map[string]func(tb testing.TB) string{
		"embedded":  embedded,
		"zookeeper": func(tb testing.TB) string { return zktest.Start(tb, zktest.WithConfig("forceSync", "yes")).Addr() },
	} {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				if n > 100 && os.Getenv("BENCH_LONG") == "" {
					b.Skip("BENCH_LONG is not set")
				}
				benchmarkDrain(b, start(b), n)
			})
		}
	}
}

func benchmarkDrain(b *testing.B, addr string, n int) {
	bare := bareRound(b, zktest.NewProxy(b, addr).Addr())
	kinds := []string{"ours", "zk.Lock"}
	make := []func(string, int) []contender{newFleet(b, addr, n).candidates(), newFleet(b, addr, n).locks()}
	took, bytes, round := [2][][]time.Duration{}, [2][]int64{}, 0
	var limit []time.Duration
	for b.Loop() {
		for range n {
			limit = append(limit, bare())
		}
		for k := range kinds {
			round++
			for i, h := range drain(b, make[k](fmt.Sprintf("/bench/drain%d", round), n)) {
				if len(took[k]) <= i {
					took[k], bytes[k] = append(took[k], nil), append(bytes[k], 0)
				}
				took[k][i], bytes[k][i] = append(took[k][i], h.took), max(bytes[k][i], h.bytes)
			}
		}
	}

	base := float64(median(limit))
	for k, kind := range kinds {
		var all []time.Duration
		for i := range took[k] {
			all = append(all, took[k][i]...)
			if i < 9 || (i+2)%50 == 0 {
				b.Logf("%s, position %d: %.2f x bare, at most %d bytes", kind, i+2, float64(median(took[k][i]))/base, bytes[k][i])
			}
		}
		b.ReportMetric(float64(median(all))/base, kind+"/bare")
		b.ReportMetric(float64(slices.Max(bytes[k])), kind+"-bytes")
	}
}
