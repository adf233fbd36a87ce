package electionprom_test

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionprom"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

const job = "/job"

// tell runs a story in virtual time.
func tell(t *testing.T, story func(t *testing.T, zk *electiontest.Ensemble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { story(t, electiontest.New(t)) })
}

// process is one process of a service, with a registry of its own.
type process struct {
	*prometheus.Registry
	t      *testing.T
	trace  *election.Trace
	client *election.Client
}

// start makes a process that reports to a registry.
func start(t *testing.T, zk *electiontest.Ensemble, name string, opts ...electionprom.Option) *process {
	t.Helper()
	p := &process{Registry: prometheus.NewPedanticRegistry(), t: t}
	var err error
	p.trace, err = electionprom.New(p.Registry, opts...)
	require.NoError(t, err)
	p.client = connect(t, zk, name, p.trace)
	return p
}

func connect(t *testing.T, zk *electiontest.Ensemble, name string, traces ...*election.Trace) *election.Client {
	t.Helper()
	opts := []election.ClientOption{election.WithDialer(zk.Dialer(name)), election.WithClientLogger(slog.New(slog.DiscardHandler))}
	for _, trace := range traces {
		opts = append(opts, election.WithTrace(trace))
	}
	c, err := election.Connect(t.Context(), zk.ConnectString(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // a client that is cut off cannot end its session
	return c
}

// candidate makes a candidate of the process that takes part.
func (p *process) candidate(path string, opts ...election.Option) *election.Candidate {
	p.t.Helper()
	return candidate(p.t, p.client, path, opts...)
}

func candidate(t *testing.T, c *election.Client, path string, opts ...election.Option) *election.Candidate {
	t.Helper()
	x, err := election.NewCandidate(c, path, opts...)
	require.NoError(t, err)
	require.NoError(t, x.Start(t.Context()))
	return x
}

// leads waits for a term of x.
func leads(t *testing.T, x *election.Candidate) *election.Term {
	t.Helper()
	term, err := x.Await(t.Context())
	require.NoError(t, err)
	return term
}

// gather reads all metrics, by name.
func gather(t *testing.T, from prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	all := map[string]*dto.MetricFamily{}
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// values reads the series of one metric, by the values of their labels, the name first. A
// histogram's value is its count.
func (p *process) values(metric string) map[string]float64 {
	p.t.Helper()
	all := map[string]float64{}
	for _, m := range gather(p.t, p)[metric].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			if l.GetName() == "name" {
				labels = slices.Insert(labels, 0, l.GetValue())
				continue
			}
			labels = append(labels, l.GetValue())
		}
		value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		all[strings.Join(labels, " ")] = value
	}
	return all
}

// rest lets virtual time pass, and with it whatever is under way.
func rest() { time.Sleep(time.Minute) }
