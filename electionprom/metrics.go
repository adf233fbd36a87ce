package electionprom

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zkelection/election"
)

// metrics is the collector of a trace. What happened is counted when it happens. What is
// the case is asked of the candidates when the metrics are read.
type metrics struct {
	name func(path string) string

	terms, ended, overruns, guards, failures *prometheus.CounterVec // first label: name
	events                                   *prometheus.CounterVec
	takeover, proof                          *prometheus.HistogramVec

	status, lease, place, candidates *prometheus.Desc

	present
}

// fast and slow are the buckets of a proof and a take-over, in seconds. A proof is one
// write to ZooKeeper. The lease lasts a third of the session timeout, 3.3 s by default.
// A take-over may wait for a lease of another session.
var (
	fast = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	slow = []float64{.001, .005, .01, .05, .1, .5, 1, 2.5, 5, 10, 30}
)

func newMetrics(name func(string) string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}

	m := &metrics{
		name: name,
		status: gauge("leader_election_master_status",
			"Whether this process leads: 1 or 0, as the lease says at the time of the scrape.", "name"),
		terms: counter("election_terms_total", "Terms that began in this process.", "name"),
		ended: counter("election_terms_ended_total", "Terms that ended in this process, by cause.", "name", "cause"),
		takeover: histogram("election_takeover_seconds",
			"Time from when a candidate knew that nobody is ahead of it until it led.", slow, "name"),
		lease: gauge("election_lease_remaining_seconds",
			"Time until the term ends if the lease is not renewed. Missing while this process does not lead.", "name"),
		place: gauge("election_place",
			"Place in line, 1 being the first; those ahead may have left since. Missing while this process is not in line.", "name"),
		candidates: gauge("election_candidates",
			"Candidates of this process by state. Missing for a state that none is in.", "name", "state"),
		overruns: counter("election_overruns_total", "Terms whose work still ran some time after the term's end.", "name"),
		guards:   counter("election_guards_total", "Calls of Term.Guard by result.", "name", "result"),
		failures: counter("election_request_failures_total",
			"Requests of candidates to ZooKeeper that failed and were to be made again.", "name"),
		proof: histogram("election_proof_seconds",
			"Time that an attempt to prove the lease took, by result. The lease is the session's, so there is no name.", fast, "result"),
		events: counter("election_session_events_total", "Changes of ZooKeeper sessions, by event.", "event"),
	}

	for _, result := range []string{"ok", "failed"} {
		m.proof.WithLabelValues(result)
	}
	for _, event := range []string{"connected", "disconnected", "expired", "given_up"} {
		m.events.WithLabelValues(event)
	}
	return m
}

// causes are the errors that end a term. Any other counts as "other", which is left for
// later versions of the library.
var causes = []error{election.ErrLeaseExpired, election.ErrSessionExpired, election.ErrNodeDeleted, election.ErrDisconnected,
	election.ErrResigned, election.ErrUnhealthy, election.ErrClosed}

// begin makes the series of a name. A counter that began with its first event would hide
// that event from rate and increase.
func (m *metrics) begin(name string) {
	for _, c := range []*prometheus.CounterVec{m.terms, m.overruns, m.failures} {
		c.WithLabelValues(name)
	}
	m.takeover.WithLabelValues(name)
	for _, cause := range causes {
		m.ended.WithLabelValues(name, election.Cause(cause))
	}
	m.ended.WithLabelValues(name, "other")
	for _, result := range []string{"ok", "term_over", "no_answer", "failed"} {
		m.guards.WithLabelValues(name, result)
	}
}

// label returns the name of a path. Prometheus refuses what is not UTF-8.
func (m *metrics) label(path string) string { return strings.ToValidUTF8(m.name(path), "\uFFFD") }

// vectors are the metrics that count by themselves.
func (m *metrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.terms, m.ended, m.overruns, m.guards, m.failures, m.events, m.takeover, m.proof}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.status, m.lease, m.place, m.candidates} {
		to <- d
	}
	for _, v := range m.vectors() {
		v.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, v := range m.vectors() {
		v.Collect(to)
	}

	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for name, now := range m.read() {
		led := 0.0
		if now.leads {
			led = 1
			gauge(m.lease, now.lease.Seconds(), name)
		}
		gauge(m.status, led, name)
		if now.place > 0 {
			gauge(m.place, float64(now.place), name)
		}
		for state, n := range now.states {
			gauge(m.candidates, float64(n), name, string(state))
		}
	}
}
