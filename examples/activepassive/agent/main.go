// The agent keeps a load balancer's configuration in step with the registry: what confd does in the post.
//
//	agent -zookeeper 127.0.0.1:2181 -config nginx.conf.toml
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

	"github.com/zkelection/election/examples/activepassive/internal/agent"
	"github.com/zkelection/election/examples/activepassive/internal/discovery"
)

func main() {
	zookeeper := flag.String("zookeeper", "127.0.0.1:2181", "ZooKeeper, as host:port,host:port/chroot")
	config := flag.String("config", "nginx.conf.toml", "the template resource, a TOML file")
	timeout := flag.Duration("session-timeout", 4*time.Second, "ZooKeeper session timeout")
	once := flag.Bool("onetime", false, "bring the file in step once, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *zookeeper, *config, *timeout, *once); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, zookeeper, config string, timeout time.Duration, once bool) error {
	template, err := agent.Load(config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	conn, err := discovery.Dial(zookeeper, timeout, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	log.Info("following the registry", "zookeeper", zookeeper, "keys", template.Keys)
	a := agent.Agent{Conn: conn, Template: template, Log: log}
	return a.Run(ctx, once)
}
