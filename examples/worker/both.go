package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkelection/election/examples/internal/demo"
)

// runBoth is the post's docker-compose up: three ZooKeeper servers and both services, until ctx ends.
func runBoth(ctx context.Context) error {
	connect, stop, err := demo.ZooKeeper(3)
	if err != nil {
		return err
	}
	defer stop()
	var running []*demo.Process
	for _, name := range []string{"service1", "service2"} {
		p, startErr := demo.StartSelf(connect, func(line string) { fmt.Println(line) }, "-service", name)
		if startErr != nil {
			err = errors.Join(err, startErr)
			break
		}
		running = append(running, p)
		demo.Say(name, "is process %d: see who takes over after kill %[1]d", p.PID())
	}
	for _, p := range running {
		if err == nil {
			_ = p.Wait(ctx) // one that was stopped is what there is to see
		}
		_ = p.Stop(ctx)
	}
	return err
}
