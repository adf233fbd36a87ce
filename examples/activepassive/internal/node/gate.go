package node

import (
	"context"
	"errors"
	"sync"
)

// gate counts those who are inside, and can be shut for good. Its zero value is open.
type gate struct {
	mu     sync.Mutex // guards the following
	closed bool
	inside int
	empty  chan struct{} // closed when nobody is inside any more; nil while nobody waits for that
}

// enter lets one in; false when the gate is shut. Who got in must leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside++
	}
	return !g.closed
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// shut lets nobody in any more and returns when everybody has left, or with an error when ctx ends first.
func (g *gate) shut(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	if g.inside == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return errors.New("writes are still at work: " + ctx.Err().Error())
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}
