// The node is the post's service. Its flags are the post's -D properties.
//
//	node -zookeeper 127.0.0.1:2181 -latch-path /example/leader -node-id node-1 -port 8070
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

	"github.com/zkelection/election/examples/activepassive/internal/node"
)

func main() {
	cfg := node.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&cfg.ZooKeeper, "zookeeper", "127.0.0.1:2181", "ZooKeeper, as host:port,host:port/chroot")
	flag.StringVar(&cfg.LatchPath, "latch-path", "/example/leader", "znode of the election")
	flag.StringVar(&cfg.NodeID, "node-id", "", "name of this node (required)")
	flag.IntVar(&cfg.Port, "port", 8070, "port to serve at")
	// Not "localhost" as in the post: NGINX takes that for two servers where the name has an IPv6 address too.
	flag.StringVar(&cfg.Address, "address", "127.0.0.1", "host to serve at, as the balancer reaches it")
	flag.StringVar(&cfg.ServicePath, "service-path", "/service-discovery", "znode of the service registry")
	flag.DurationVar(&cfg.Session, "session-timeout", 4*time.Second, "ZooKeeper session timeout")
	flag.DurationVar(&cfg.Linger, "linger", 2*time.Second, "how long to answer reads after leaving the registry")
	flag.Parse()
	if err := cfg.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := node.Run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}
