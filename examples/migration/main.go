// Command migration moves a service from Java to Go and back while it works: three processes that elect a leader by
// Curator's LeaderLatch are replaced one by one by three that use this library, and then the other way round. It prints
// a timeline, and fails if nobody did the work for longer than a session timeout, or if a Go process did it beside
// another. See the README beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/zkelection/election/internal/zktest"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		exit(worker(os.Args[2:]))
	}
	server := flag.String("zookeeper", "", "host:port of a ZooKeeper to use; default: one in a container, for as long as this runs")
	timeout := flag.Duration("session-timeout", 4*time.Second, "of all workers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, os.Stdout, *server, *timeout))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "migration:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run migrates there and back, and judges what happened.
func run(ctx context.Context, out io.Writer, server string, timeout time.Duration) (err error) {
	if server == "" {
		zookeeper, err := zktest.Launch(ctx)
		if err != nil {
			return err
		}
		defer zookeeper.Close()
		server = zookeeper.Addr()
	}
	f, err := newFleet(ctx, server, timeout)
	if err != nil {
		return err
	}
	err = f.migrate(ctx)
	if e := f.close(); err == nil {
		err = e
	}
	fmt.Fprint(out, f.timeline())
	if err != nil {
		return err
	}
	verdict := judge(f.events(), timeout)
	fmt.Fprint(out, verdict)
	return verdict.err()
}
