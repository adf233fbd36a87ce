// Package exporter has the command elect exporter: gauges for Prometheus about elections, of
// this library and of others.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
)

// Command is elect exporter.
type Command struct {
	Paths  []string      `arg:"" optional:"" help:"Paths of elections. They need not exist yet."`
	Below  []string      `placeholder:"ROOT" help:"Also all elections at and below this path, as elect list finds them."`
	Every  time.Duration `default:"1m" help:"How often to look for elections --below."`
	Listen string        `default:"127.0.0.1:9141" help:"Address to serve /metrics at."`
}

// Help shows how to use it.
func (Command) Help() string {
	return `Serves metrics of elections for Prometheus at /metrics. They are read from outside, so the
elections may be of this library, of Curator, Kazoo or others. It needs READ on the paths
and the candidates' znodes. While ZooKeeper cannot be reached, it goes on and reports
zookeeper_election_up 0.

Examples:

  elect exporter /my-app/nightly-job /my-app/mailer
  elect exporter --below /my-app --listen :9141`
}

// How the server of the metrics bounds what a client may cost.
const (
	readHeader = 5 * time.Second
	shutdown   = 2 * time.Second
	scrape     = 5 * time.Second // half of what Prometheus waits by default
)

// Run serves the metrics until the command is interrupted.
func (c *Command) Run(env *cli.Env) error {
	if len(c.Paths) == 0 && len(c.Below) == 0 {
		return cli.Usagef("name a PATH, or --below ROOT")
	}
	if c.Every <= 0 {
		return cli.Usagef("--every %v is not positive", c.Every)
	}
	client, reader, err := snapshot.Open(env, append(append([]string{}, c.Paths...), c.Below...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return cli.Usagef("--listen %s: %v", c.Listen, err)
	}

	all := newElections(client, reader, min(scrape, env.Flags.Timeout), env.Log)
	defer all.close()
	all.follow(c.Paths)
	if len(c.Below) > 0 {
		stop := all.discover(env.Context, c.Below, c.Every)
		defer stop()
	}
	handler, err := handler(all, env.Log)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "elect: metrics at http://%s/metrics\n", listener.Addr())
	return serve(env.Context, listener, handler)
}

func handler(all *elections, log *slog.Logger) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{all, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintln(w, `<!doctype html><title>elect exporter</title><p><a href="/metrics">metrics</a></p>`)
	})
	return mux, nil
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: readHeader}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}
