package electionotel

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkelection/election"
)

// metrics are the instruments of a trace. What happened is counted when it happens. What
// is the case is asked of the candidates when the gauges are observed.
type metrics struct {
	name  func(path string) string
	spans trace.Tracer // nil: no spans

	terms, ended, overruns, guards, failures, events metric.Int64Counter
	takeover, proof                                  metric.Float64Histogram
	status, place, candidates                        metric.Int64ObservableGauge
	lease                                            metric.Float64ObservableGauge

	present
}

// fast and slow are the buckets of a proof and a take-over, in seconds. A proof is one
// write to ZooKeeper. The lease lasts a third of the session timeout, 3.3 s by default.
// A take-over may wait for a lease of another session.
var (
	fast = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	slow = []float64{.001, .005, .01, .05, .1, .5, 1, 2.5, 5, 10, 30}
)

// newMetrics makes the instruments. Units in braces are annotations, which exporters for
// Prometheus leave out of a name.
func newMetrics(meter metric.Meter, cfg *config) (*metrics, error) {
	m := &metrics{name: cfg.name}
	if cfg.spans != nil {
		m.spans = cfg.spans.Tracer(scope)
	}
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	counter := func(to *metric.Int64Counter, name, unit, what string) {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		*to = c
		note(err)
	}
	histogram := func(to *metric.Float64Histogram, name, what string, buckets []float64) {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what),
			metric.WithExplicitBucketBoundaries(buckets...))
		*to = h
		note(err)
	}
	gauge := func(to *metric.Int64ObservableGauge, name, unit, what string) {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		*to = g
		note(err)
	}

	gauge(&m.status, "leader_election.master_status", "{status}",
		"Whether this process leads: 1 or 0, as the lease says at the time of the scrape.")
	counter(&m.terms, "election.terms", "{term}", "Terms that began in this process.")
	counter(&m.ended, "election.terms.ended", "{term}", "Terms that ended in this process, by cause.")
	histogram(&m.takeover, "election.takeover",
		"Time from when a candidate knew that nobody is ahead of it until it led.", slow)
	lease, err := meter.Float64ObservableGauge("election.lease.remaining", metric.WithUnit("s"), metric.WithDescription(
		"Time until the term ends if the lease is not renewed. Missing while this process does not lead."))
	m.lease = lease
	note(err)
	gauge(&m.place, "election.place", "{place}",
		"Place in line, 1 being the first; those ahead may have left since. Missing while this process is not in line.")
	gauge(&m.candidates, "election.candidates", "{candidate}",
		"Candidates of this process by state. Missing for a state that none is in.")
	counter(&m.overruns, "election.overruns", "{term}", "Terms whose work still ran some time after the term's end.")
	counter(&m.guards, "election.guards", "{call}", "Calls of Term.Guard by result.")
	counter(&m.failures, "election.request.failures", "{request}",
		"Requests of candidates to ZooKeeper that failed and were to be made again.")
	histogram(&m.proof, "election.proof",
		"Time that an attempt to prove the lease took, by result. The lease is the session's, so there is no name.", fast)
	counter(&m.events, "election.session.events", "{event}", "Changes of ZooKeeper sessions, by event.")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	for _, event := range []string{"connected", "disconnected", "expired", "given_up"} {
		m.events.Add(context.Background(), 0, with(attribute.String("event", event)))
	}
	_, err = meter.RegisterCallback(m.observe, m.status, m.lease, m.place, m.candidates)
	return m, err
}

// with returns the attributes of a measurement.
func with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}

// of returns the attribute for the election at path.
func (m *metrics) of(path string) attribute.KeyValue {
	return attribute.String("name", strings.ToValidUTF8(m.name(path), "\uFFFD"))
}

// causes are the errors that end a term. Any other counts as "other", which is left for
// later versions of the library.
var causes = []error{election.ErrLeaseExpired, election.ErrSessionExpired, election.ErrNodeDeleted, election.ErrDisconnected,
	election.ErrResigned, election.ErrUnhealthy, election.ErrClosed}

// begin makes the series of a name. A counter that began with its first event would hide
// that event from whoever looks for an increase.
func (m *metrics) begin(name attribute.KeyValue) {
	ctx := context.Background()
	for _, c := range []metric.Int64Counter{m.terms, m.overruns, m.failures} {
		c.Add(ctx, 0, with(name))
	}
	for _, cause := range causes {
		m.ended.Add(ctx, 0, with(name, attribute.String("cause", election.Cause(cause))))
	}
	m.ended.Add(ctx, 0, with(name, attribute.String("cause", "other")))
	for _, result := range []string{"ok", "term_over", "no_answer", "failed"} {
		m.guards.Add(ctx, 0, with(name, attribute.String("result", result)))
	}
}

// observe is called when the gauges are read.
func (m *metrics) observe(_ context.Context, o metric.Observer) error {
	for name, now := range m.read() {
		name, led := attribute.String("name", name), int64(0)
		if now.leads {
			led = 1
			o.ObserveFloat64(m.lease, now.lease.Seconds(), with(name))
		}
		o.ObserveInt64(m.status, led, with(name))
		if now.place > 0 {
			o.ObserveInt64(m.place, int64(now.place), with(name))
		}
		for state, n := range now.states {
			o.ObserveInt64(m.candidates, int64(n), with(name, attribute.String("state", string(state))))
		}
	}
	return nil
}
