package electionotel_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionotel"
	"github.com/zkelection/election/electiontest"
)

const job = "/job"

// tell runs a story in virtual time.
func tell(t *testing.T, story func(t *testing.T, zk *electiontest.Ensemble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, electiontest.New(t)) })
}

// process is one process of a service, with a provider of its own.
type process struct {
	*sdk.ManualReader
	t      *testing.T
	trace  *election.Trace
	client *election.Client
}

// start makes a process whose metrics are read by hand.
func start(t *testing.T, zk *electiontest.Ensemble, name string, opts ...electionotel.Option) *process {
	t.Helper()
	p := &process{ManualReader: sdk.NewManualReader(), t: t}
	var err error
	p.trace, err = electionotel.New(sdk.NewMeterProvider(sdk.WithReader(p.ManualReader)), opts...)
	require.NoError(t, err)
	p.client = connect(t, zk, name, p.trace)
	return p
}

func connect(t *testing.T, zk *electiontest.Ensemble, name string, trace *election.Trace) *election.Client {
	t.Helper()
	c, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithTrace(trace), election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // a client that is cut off cannot end its session
	return c
}

// candidate makes a candidate of the process that takes part.
func (p *process) candidate(path string, opts ...election.Option) *election.Candidate {
	p.t.Helper()
	x, err := election.NewCandidate(p.client, path, opts...)
	require.NoError(p.t, err)
	require.NoError(p.t, x.Start(p.t.Context()))
	return x
}

// leads waits for a term of x.
func leads(t *testing.T, x *election.Candidate) *election.Term {
	t.Helper()
	term, err := x.Await(t.Context())
	require.NoError(t, err)
	return term
}

// values reads the series of one metric, by the values of their attributes, the name first. A
// histogram's value is its count.
func (p *process) values(name string) map[string]float64 {
	p.t.Helper()
	var read metricdata.ResourceMetrics
	require.NoError(p.t, p.Collect(p.t.Context(), &read))
	all := map[string]float64{}
	for _, scope := range read.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				points(p.t, m.Data, all)
			}
		}
	}
	return all
}

// points notes the values of one metric.
func points(t *testing.T, data metricdata.Aggregation, all map[string]float64) {
	t.Helper()
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		require.True(t, data.IsMonotonic)
		for _, p := range data.DataPoints {
			all[key(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			all[key(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			all[key(p.Attributes)] = p.Value
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			all[key(p.Attributes)] = float64(p.Count)
		}
	default:
		require.Failf(t, "unknown", "%T", data)
	}
}

func key(set attribute.Set) string {
	var labels []string
	for _, kv := range set.ToSlice() {
		if kv.Key == "name" {
			labels = slices.Insert(labels, 0, kv.Value.AsString())
			continue
		}
		labels = append(labels, kv.Value.AsString())
	}
	return strings.Join(labels, " ")
}

// rest lets virtual time pass, and with it whatever is under way.
func rest() { time.Sleep(time.Minute) }
