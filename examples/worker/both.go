package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkelection/election/examples/internal/demo"
)

// runBoth does what docker-compose up does in the post: it runs three ZooKeeper servers
// and both services until ctx ends.
func runBoth(ctx context.Context) error {
	connect, program, stop, err := demo.Prepare(ctx, "worker", 3)
	if err != nil {
		return err
	}
	defer stop()
	services := []string{"service1", "service2"}
	var running []*demo.Process
	for _, name := range services {
		p, startErr := demo.Start(connect, func(line string) { fmt.Println(line) }, program, "-name", name)
		if startErr != nil {
			err = errors.Join(err, startErr)
			break
		}
		running = append(running, p)
		fmt.Printf("%s is process %d: see who takes over after kill %[2]d\n", name, p.PID())
	}
	var ended []error
	for i, p := range running {
		if err == nil { // to stop one is what there is to try; an error of one is returned when none is left
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
