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
	// runLimit is what six leaders may take even on a slow machine, with the session timeout that a server with
	// ZooKeeper's default tick grants.
	runLimit = 2 * time.Minute
)

// runAll starts the instances, waits until all have led and tipped over, and judges what they logged.
func runAll(ctx context.Context, servers int) error {
	connect, stop, err := demo.ZooKeeper(servers)
	if err != nil {
		return err
	}
	defer stop()
	var log demo.Journal
	killed, err := runInstances(ctx, connect, func(line string) {
		fmt.Println(line)
		log.Take(line)
	})
	if ctx.Err() != nil {
		return errors.New("interrupted before all have led")
	}
	reigns := log.Reigns()
	fmt.Print("\n", table(reigns), "\n")
	err = errors.Join(err, check(reigns, killed))
	if err == nil {
		fmt.Printf("All %d have led, one at a time.\n", instances)
	}
	return err
}

// runInstances returns when all instances have ended, with those that were killed. None outlives it.
func runInstances(ctx context.Context, connect string, each func(string)) (killed []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not done after %v", runLimit))
	defer cancel()
	processes := map[string]*demo.Process{}
	for i := range instances {
		name := fmt.Sprintf("client_%d", i+1)
		p, startErr := demo.StartSelf(connect, each, "-instance", name)
		if startErr != nil {
			err = errors.Join(err, startErr)
			cancel() // the others are stopped below
			break
		}
		processes[name] = p
	}
	// Interrupted, all are told at once: one that is stopped after the other would have the next lead, and tip over.
	defer context.AfterFunc(ctx, func() {
		for _, p := range processes {
			_ = p.Terminate() // Stop says below what came of it
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
