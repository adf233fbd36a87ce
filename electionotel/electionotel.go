// Package electionotel counts what happens in elections, as metrics of OpenTelemetry, and
// makes a span of each term. It makes a trace for [election.WithTrace]:
//
//	trace, err := electionotel.New(otel.GetMeterProvider(), electionotel.WithSpans(otel.GetTracerProvider()))
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181", election.WithTrace(trace))
//
// One trace serves any number of clients. The attribute name is the path of the election.
// [WithName] chooses another name. No attribute of a metric holds an ID, a token or a
// session.
//
// The instruments are those of package electionprom. An exporter for Prometheus gives them
// the same names, so the dashboard and the alerts in its folder work here too. The table
// in docs/metrics.md has every metric and its labels.
package electionotel

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkelection/election"
)

// scope is the name of the meter and of the tracer.
const scope = "github.com/zkelection/election/electionotel"

// Option changes what [New] makes.
type Option func(*config)

type config struct {
	name  func(path string) string
	spans trace.TracerProvider // nil: no spans
	errs  []error
}

// WithName sets how the attribute name is made of an election's path, as it was given to
// [election.NewCandidate]. Default: it is the path. Elections of one name share their
// series: the process leads that name if it leads one of them. name is called for every
// event and has to return the same for the same path. It may be called by several
// goroutines at once.
func WithName(name func(path string) string) Option {
	return func(cfg *config) {
		if name == nil {
			cfg.errs = append(cfg.errs, errors.New("WithName: name is nil"))
			return
		}
		cfg.name = name
	}
}

// WithSpans makes a span of each term, named "election term". It is a root span. It begins
// with the term and ends with it: if the lease ended the term, it ends with the lease, also
// if a paused process noticed that later. It is made when the term has ended. Its
// attributes are election.path, election.id, election.token (hexadecimal, as in logs) and
// election.cause. If the term did not end by the wish of its own process, the status is an
// error. Default: no spans.
func WithSpans(provider trace.TracerProvider) Option {
	return func(cfg *config) {
		if provider == nil {
			cfg.errs = append(cfg.errs, errors.New("WithSpans: provider is nil"))
			return
		}
		cfg.spans = provider
	}
}

// New makes the instruments by provider and returns the trace that counts. Pass it to each
// client of the process, by [election.WithTrace]. Call New once for each provider: the
// gauges of a second trace would take the place of the first one's, if both have
// candidates of the same name. The gauges are observed as long as the provider lives.
//
// New returns an error that names each wrong argument, or what provider refused.
func New(provider metric.MeterProvider, opts ...Option) (*election.Trace, error) {
	cfg := &config{name: func(path string) string { return path }}
	for i, opt := range opts {
		if opt == nil {
			cfg.errs = append(cfg.errs, fmt.Errorf("option %d is nil", i))
			continue
		}
		opt(cfg)
	}
	if provider == nil {
		cfg.errs = append(cfg.errs, errors.New("provider is nil"))
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("electionotel: New: %w", err)
	}

	m, err := newMetrics(provider.Meter(scope), cfg)
	if err != nil {
		return nil, fmt.Errorf("electionotel: New: %w", err)
	}
	return m.trace(), nil
}
