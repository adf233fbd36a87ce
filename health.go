package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zkelection/election/internal/machine"
)

// watchHealth calls the user's check, first at once and then at every interval, until ctx
// ends. A check of an earlier time in which the candidate took part may still run: it is
// waited for.
func (c *Candidate) watchHealth(ctx context.Context) {
	select {
	case c.checking <- struct{}{}:
		defer func() { <-c.checking }()
	case <-ctx.Done():
		return
	}

	every := time.NewTicker(c.cfg.interval)
	defer every.Stop()
	for {
		err := c.checkHealth(ctx)
		if ctx.Err() != nil {
			return
		}
		c.healthIs(err)
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// healthIs passes the outcome of a check on to the owner.
func (c *Candidate) healthIs(err error) {
	c.driver.Do(func() { c.setHealth(err) }, machine.Health{OK: err == nil})
}

// checkHealth runs one check. A check that takes too long has failed. The next one waits
// until it has returned.
func (c *Candidate) checkHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.interval)
	defer cancel()
	overstays := fmt.Errorf("the check took longer than %v", c.cfg.interval)
	late := time.AfterFunc(c.cfg.interval, func() { c.healthIs(overstays) })
	defer late.Stop()
	err := errors.New("the check panicked, or ended its goroutine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer logPanic(c.log, "the health check panicked")
		err = c.cfg.healthCheck(ctx)
	}()

	<-done
	if err == nil && ctx.Err() != nil {
		err = overstays
	}
	return err
}

// setHealth keeps the outcome of the latest health check.
func (c *Candidate) setHealth(err error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnhealthy, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.healthErr = err
}
