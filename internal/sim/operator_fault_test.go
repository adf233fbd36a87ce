package sim

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// operators are what operators do from outside. They may ask for anything at any time, and
// what they ask for must never cost a guarantee.
var operators = []fault{
	{"an operator asks the leader to resign", func(w *world) {
		w.operate(func(ctx context.Context, c *election.Client) error {
			_, err := c.RequestResign(ctx, path)
			return err
		})
	}},
	{"an operator hands over", func(w *world) {
		to := w.someone()
		w.operate(func(ctx context.Context, c *election.Client) error { return c.RequestHandOver(ctx, path, to) })
	}},
	{"a leader hands over", func(w *world) {
		p, to := w.leading(), w.someone()
		if p != nil {
			w.operate(func(ctx context.Context, _ *election.Client) error { return p.cand.HandOver(ctx, to) })
		}
	}},
	{"an operator evicts", func(w *world) {
		which := w.r.IntN(5)
		w.operate(func(ctx context.Context, c *election.Client) error {
			line, err := c.Participants(ctx, path)
			if err != nil || len(line) == 0 {
				return err
			}
			at := which % len(line)
			err = c.Evict(ctx, path, line[at])
			if at == 0 && err == nil {
				w.violated("the contract", "%v was first in line and has been evicted", line[at])
			}
			return err
		})
	}},
}

// operate has somebody's client do something for an operator. It may fail, and ends with
// its context.
func (w *world) operate(do func(ctx context.Context, c *election.Client) error) {
	p := pick(w.r, w.players...)
	w.mu.Lock()
	client := p.client
	w.mu.Unlock()
	if client == nil {
		return
	}
	limit := time.Duration(1+w.r.IntN(20)) * time.Second
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		began := time.Now()
		err := do(ctx, client)
		w.note("    the operator at %s: %v", p.name, err)
		if late := time.Since(began) - limit; late > 100*time.Millisecond {
			w.violated("G9", "%s's request returned %v after its context had ended", p.name, late)
		}
		if errors.Is(err, zk.ErrBadArguments) {
			w.violated("the contract", "%s's request: %v", p.name, err)
		}
	}()
}

// judgeRequests checks that no request is left behind.
func (w *world) judgeRequests() {
	n, ok := w.e.Get(path + ".request")
	if ok && time.Since(time.UnixMilli(n.Stat.Ctime)) > 20*time.Second+w.timeout {
		w.violated("G5", "a request of session %#x is left behind: %s", n.Stat.EphemeralOwner, n.Data)
	}
}
