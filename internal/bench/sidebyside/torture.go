package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zkelection/election/internal/interop"
)

// The scenarios of the torture, in the order of the page.
const (
	cutOff     = "follower cut off"
	deleted    = "leader's entry deleted"
	stopped    = "leader stopped"
	junkPlain  = "junk"
	junkNumber = "0-note"
	fullCount  = "counter at its end"
	wrapped    = "counter wrapped"
	wiped      = "all data wiped"
)

// play plays a scenario with one contender, and notes what it observes.
type play func(*run, context.Context, *pair, *Torture) error

type scenario struct {
	name string
	play play
}

// scenarios are those that are played by each contender by itself. wiped is not, because
// all of them share the servers.
var scenarios = []scenario{
	{cutOff, (*run).cutFollower},
	{deleted, (*run).deleteLeader},
	{stopped, (*run).stopLeader},
	{junkPlain, junkNamed(junkPlain)},
	{junkNumber, junkNamed(junkNumber)},
	{fullCount, (*run).countOn},
	{wrapped, (*run).countOn},
}

// counters are the numbers of the first znode in each scenario with a counter: the
// greatest one and the least one.
var counters = map[string]int32{fullCount: math.MaxInt32, wrapped: math.MinInt32}

// pathName is the first element of the paths of a scenario.
func pathName(name string, round int) string {
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	return fmt.Sprintf("torture-%d-%d", i+1, round)
}

func (r *run) measureTorture(ctx context.Context) error {
	for round := range r.repeat {
		for _, s := range scenarios {
			if err := r.playAll(ctx, s, round); err != nil {
				return err
			}
		}
		if err := r.wipeAll(ctx, round); err != nil {
			return err
		}
	}
	return nil
}

