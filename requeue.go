package election

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/zkelection/election/internal/driver"
)

// WithRequeue makes [Candidate.Run] take part again after its function has returned while
// the term lasts. Without the option, Run returns then. The candidate first leaves the
// line, so a replica that waits leads meanwhile.
//
// If the function returns nil, Run takes part again at once, at the back of the line. So
// the work moves from replica to replica. If no other replica takes part, the function is
// called again at once.
//
// If the function returns an error, Run logs the error at Warn and pauses first. The pause
// is min, and twice as long after each further error, up to max, each time 10 % more or
// less. It is min again after the function has returned nil, or has run for max or longer.
//
// If the function returns because its term was lost, Run keeps its place and does not
// pause, with this option or without it.
//
// With this option Run returns only
//   - ctx's error, as without this option, also during a pause;
//   - [ErrClosed] if the candidate or its client is closed or shut down;
//   - an error that Start would return at once, such as a missing permission.
//
// A panic of the function goes on to Run's caller. min must be positive, and max must not be
// less than min. Default: off.
func WithRequeue(min, max time.Duration) Option {
	return func(cfg *config) {
		if min <= 0 {
			cfg.wrong("WithRequeue: min %v is not positive", min)
		}
		if max < min {
			cfg.wrong("WithRequeue: max %v is less than min %v", max, min)
		}
		cfg.requeue = requeue{min, max}
	}
}

// requeue is the option's value; max is 0 without it.
type requeue struct{ min, max time.Duration }

// pauses computes the pauses of one Run.
type pauses struct {
	requeue
	next   time.Duration
	jitter *rand.Rand
}

func (c *Candidate) newPauses() *pauses {
	const longest = math.MaxInt64 / 2 // leaves room for the 10 % more
	r := requeue{min(c.cfg.requeue.min, longest), min(c.cfg.requeue.max, longest)}
	return &pauses{requeue: r, next: r.min, jitter: c.jitter(1)}
}

// ran notes for how long the function has run.
func (p *pauses) ran(d time.Duration) {
	if d >= p.max {
		p.next = p.min
	}
}

// after returns the pause after the function has returned err.
func (p *pauses) after(err error) time.Duration {
	if err == nil {
		p.next = p.min
		return 0
	}
	d := p.next
	p.next = p.max
	if d <= p.max/2 {
		p.next = 2 * d
	}
	return d - d/10 + time.Duration(p.jitter.Int64N(int64(d/5)+1))
}

// requeue leaves the line after the function under Run has returned err, and then pauses. It
// returns nil when the candidate is to take part again.
func (c *Candidate) requeue(ctx context.Context, err error, pause time.Duration) error {
	if err != nil {
		c.log.Warn("the function under Run failed, and the candidate takes part again after a pause", "error", err, "pause", pause)
	}
	c.driver.BeginStart() // otherwise the driver would rest, and not notice that the client is closed
	defer c.driver.EndStart()
	c.withdraw(ctx)
	if pause == 0 {
		return nil
	}

	own, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	closed := c.driver.Wait(own, func(driver.View) (bool, error) {
		if c.driver.Life() >= driver.Closing {
			return false, ErrClosed
		}
		return false, nil
	})
	if ctx.Err() == nil && own.Err() != nil {
		return nil
	}
	return c.waitError("Run", ctx, closed)
}
