package electionotel_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionotel"
	"github.com/zkelection/election/electiontest"
)

func TestTheGaugesSayWhoLeadsAndWhoIsNext(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a, b := start(t, zk, "a"), start(t, zk, "b")
		x := a.candidate(job)
		y := b.candidate(job)
		rest()
		assert.Equal(t, map[string]float64{job: 1}, a.values("leader_election.master_status"))
		assert.Equal(t, map[string]float64{job: 0}, b.values("leader_election.master_status"))
		assert.Equal(t, map[string]float64{job: 2}, b.values("election.place"))
		assert.Equal(t, map[string]float64{job + " following": 1}, b.values("election.candidates"))
		left := time.Until(leads(t, x).Deadline()).Seconds()
		assert.Equal(t, map[string]float64{job: left}, a.values("election.lease.remaining"))
		assert.Empty(t, b.values("election.lease.remaining"), "it does not lead")

		require.NoError(t, x.Shutdown(t.Context()))
		leads(t, y)
		rest()
		assert.Equal(t, map[string]float64{job: 0}, a.values("leader_election.master_status"), "no series ends")
		assert.Equal(t, map[string]float64{job: 1}, b.values("leader_election.master_status"))
		assert.Equal(t, map[string]float64{job: 1}, b.values("election.place"))
		assert.Empty(t, a.values("election.place"))
		assert.Empty(t, a.values("election.candidates"))
	})
}

func TestWhatHappensIsCounted(t *testing.T) {
	tell(t, func(t *testing.T, zk_ *electiontest.Ensemble) {
		a := start(t, zk_, "a")
		x := a.candidate(job)
		rest()
		term := leads(t, x)
		assert.Equal(t, map[string]float64{job + " ok": 0, job + " failed": 0, job + " no_answer": 0, job + " term_over": 0},
			a.values("election.guards"), "counters begin at 0")
		_, err := term.Guard(t.Context())
		require.NoError(t, err)
		_, err = term.Guard(t.Context(), &zk.DeleteRequest{Path: "/nobody"})
		require.ErrorIs(t, err, zk.ErrNoNode)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = term.Guard(over)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, x.Resign(t.Context()))
		_, err = term.Guard(t.Context())
		require.ErrorIs(t, err, election.ErrTermOver)
		leads(t, x)
		zk_.Cut("a")
		time.Sleep(30 * time.Second)
		zk_.Heal("a")
		rest()
		leads(t, x)

		assert.Equal(t, map[string]float64{job + " ok": 1, job + " failed": 1, job + " no_answer": 1, job + " term_over": 1},
			a.values("election.guards"))
		ended := a.values("election.terms.ended")
		assert.Len(t, ended, 8)
		assert.Equal(t, 1.0, ended[job+" resigned"])
		assert.Equal(t, 1.0, ended[job+" lease_expired"])
		assert.Equal(t, map[string]float64{job: 3}, a.values("election.terms"))
		assert.Equal(t, map[string]float64{job: 3}, a.values("election.takeover"))
		proofs := a.values("election.proof")
		assert.Greater(t, proofs["ok"], 100.0)
		assert.Positive(t, proofs["failed"])
		events := a.values("election.session.events")
		assert.Equal(t, map[string]float64{"connected": 2, "disconnected": 1, "expired": 1, "given_up": 0}, events)
		assert.Equal(t, map[string]float64{job: 0}, a.values("election.overruns"))

		done := make(chan error)
		go func() {
			done <- x.Run(t.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				time.Sleep(time.Hour)
				return nil
			})
		}()
		rest()
		go x.Shutdown(t.Context())
		<-done
		rest()
		assert.Equal(t, map[string]float64{job: 1}, a.values("election.overruns"))
	})
}

func TestOneTraceServesSeveralClientsAndOneNameSeveralElections(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a", electionotel.WithName(func(string) string { return "shards\xff" }))
		b := &process{a.ManualReader, t, a.trace, connect(t, zk, "b", a.trace)}
		x, y := a.candidate("/shards/1"), b.candidate("/shards/2")
		leads(t, x)
		leads(t, y)
		rest()
		const name = "shards\uFFFD"
		assert.Equal(t, map[string]float64{name: 1}, a.values("leader_election.master_status"))
		assert.Equal(t, map[string]float64{name + " leading": 2}, a.values("election.candidates"))
		assert.Equal(t, map[string]float64{name: 2}, a.values("election.terms"))
		require.NoError(t, x.Close())
		rest()
		assert.Equal(t, map[string]float64{name: 1}, a.values("leader_election.master_status"))
		require.NoError(t, y.Close())
		rest()
		assert.Equal(t, map[string]float64{name: 0}, a.values("leader_election.master_status"))
	})
}

// An exporter gives the metrics the names of package electionprom, so its dashboard and its
// alerts work.
func TestAnExporterGivesTheNamesThatThePageLists(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:gauge|counter|histogram) \\| .* \\| (.*) \\|$").
		FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = m[2]
	}
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		registry := prom.NewRegistry()
		exporter, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithoutScopeInfo(), prometheus.WithoutTargetInfo())
		require.NoError(t, err)
		trace, err := electionotel.New(sdk.NewMeterProvider(sdk.WithReader(exporter)))
		require.NoError(t, err)
		p := &process{nil, t, trace, connect(t, zk, "a", trace)}
		leads(t, p.candidate(job))
		rest()
		families, err := registry.Gather()
		require.NoError(t, err)
		found := map[string]string{}
		for _, f := range families {
			found[f.GetName()] = f.GetHelp()
		}
		assert.Equal(t, listed, found)
	})
}

func TestWrongArgumentsAreNamedAllAtOnce(t *testing.T) {
	_, err := electionotel.New(nil, nil, electionotel.WithName(nil), electionotel.WithSpans(nil))
	require.Error(t, err)
	for _, what := range []string{"electionotel: New", "provider is nil", "option 0 is nil", "WithName: name is nil", "WithSpans: provider is nil"} {
		assert.ErrorContains(t, err, what)
	}
}

// refusing is a provider whose counters cannot be made.
type refusing struct{ noop.MeterProvider }

type refusingMeter struct{ noop.Meter }

var errRefused = errors.New("refused")

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

func (refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return noop.Int64Counter{}, errRefused
}

func TestWhatTheProviderRefusesIsAnError(t *testing.T) {
	_, err := electionotel.New(refusing{})
	require.ErrorIs(t, err, errRefused)
	require.ErrorContains(t, err, "electionotel: New")
}
