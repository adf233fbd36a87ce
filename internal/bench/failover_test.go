package bench

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// What fast failover costs while nothing happens: figures of the protocol, which do not depend on the machine.
const (
	failover        = time.Second
	failoverTimeout = 10 * time.Second // the library's default
	window          = 10 * time.Second // of a measurement
	beats           = 5.               // of a candidate, a second
)

// rate is the traffic of one client, each figure a second.
type rate struct {
	sets   float64 // beats of one znode each
	multis float64 // proofs of the lease, and beats of several znodes
	reads  float64
	events float64 // notifications
	out    float64 // bytes to the server
	in     float64 // bytes from the server
}

func (r rate) String() string {
	return fmt.Sprintf("%.1f sets, %.1f multis, %.1f reads, %.1f notifications, %.0f bytes out and %.0f in", r.sets, r.multis,
		r.reads, r.events, r.out, r.in)
}

// rates measures at all proxies at the same time.
func rates(proxies ...*zktest.Proxy) []rate {
	for _, p := range proxies {
		p.ResetStats()
	}
	began := time.Now()
	<-time.After(window)
	all, seconds := make([]rate, len(proxies)), time.Since(began).Seconds()
	for i, p := range proxies {
		s := p.Stats()
		per := func(n int64) float64 { return float64(n) / seconds }
		all[i] = rate{
			sets:   per(s.Requests[jute.OpSetData].Frames),
			multis: per(s.Requests[jute.OpMulti].Frames),
			reads:  per(s.Requests[jute.OpGetData].Frames + s.Requests[jute.OpExists].Frames),
			events: per(s.Notifications.Frames),
			out:    per(s.ToServer.Bytes),
			in:     per(s.ToClient.Bytes),
		}
	}
	return all
}

// fastClient asks for the default session timeout, unlike connect.
func fastClient(tb testing.TB, addr string) *election.Client {
	tb.Helper()
	c, err := election.Connect(within(tb), addr, election.WithSessionTimeout(failoverTimeout),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}

func enter(tb testing.TB, c *election.Client, path string, opts ...election.Option) *election.Candidate {
	tb.Helper()
	cand := candidate(tb, c, path, opts...)
	require.NoError(tb, cand.Start(within(tb)))
	return cand
}

func TestFastFailoverCostsTheFirstThreeInLine(t *testing.T) {
	const positions = 5
	var proxies []*zktest.Proxy
	for _, line := range []struct {
		path string
		opts []election.Option
	}{
		{"/bench/fast", []election.Option{election.WithFastFailover(failover)}},
		{"/bench/slow", nil},
	} {
		for i := range positions {
			p := zktest.NewProxy(t, zktest.Shared(t).Addr())
			proxies = append(proxies, p)
			cand := enter(t, fastClient(t, p.Addr()), line.path, line.opts...)
			if i == 0 {
				lead(t, cand)
			} else {
				followed(t, cand)
			}
		}
	}

	all := rates(proxies...)
	fast, slow := all[:positions], all[positions:]
	for i := range positions {
		t.Logf("position %d, with: %v", i+1, fast[i])
		t.Logf("position %d, without: %v", i+1, slow[i])
		assert.Zero(t, slow[i].sets)
	}
	for i := range 2 {
		assert.InDelta(t, beats, fast[i].sets, 1, "position %d", i+1)
	}
	for i := 2; i < positions; i++ {
		assert.Zero(t, fast[i].sets, "position %d", i+1)
	}
	for i := 3; i < positions; i++ {
		assert.Zero(t, fast[i].events, "position %d", i+1)
		assert.LessOrEqual(t, fast[i].reads, slow[i].reads+0.3, "position %d", i+1) // checks come at random
	}
}

func TestTheBeatsOfAHundredElectionsOfOneClientShareTransactions(t *testing.T) {
	const elections = 100
	leads, follows := zktest.NewProxy(t, zktest.Shared(t).Addr()), zktest.NewProxy(t, zktest.Shared(t).Addr())
	first, second := fastClient(t, leads.Addr()), fastClient(t, follows.Addr())
	path := func(i int) string { return fmt.Sprintf("/bench/hundred/%03d", i) }
	for i := range elections {
		lead(t, enter(t, first, path(i), election.WithFastFailover(failover)))
	}
	alone := rates(leads)[0]
	t.Logf("without others behind: %v", alone)
	for i := range elections {
		followed(t, enter(t, second, path(i), election.WithFastFailover(failover)))
	}
	all := rates(leads, follows)
	t.Logf("first in 100 elections: %v", all[0])
	t.Logf("second in 100 elections: %v", all[1])
	for _, r := range append(all, alone) {
		assert.Less(t, r.sets+r.multis, elections*beats/10, "transactions")
	}
}
