package zktest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// action is what a Rule does to a frame that it matches.
type action int

const (
	dropRequest action = iota + 1
	dropReply
	dropNotification
	hold
)

// Rule is a fault that strikes single frames. It stays in force until Remove,
// Heal or Close; wrap its Match in Once for a fault that strikes once.
type Rule struct {
	proxy  *Proxy
	action action
	match  Match

	count   atomic.Int64
	fired   chan struct{} // closed when it first strikes
	removed chan struct{} // closed by Remove
	first   sync.Once
	last    sync.Once
}

// Count is how many frames it struck.
func (r *Rule) Count() int { return int(r.count.Load()) }

// Wait returns once the rule has struck a frame, or with ctx's error. For
// DropReply this is when the reply was lost, hence after the server acted.
func (r *Rule) Wait(ctx context.Context) error {
	select {
	case <-r.fired:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("zktest: the rule has struck no frame: %w", ctx.Err())
	}
}

// Remove ends the rule, and lets go the frames that it holds.
func (r *Rule) Remove() {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	r.proxy.rules = slices.DeleteFunc(r.proxy.rules, func(o *Rule) bool { return o == r })
	r.release()
}

func (r *Rule) release() { r.last.Do(func() { close(r.removed) }) }

func (r *Rule) strike() {
	r.count.Add(1)
	r.first.Do(func() { close(r.fired) })
}

// DropRequest loses requests that match, and closes the client's connection
// with each: nothing reached the server, which the client cannot know.
func (p *Proxy) DropRequest(match Match) *Rule { return p.add(dropRequest, match) }

// DropReply lets the server act on requests that match, swallows the reply, and
// closes the client's connection: the outcome is unknown to the client. match is
// asked when the request passes.
func (p *Proxy) DropReply(match Match) *Rule { return p.add(dropReply, match) }

// DropNotification swallows watch events that match. The connection stays, and
// nothing tells the client.
func (p *Proxy) DropNotification(match Match) *Rule { return p.add(dropNotification, match) }

// Hold stops frames of any kind that match, and, since TCP keeps order,
// everything behind them in the same direction of the same connection, until
// the Rule is removed.
func (p *Proxy) Hold(match Match) *Rule { return p.add(hold, match) }

func (p *Proxy) add(a action, match Match) *Rule {
	r := &Rule{proxy: p, action: a, match: match, fired: make(chan struct{}), removed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// rule finds the first rule of the given action that matches f. The match runs
// without the lock, so that it may call the Proxy.
func (p *Proxy) rule(a action, f Frame) *Rule {
	p.mu.Lock()
	rules := slices.Clone(p.rules)
	p.mu.Unlock()
	for _, r := range rules {
		if r.action == a && r.match(f) {
			return r
		}
	}
	return nil
}
