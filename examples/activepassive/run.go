// Command activepassive runs the post's whole system:
//
//	go run ./examples/activepassive
//
// It starts three nodes, the agent and NGINX, and ends them at Ctrl-C. It uses the
// ZooKeeper that ZOOKEEPER_CONNECTION_STRING names, or else one in memory. The programs
// that it starts are in node/main.go and agent/main.go.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/internal/cluster"
	"github.com/zkelection/election/examples/activepassive/nginx"
	"github.com/zkelection/election/examples/internal/demo"
)

func main() {
	session := flag.Duration("session-timeout", 4*time.Second, "ZooKeeper session timeout of nodes and agent")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		if err := missing(ctx, *session); err != nil {
			return err
		}
		err := run(ctx, *session, os.Stdin, os.Stdout)
		if err == nil || ctx.Err() != nil { // it may have been stopped while it started
			fmt.Println("stopped; nothing is left running")
		}
		return err
	})
}

// missing returns an error of one line if something is missing that the system needs to
// run. It is called before anything is compiled or started.
func missing(ctx context.Context, session time.Duration) error {
	if session <= 0 {
		return fmt.Errorf("-session-timeout %v is not positive: set it to 4s, for example", session)
	}
	if _, err := nginx.Find(); err != nil {
		return err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the command go is not in PATH, which compiles the node and the agent: install it from https://go.dev/dl")
	}
	servers := os.Getenv(demo.Env)
	if servers == "" {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	client, err := election.Connect(limited, servers, election.WithSessionTimeout(session),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %s: set it to a ZooKeeper that runs, as host:port,host:port/chroot, or unset it to use an in-memory one",
			demo.Env, strings.Join(strings.Fields(err.Error()), " "))
	}
	return client.Close()
}

// answerLimit is how long the named ZooKeeper may take to answer.
const answerLimit = 5 * time.Second

func run(ctx context.Context, session time.Duration, in io.Reader, out io.Writer) (err error) {
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
	fmt.Fprintln(out, "compiling the node and the agent; the first time takes a while")
	if err := cluster.Build(ctx, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	fmt.Fprintln(out, "starting NGINX, the agent and three nodes")
	c, err := cluster.Start(ctx, cluster.Config{ZooKeeper: zookeeper, Dir: dir, Bin: filepath.Join(dir, "bin"),
		Session: session, Linger: 2 * time.Second, Nodes: 3, Output: cluster.NewOutput(out)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop(context.Background())) }()
	guide(out, zookeeper, c)
	tend(ctx, c, in, out)
	fmt.Fprintln(out, "stopping")
	return nil
}

// guide prints what runs and what there is to try.
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
  %[1]s/                                           the page: who leads, who gets reads and writes, live
  curl -X POST -i %[1]s/microservice/test/hello    the leader, always, and its token
  curl %[1]s/microservice/test/hello               each node in turn
  kill -9 <the leader's process>, or kill <it>     and look at the page
  Enter, here                                      brings back the nodes that were killed
Ctrl-C ends it all.

`, c.URL)
}

// tend starts the nodes that have ended again whenever it reads a line, until ctx ends.
func tend(ctx context.Context, c *cluster.Cluster, in io.Reader, out io.Writer) {
	background()
	lines := make(chan struct{})
	go func() { // ends with the process, because nothing can interrupt a read from a terminal
		for scan := bufio.NewScanner(in); scan.Scan(); {
			lines <- struct{}{}
		}
	}()
	ended := make(chan string)
	for _, n := range c.Nodes {
		mourn(ctx, n.Process, ended)
	}
	for {
		select {
		case name := <-ended:
			fmt.Fprintf(out, "\n%s has ended. Enter brings it back.\n\n", name)
		case <-lines:
			for _, p := range back(c, out) {
				mourn(ctx, p, ended)
			}
		case <-ctx.Done():
			return
		}
	}
}

// mourn sends p's name to ended when p has ended.
func mourn(ctx context.Context, p *cluster.Process, ended chan<- string) {
	go func() {
		select {
		case <-p.Done():
		case <-ctx.Done():
			return
		}
		select {
		case ended <- p.Name:
		case <-ctx.Done():
		}
	}()
}

// back starts the nodes and the agent that have ended again, and returns the new
// processes.
func back(c *cluster.Cluster, out io.Writer) []*cluster.Process {
	started, err := c.Revive()
	if err != nil {
		fmt.Fprintln(out, "not brought back:", err)
	}
	if len(started) == 0 && err == nil {
		fmt.Fprintln(out, "all nodes run: there is none to bring back")
	}
	for _, p := range started {
		fmt.Fprintf(out, "%s is back (process %d)\n", p.Name, p.PID())
	}
	return started
}
