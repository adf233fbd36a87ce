package main

import (
	"context"
	"errors"
	"time"
)

// pollEvery is how often a condition is looked at again.
const pollEvery = 50 * time.Millisecond

// poll calls check until it returns nil or ctx ends, and then tells the last failure.
func poll(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
