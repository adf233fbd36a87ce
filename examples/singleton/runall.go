package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zkelection/election/examples/internal/demo"
)

const (
	instances = 6
	// sessionTimeout is short, so that the run is nice to watch. The default of 10 s
	// suits most services better. A server with ZooKeeper's default tick grants 4 s
	// instead.
	sessionTimeout = 3 * time.Second
	// runLimit is enough for six leaders on a slow machine, with the 4 s that a server
	// with ZooKeeper's default tick grants.
	runLimit = 2 * time.Minute
)

// runAll starts the instances, waits until all have led and tipped over, and checks what
// they logged.
func runAll(ctx context.Context, servers int, failover time.Duration) error {
	connect, program, stop, err := demo.Prepare(ctx, "singleton", servers)
	if err != nil {
		return err
	}
	defer stop()
	var log demo.Journal
	killed, err := runInstances(ctx, connect, program, failover, func(line string) {
		fmt.Println(line)
		log.Take(line)
	})
	if ctx.Err() != nil {
		return errors.New("interrupted before all had led")
	}
	reigns := log.Reigns()
	fmt.Print("\n", table(reigns), "\n")
	err = errors.Join(err, check(reigns, killed))
	if err == nil {
		fmt.Printf("All %d have led, one at a time.\n", instances)
	}
	return err
}

// runInstances returns when all instances have ended. killed names the instances that
// tipped over. No instance outlives it.
func runInstances(ctx context.Context, connect, program string, failover time.Duration, each func(string)) (killed []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not done after %v", runLimit))
	defer cancel()
	processes := map[string]*demo.Process{}
	for i := range instances {
		name := fmt.Sprintf("client_%d", i+1)
		p, startErr := demo.Start(connect, each, program, "-name", name, "-crash",
			"-session-timeout", sessionTimeout.String(), "-failover", failover.String())
		if startErr != nil {
			err = errors.Join(err, startErr)
			cancel() // the others are stopped below
			break
		}
		processes[name] = p
	}
	// If interrupted, stop all at the same time. Stopped one by one, each would let the
	// next one lead, and tip over.
	defer context.AfterFunc(ctx, func() {
		for _, p := range processes {
			_ = p.Terminate() // Stop, below, reports how it ended
		}
	})()
	for name, p := range processes {
		_ = p.Wait(ctx)
		if !p.Killed() {
			err = errors.Join(err, fmt.Errorf("%s did not tip over: %w", name, p.Stop(ctx)))
			continue
		}
		killed = append(killed, name)
	}
	return killed, err
}
