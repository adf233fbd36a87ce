package exporter

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// The names are listed in docs/operating.md. All but the first are for one election, by its
// path below the chroot.
var (
	connected = prometheus.NewDesc("zookeeper_election_connected",
		"Whether the exporter is connected to ZooKeeper: 1 or 0.", nil, nil)
	up = perPath("up",
		"Whether the election could be read at this scrape: 1 or 0. If not, there is nothing else about it but changes and the last success.")
	leader = perPath("leader_present",
		"Whether somebody is first in line: 1 or 0. That one leads, or is about to, or has lost touch with ZooKeeper.")
	candidates = perPath("candidates",
		"Number of candidates in line, the leader included.")
	info = perPath("leader_info",
		"1, for the ID of the candidate that is first in line.", "id")
	since = perPath("leader_since_timestamp_seconds",
		"When the candidate that is first in line joined the line, by ZooKeeper's clock, in seconds since 1970. It may have come to lead later.")
	token = perPath("leader_token",
		"Fencing token of the candidate that is first in line: the czxid of its znode. It grows with every later leader.")
	changes = perPath("leader_changes_total",
		"How often another candidate than before came to be first in line, since the exporter has started to follow the election.")
	lastSuccess = perPath("last_success_timestamp_seconds",
		"When the election could be read last, by the exporter's clock, in seconds since 1970. 0 if never.")
)

func perPath(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("zookeeper_election_"+name, help, append([]string{"path"}, more...), nil)
}

// Describe is for Prometheus.
func (es *elections) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connected, up, leader, candidates, info, since, token, changes, lastSuccess} {
		to <- d
	}
}

// Collect reads all elections, for Prometheus. It takes no longer than the time that each
// reading has.
func (es *elections) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), es.timeout)
	defer cancel()
	is := es.client.Status().Connected
	gauge(to, connected, truth(is))

	group := errgroup.Group{}
	group.SetLimit(16)
	for _, f := range es.all() {
		group.Go(func() error {
			var e *snapshot.Election
			if is { // else each reading would wait for a connection
				read, err := es.reader.Read(ctx, f.path, snapshot.Options{Limit: 1})
				if err == nil {
					e = read
				}
			}
			f.collect(to, e)
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// collect reports an election. e is nil if it could not be read.
func (f *followed) collect(to chan<- prometheus.Metric, e *snapshot.Election) {
	gauge(to, up, truth(e != nil), f.path)
	if e != nil {
		gauge(to, leader, truth(len(e.Line) > 0), f.path)
		gauge(to, candidates, float64(e.Count), f.path)
	}
	if e != nil && len(e.Line) > 0 && !e.Line[0].Unreadable {
		first := e.Line[0]
		gauge(to, info, 1, f.path, text.Plain(first.ID))
		gauge(to, since, seconds(first.Since), f.path)
		gauge(to, token, float64(first.Token), f.path)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if e != nil {
		f.success = e.Read
	}
	to <- prometheus.MustNewConstMetric(changes, prometheus.CounterValue, float64(f.changes), f.path)
	gauge(to, lastSuccess, seconds(f.success), f.path)
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