// playAll plays a scenario with all contenders at the same time, because nearly all of it
// is waiting.
func (r *run) playAll(ctx context.Context, s scenario, round int) (err error) {
	if number, counts := counters[s.name]; counts {
		prepared := map[string]int32{}
		for _, c := range elections() {
			prepared["/"+pathName(s.name, round)+"-"+c.Key] = number
		}
		stop, err := r.serve(ctx, short, prepared)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	found := make([]Torture, len(elections()))
	err = together(elections(), func(c contender) error {
		i := slices.IndexFunc(elections(), func(o contender) bool { return o.Key == c.Key })
		found[i] = Torture{Scenario: s.name, Contender: c.Key}
		if _, counts := counters[s.name]; counts && c.etcd {
			found[i].Untried = "it has no counter"
			return nil
		}
		p, err := r.newPair(ctx, c, pathName(s.name, round), short.Timeout, true)
		if err != nil {
			return err
		}
		pass(ctx, time.Duration(i)*300*time.Millisecond) // so that they do not disturb each other
		err = s.play(r, ctx, p, &found[i])
		for _, p := range []*proc{p.first, p.next} {
			found[i].Errors = append(found[i].Errors, p.errors()...)
		}
		if err != nil {
			found[i].Untried = err.Error()
		}
		return p.close()
	})
	r.data.Torture = append(r.data.Torture, found...)
	return err
}

// errors are what a peer has reported.
func (p *proc) errors() (all []string) {
	events, _ := p.log.Since(0)
	for _, e := range events {
		if e.What == "error" {
			all = append(all, e.Text)
		}
	}
	return all
}

// belief returns whether a participant considers itself leader at the end, and until when
// it did. If its user can ask, the answers count. Otherwise it does until its user is
// notified or it leaves.
func (p *proc) belief(id string, end int64) (still bool, last int64) {
	events, _ := p.log.Since(0)
	for _, e := range events {
		if e.Who != id || e.At > end {
			continue
		}
		switch e.What {
		case "yes", "leads":
			if e.What == "yes" || !p.asks {
				still, last = true, end
			}
		case "no":
			still, last = false, stamp(e)
		case "lost", "left":
			if !p.asks && still {
				still, last = false, e.At
			}
		}
	}
	return still, last
}

// told returns when a participant was first notified of a loss after a moment, in ms since
// then.
func (p *proc) told(id string, after int64) *float64 { return p.first(id, "lost", after) }

// first returns when the first such event after a moment came.
func (p *proc) first(id, what string, after int64) *float64 {
	events, _ := p.log.Since(0)
	for _, e := range events {
		if e.Who == id && e.What == what && e.At >= after {
			return since(after, e)
		}
	}
	return nil
}

// ledSoon waits for an event "leads" and returns when it came, in ms since began.
func (p *proc) ledSoon(ctx context.Context, mark int, id string, began int64, limit time.Duration) *float64 {
	e, err := p.await(ctx, mark, id, limit, "leads")
	if err != nil {
		return nil
	}
	return since(began, e)
}

// leave lets a participant leave, and returns when it was about to.
func (p *proc) leave(ctx context.Context, id string) (int64, error) {
	mark := p.log.Len()
	if err := p.send("leave", id); err != nil {
		return 0, err
	}
	left, err := p.await(ctx, mark, id, patience, "left")
	return stamp(left), err
}

// both lets the two stand, and asks them all the time whether they lead.
func (r *run) both(ctx context.Context, p *pair) (leader, follower string, err error) {
	leader, follower, _, err = r.stand(ctx, p)
	if err == nil {
		err = errors.Join(p.first.send("poll", leader), p.next.send("poll", follower))
	}
	r.settle(ctx)
	return leader, follower, err
}

// cutFollower cuts the follower off for one and a half session timeouts. Is it in line
// again, and does it lead when the leader leaves? If it does, the former leader joins again:
// it must not lead at the same time.
func (r *run) cutFollower(ctx context.Context, p *pair, t *Torture) error {
	leader, follower, err := r.both(ctx, p)
	if err != nil {
		return err
	}
	p.next.proxy.Blackhole()
	pass(ctx, short.Timeout*3/2)
	p.next.proxy.Heal()
	back, cancel := context.WithTimeout(ctx, 3*short.Timeout)
	t.InLine = until(back, func(ctx context.Context) error {
		keys, err := p.next.mine(ctx, p.path, follower)
		if err == nil && len(keys) == 0 {
			err = errors.New("has no entry")
		}
		return err
	}) == nil
	cancel()
	r.settle(ctx)
	mark := p.next.log.Len()
	began, err := p.first.leave(ctx, leader)
	if err != nil {
		return err
	}
	if t.NextLed = p.next.ledSoon(ctx, mark, follower, began, 2*short.Timeout); t.NextLed == nil {
		return nil
	}
	led := began + int64(*t.NextLed*1e6)
	err = r.joinsMore(ctx, p.first, p, p.next, follower, t)
	t.Told = p.next.told(follower, led)
	return err
}

// joinsMore lets one more participant enter. If it leads while another one considers
// itself leader, two lead.
func (r *run) joinsMore(ctx context.Context, more *proc, p *pair, leads *proc, leader string, t *Torture) error {
	id, mark := r.id(), more.log.Len()
	if err := more.send("join", id, p.path); err != nil {
		return err
	}
	t.MoreLed = more.ledSoon(ctx, mark, id, interop.Now(), short.Timeout/2)
	still, _ := leads.belief(leader, interop.Now())
	t.TwoLed = t.MoreLed != nil && still
	return nil
}

// deleteLeader deletes the leader's entry, as an operator might. How long do two lead, and
// is the former leader notified?
func (r *run) deleteLeader(ctx context.Context, p *pair, t *Torture) error {
	leader, follower, err := r.both(ctx, p)
	if err != nil {
		return err
	}
	keys, err := p.first.mine(ctx, p.path, leader)
	if err != nil || len(keys) != 1 {
		return errors.Join(err, fmt.Errorf("the leader has %d entries", len(keys)))
	}
	mark, began := p.next.log.Len(), interop.Now()
	if err := p.first.store.remove(ctx, keys[0]); err != nil {
		return err
	}
	t.NextLed = p.next.ledSoon(ctx, mark, follower, began, 2*short.Timeout)
	pass(ctx, 2*short.Timeout)
	t.judge(p.first, leader, began)
	return nil
}

// judge fills in what is known of the former leader, since a moment. It counts as an
// overlap from there on, or from when the next one led if that was later.
func (t *Torture) judge(former *proc, leader string, began int64) {
	end := interop.Now()
	still, last := former.belief(leader, end)
	t.Believes, t.Told, t.Warned = still, former.told(leader, began), former.first(leader, "warned", began)
	if t.NextLed != nil {
		from := began + max(0, int64(*t.NextLed*1e6))
		t.Overlap = ms(max(0, last-from))
	}
}

// stopLeader stops the leader's process (SIGSTOP) for one and a half session timeouts, or
// until the next one leads. How long does it consider itself leader when it goes on?
func (r *run) stopLeader(ctx context.Context, p *pair, t *Torture) error {
	leader, follower, err := r.both(ctx, p)
	if err != nil {
		return err
	}
	mark, began := p.next.log.Len(), interop.Now()
	if err := p.first.child.Pause(); err != nil {
		return err
	}
	led := p.next.ledSoon(ctx, mark, follower, began, 4*short.Timeout)
	pass(ctx, time.Duration(began+int64(short.Timeout*3/2)-interop.Now()))
	woken := interop.Now()
	if err := p.first.child.Resume(); err != nil {
		return err
	}
	pass(ctx, 2*short.Timeout)
	if led == nil {
		return nil
	}
	zero := 0.0 // the next one led before the former one was woken
	t.NextLed = &zero
	t.judge(p.first, leader, woken)
	t.NextLed = led
	return nil
}

// junkNamed makes a child that is no participant's entry, and then lets the follower
// enter. Does it lead when the leader leaves?
func junkNamed(name string) play {
	return func(r *run, ctx context.Context, p *pair, t *Torture) error {
		leader, _, err := r.lead(ctx, p, patience)
		if err != nil {
			return err
		}
		key, err := p.first.store.junk(ctx, p.path, name)
		if err != nil {
			return err
		}
		follower := r.id()
		mark := p.next.log.Len()
		if err := p.next.send("join", follower, p.path); err != nil {
			return err
		}
		pass(ctx, short.Timeout/4)
		began, err := p.first.leave(ctx, leader)
		if err != nil {
			return err
		}
		if t.NextLed = p.next.ledSoon(ctx, mark, follower, began, 2*short.Timeout); t.NextLed != nil {
			return nil
		}
		began = interop.Now()
		if err := p.first.store.remove(ctx, key); err != nil {
			return err
		}
		t.Cleared = p.next.ledSoon(ctx, mark, follower, began, short.Timeout)
		return nil
	}
}

// countOn lets two participants enter where the counter of the names is at its end, or
// has wrapped. Does only the first one lead, and the next one when it leaves?
func (r *run) countOn(ctx context.Context, p *pair, t *Torture) error {
	leader, _, err := r.lead(ctx, p, 2*short.Timeout)
	if err != nil {
		return nil // nobody leads, which is a result
	}
	follower, mark := r.id(), p.next.log.Len()
	if err := errors.Join(p.first.send("poll", leader), p.next.send("join", follower, p.path)); err != nil {
		return err
	}
	early := p.next.ledSoon(ctx, mark, follower, interop.Now(), short.Timeout/2)
	still, _ := p.first.belief(leader, interop.Now())
	t.TwoLed = early != nil && still
	began, err := p.first.leave(ctx, leader)
	if err != nil {
		return err
	}
	if t.NextLed = early; early == nil {
		t.NextLed = p.next.ledSoon(ctx, mark, follower, began, 2*short.Timeout)
	}
	return nil
}
