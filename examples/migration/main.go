// Command migration moves a service from Java to Go and back while it works. It starts
// three Java processes that elect their leader with Curator's LeaderLatch, replaces them
// one by one by three Go processes with this library, and then goes back to Java. It
// prints a timeline. It fails if nobody worked for longer than a session timeout, or if a
// Go process worked at the same time as another process. See the README beside it. The Go
// processes run the program in the folder app, which is the one to take home.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

func main() {
	server := flag.String("zookeeper", "", "`addresses` of a ZooKeeper to use, instead of those in "+demo.Env)
	timeout := flag.Duration("session-timeout", 4*time.Second, "session `timeout` of all workers")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		if *server != "" {
			if err := os.Setenv(demo.Env, *server); err != nil {
				return err
			}
		}
		return run(ctx, *timeout)
	})
}

// run migrates to Go and back, and checks what happened.
func run(ctx context.Context, timeout time.Duration) error {
	if err := check(ctx, interop.RequireJava, zktest.Available); err != nil {
		return err
	}
	server, stop, err := zookeeper(ctx)
	if err != nil {
		return err
	}
	defer stop()
	program, remove, err := demo.Compile(ctx, "migration")
	if err != nil {
		return err
	}
	defer remove()
	f, err := newFleet(ctx, server, program, timeout)
	if err != nil {
		return err
	}
	err = f.migrate(ctx)
	if e := f.close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	verdict := judge(f.ordered(), timeout)
	fmt.Print(verdict)
	return verdict.err()
}

// check looks for what must be installed or running, before anything is compiled or
// started. Its error is one line.
func check(ctx context.Context, java, docker func() error) error {
	if err := java(); err != nil {
		return err
	}
	if err := demo.Check(ctx); err != nil || os.Getenv(demo.Env) != "" {
		return err
	}
	if err := docker(); err != nil {
		return fmt.Errorf("install Docker and start it, or set %s to the address of a ZooKeeper: %s",
			demo.Env, strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}

// zookeeper returns the ensemble that the environment names, or starts a server in a container.
func zookeeper(ctx context.Context) (connect string, stop func(), err error) {
	if connect = os.Getenv(demo.Env); connect != "" {
		fmt.Printf("ZooKeeper is %s, as %s says\n", connect, demo.Env)
		return connect, func() {}, nil
	}
	fmt.Println("No " + demo.Env + ": starting a ZooKeeper in a container; the first time takes a while")
	server, err := zktest.Launch(ctx)
	if err != nil {
		return "", nil, err
	}
	fmt.Printf("ZooKeeper is %s, until this program ends\n", server.Addr())
	return server.Addr(), func() { _ = server.Close() }, nil
}
