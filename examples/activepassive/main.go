// This is the post's system, run by one command:
//
//	go run ./examples/activepassive
//
// It starts ZooKeeper (an in-memory one, unless ZOOKEEPER_CONNECTION_STRING names another), three nodes, the agent and
// NGINX, and ends them on Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zkelection/election/examples/activepassive/internal/cluster"
	"github.com/zkelection/election/examples/internal/demo"
)

func main() {
	session := flag.Duration("session-timeout", 4*time.Second, "ZooKeeper session timeout of nodes and agent")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		err := run(ctx, *session, os.Stdout)
		if err == nil || ctx.Err() != nil { // also while it started
			fmt.Println("stopped; nothing is left running")
		}
		return err
	})
}

func run(ctx context.Context, session time.Duration, out io.Writer) (err error) {
	zookeeper, stop, err := demo.ZooKeeper(1)
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "activepassive-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(out, "starting; the first time takes a while")
	if err := cluster.Build(ctx, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Config{ZooKeeper: zookeeper, Dir: dir, Bin: filepath.Join(dir, "bin"),
		Session: session, Linger: 2 * time.Second, Nodes: 3, Output: cluster.NewOutput(out)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop(context.Background())) }()
	guide(out, zookeeper, c)
	<-ctx.Done()
	fmt.Fprintln(out, "stopping")
	return nil
}

// guide says what there is to try.
func guide(out io.Writer, zookeeper string, c *cluster.Cluster) {
	fmt.Fprintf(out, "\nZooKeeper %s\nNGINX     %s (configuration: %s)\n", zookeeper, c.URL, c.NGINX.Config())
	for _, n := range c.Nodes {
		fmt.Fprintf(out, "%s    http://%s  (process %d)\n", n.ID, n.Addr, n.PID())
	}
	for _, p := range c.Others() {
		fmt.Fprintf(out, "%-9s (process %d)\n", p.Name, p.PID())
	}
	fmt.Fprintf(out, `
Try:
  curl -X POST -i %[1]s/microservice/test/hello    the leader, always, and its token
  curl %[1]s/microservice/test/hello               each node in turn
  kill -9 <the leader's process>, or kill <it>     and look at the page
  %[1]s/                                           who leads, live
Ctrl-C ends it all.

`, c.URL)
}
