// Command reelection runs one candidate of the raw recipe. Run it in several terminals,
// stop or kill one of them, and see who takes over and who is not disturbed.
//
//	go run ./examples/reelection
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble. If it is not set, the first candidate
// starts one in memory for all. The candidate runs the program in the folder app, which
// is the code to read and to take home.
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/zkelection/election/examples/internal/demo"
)

func main() {
	timeout := flag.Duration("session-timeout", 2*time.Second, "`time` after which ZooKeeper ends the session of a killed candidate")
	flag.Parse()
	demo.Main(func(ctx context.Context) error { return run(ctx, *timeout) })
}

// run runs one candidate on the shared ZooKeeper, which stays at least as long as this
// process is connected to its host.
func run(ctx context.Context, timeout time.Duration) error {
	if err := demo.Check(ctx); err != nil {
		return err
	}
	connect, err := demo.Shared(ctx)
	if err != nil {
		return err
	}
	program, remove, err := demo.Compile(ctx, "reelection")
	if err != nil {
		return err
	}
	defer remove()
	if err := demo.RunApp(ctx, connect, program, "-session-timeout", timeout.String()); err != nil {
		return fmt.Errorf("the candidate ended: %w", err)
	}
	return nil
}
