// Package electionprom counts what happens in elections, as metrics for Prometheus. It
// makes a trace for [election.WithTrace]:
//
//	trace, err := electionprom.New(prometheus.DefaultRegisterer)
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181", election.WithTrace(trace))
//
// One trace serves any number of clients. Each election has a series of its own, with its
// path in the label name. [WithName] chooses another name.
//
// leader_election_master_status is the gauge that Kubernetes' components have, with the
// same label. It compares the lease with the clock when it is read. So it is 0 at the
// first scrape after a pause of the process, before any goroutine has run.
//
// The table in docs/metrics.md has every metric and its labels. The folder of this package
// has a dashboard for Grafana (grafana/election.json) and alerts (alerts.yml).
//
// # How many series there are
//
// A name costs about 40 series, and the session of a process about 40 in all. Series are
// made when a candidate of that name first takes part, and stay until the process ends,
// so that a counter never goes back. No label holds an ID, a token or a session. If a
// process enters ever new paths, give them one name by [WithName].
package electionprom

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zkelection/election"
)

// Option changes what [New] makes.
type Option func(*config)

type config struct {
	name func(path string) string
	errs []error
}

// WithName sets how the label name is made of an election's path, as it was given to
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

// New registers the metrics with reg and returns the trace that counts. Pass it to each
// client of the process, by [election.WithTrace].
//
// New returns an error, and registers nothing, if an argument is wrong, or if reg has a
// metric of one of these names already. That is so
//   - for a second New with the same registerer. Use the first trace for all clients. If
//     clients need to be told apart, give each a trace of its own, by a registerer that
//     adds a label: [prometheus.WrapRegistererWith].
//   - if Kubernetes' client-go reports its own elections to reg. Put a prefix before all
//     names: [prometheus.WrapRegistererWithPrefix].
func New(reg prometheus.Registerer, opts ...Option) (*election.Trace, error) {
	cfg := &config{name: func(path string) string { return path }}
	for i, opt := range opts {
		if opt == nil {
			cfg.errs = append(cfg.errs, fmt.Errorf("option %d is nil", i))
			continue
		}
		opt(cfg)
	}
	if reg == nil {
		cfg.errs = append(cfg.errs, errors.New("reg is nil"))
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("electionprom: New: %w", err)
	}

	m := newMetrics(cfg.name)
	if err := reg.Register(m); err != nil {
		return nil, fmt.Errorf("electionprom: New: reg refuses the metrics (one trace serves all clients; "+
			"prometheus.WrapRegistererWith and WrapRegistererWithPrefix tell several apart): %w", err)
	}
	return m.trace(), nil
}
