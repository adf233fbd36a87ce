// Command agent keeps a load balancer's configuration up to date with the registry, as
// confd does in the post.
//
//	agent -zookeeper 127.0.0.1:2181 -config nginx.conf.toml
//
// Take this file home: it imports election and two packages of this example. It takes no
// part in the election, but its client sees to the connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/confd"
	"github.com/zkelection/election/examples/activepassive/discovery"
)

func main() {
	zookeeper := flag.String("zookeeper", "127.0.0.1:2181", "ZooKeeper, as host:port,host:port/chroot")
	config := flag.String("config", "nginx.conf.toml", "the template resource, a TOML file")
	timeout := flag.Duration("session-timeout", 4*time.Second, "ZooKeeper session timeout")
	once := flag.Bool("onetime", false, "bring the file up to date once, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *zookeeper, *config, *timeout, *once); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, zookeeper, config string, timeout time.Duration, once bool) error {
	template, err := confd.Load(config)
	if err != nil {
		return err
	}
	if err := template.Missing(); err != nil {
		return fmt.Errorf("%s: %w", config, err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Open does not wait: the agent may be there before ZooKeeper.
	client, err := election.Open(zookeeper, election.WithSessionTimeout(timeout), election.WithClientLogger(log))
	if err != nil {
		return fmt.Errorf("-zookeeper: %w", err)
	}
	defer client.Close()
	log.Info("following the registry", "zookeeper", zookeeper, "keys", template.Keys)
	a := confd.Agent{Registry: discovery.New(client, zookeeper, log), Template: template, Log: log}
	return a.Run(ctx, once)
}
