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
	services := []string{"service1", "service2"}
	var running []*demo.Process
	for _, name := range services {
		p, startErr := demo.StartSelf(connect, func(line string) { fmt.Println(line) }, "-service", name)
		if startErr != nil {
			err = errors.Join(err, startErr)
			break
		}
		running = append(running, p)
		demo.Say(name, "is process %d: see who takes over after kill %[1]d", p.PID())
	}
	var ended []error
	for i, p := range running {
		if err == nil { // one that was stopped is what there is to see; one that failed is told of when none is left
			if waitErr := p.Wait(ctx); waitErr != nil {
				ended = append(ended, fmt.Errorf("%s: %w", services[i], waitErr))
			}
		}
		_ = p.Stop(ctx)
	}
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(append(ended, err)...)
}
