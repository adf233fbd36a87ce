//go:build unix

package recipes

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// The process gets SIGTERM. Its work stops, then another replica can lead, and then the
// process exits.
func Example_signals() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	client, candidate := takePart(zk, "a")
	jobs := func(ctx context.Context) error {
		fmt.Println("a works")
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // what an orchestrator does
		<-ctx.Done()
		fmt.Println("a stops:", context.Cause(ctx))
		return ctx.Err()
	}

	serve := func() error {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		ended := make(chan error, 1)
		go func() {
			ended <- candidate.Run(context.WithoutCancel(ctx), func(ctx context.Context, _ *election.Term) error { return jobs(ctx) })
		}()
		select {
		case err := <-ended: // it cannot go on
			return err
		case <-ctx.Done():
			stop() // a second signal ends the process at once
		}
		graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		if err := candidate.Shutdown(graceful); err != nil {
			return err // the work may still run: exit, and leave the session to expire
		}
		return client.Close()
	}
	fmt.Println(serve())
	fmt.Printf("first in line: %q\n", zk.Leader("/nightly-job").ID)
	// Output:
	// a works
	// a stops: election: closed
	// <nil>
	// first in line: ""
}
