package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zkelection/election/internal/interop"
)

// measureRounds measures how long it takes to lead, and to hand over, in rounds of all
// contenders in random order.
func (r *run) measureRounds(ctx context.Context) (err error) {
	pairs := map[string]*pair{}
	defer func() {
		for _, p := range pairs {
			err = errors.Join(err, p.close())
		}
	}()
	for _, c := range contenders {
		if pairs[c.Key], err = r.newPair(ctx, c, "rounds", normal.Timeout, false); err != nil {
			delete(pairs, c.Key)
			return err
		}
	}
	for i := range r.warmup + r.rounds {
		for _, c := range r.shuffled(contenders) {
			p := pairs[c.Key]
			leader, follower, first, err := r.stand(ctx, p)
			if err != nil {
				return err
			}
			took, err := r.handOver(ctx, p, leader, follower)
			if err != nil {
				return err
			}
			if err := r.clear(ctx, p, follower); err != nil {
				return err
			}
			if i >= r.warmup {
				r.data.First = add(r.data.First, c.Key, first)
				r.data.Handoff = add(r.data.Handoff, c.Key, took)
			}
		}
	}
	return nil
}

// measureLines lets whole lines leave, each participant as soon as it leads.
func (r *run) measureLines(ctx context.Context) (err error) {
	lines := map[string][]*proc{}
	defer func() {
		for _, all := range lines {
			err = errors.Join(err, closeAll(all))
		}
	}()
	for _, c := range elections() {
		if err := r.storeOf(c).makePath(ctx, "/lines-"+c.Key); err != nil {
			return err
		}
		for range r.inLine {
			p, err := r.launch(ctx, c, r.storeOf(c), normal.Timeout, false)
			if err != nil {
				return err
			}
			lines[c.Key] = append(lines[c.Key], p)
		}
	}
	for i := range 1 + r.lines {
		for _, c := range r.shuffled(elections()) {
			took, err := r.lineLeaves(ctx, lines[c.Key], "/lines-"+c.Key)
			if err != nil {
				return err
			}
			if i > 0 { // the first one does not count
				r.data.Line = add(r.data.Line, c.Key, took)
			}
		}
	}
	return nil
}

// lineLeaves returns the time for each hand-over.
func (r *run) lineLeaves(ctx context.Context, line []*proc, path string) (each int64, err error) {
	ids := make([]string, len(line))
	for i, p := range line {
		ids[i] = r.id()
		command := "pass"
		if i == 0 {
			command = "join"
		}
		if err := p.send(command, ids[i], path); err != nil {
			return 0, err
		}
		if err := r.awaitEntries(ctx, p.store, path, i+1); err != nil {
			return 0, err
		}
	}
	r.settle(ctx)
	first, last := line[0], line[len(line)-1]
	mark, markLast := first.log.Len(), last.log.Len()
	if err := first.send("leave", ids[0]); err != nil {
		return 0, err
	}
	at, err := last.leads(ctx, markLast, ids[len(ids)-1])
	if err != nil {
		return 0, err
	}
	left, err := first.await(ctx, mark, ids[0], patience, "left")
	if err != nil {
		return 0, err
	}
	return (at - stamp(left)) / int64(len(line)-1), r.awaitEntries(ctx, first.store, path, 0)
}

// inLineCounts are the lengths of the lines of which bytes are counted.
var inLineCounts = []int{2, 10, 100, 1000}

// quietFor is how long after a hand-over its bytes are counted.
const quietFor = 50 * time.Millisecond

// measureBytes counts what passes on the connections of the two that take part in a
// hand-over, with more and more entries behind them.
func (r *run) measureBytes(ctx context.Context) (err error) {
	const rounds = 3
	pairs := map[string]*pair{}
	defer func() {
		for _, p := range pairs {
			err = errors.Join(err, p.close())
		}
	}()
	counted := map[string]map[int][]int64{}
	for _, c := range elections() {
		if pairs[c.Key], err = r.newPair(ctx, c, "bytes", normal.Timeout, true); err != nil {
			delete(pairs, c.Key)
			return err
		}
		counted[c.Key] = map[int][]int64{}
	}
	for range rounds {
		for _, n := range inLineCounts {
			for _, c := range r.shuffled(elections()) {
				bytes, err := r.countBytes(ctx, pairs[c.Key], n)
				if err != nil {
					return err
				}
				counted[c.Key][n] = append(counted[c.Key][n], bytes)
			}
		}
	}
	for _, c := range elections() {
		for _, n := range inLineCounts {
			r.data.Bytes = append(r.data.Bytes, Bytes{c.Key, n, counted[c.Key][n]})
		}
	}
	return nil
}

func (r *run) countBytes(ctx context.Context, p *pair, n int) (bytes int64, err error) {
	leader, follower, _, err := r.stand(ctx, p)
	if err != nil {
		return 0, err
	}
	free, err := p.first.store.crowd(ctx, p.contender, p.path, n-2)
	if err != nil {
		return 0, err
	}
	r.settle(ctx)
	p.first.proxy.ResetStats()
	p.next.proxy.ResetStats()
	if _, err = r.handOver(ctx, p, leader, follower); err == nil {
		pass(ctx, quietFor)
		bytes = p.first.traffic() + p.next.traffic()
	}
	free()
	return bytes, errors.Join(err, r.clear(ctx, p, follower))
}

// traffic is the number of bytes both ways since the last reset.
func (p *proc) traffic() int64 {
	s := p.proxy.Stats()
	return s.ToServer.Bytes + s.ToClient.Bytes
}

// measureIdle counts what passes while nothing happens, of all contenders at the same
// time.
func (r *run) measureIdle(ctx context.Context) error {
	found := make(map[string]Idle)
	var mu sync.Mutex // guards found
	err := together(elections(), func(c contender) (err error) {
		p, err := r.newPair(ctx, c, "idle", normal.Timeout, true)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		if _, _, _, err := r.stand(ctx, p); err != nil {
			return err
		}
		pass(ctx, normal.Timeout/2)
		p.first.proxy.ResetStats()
		p.next.proxy.ResetStats()
		pass(ctx, r.idle)
		perMinute := func(p *proc) int64 { return p.traffic() * int64(time.Minute) / int64(r.idle) }
		mu.Lock()
		defer mu.Unlock()
		found[c.Key] = Idle{c.Key, perMinute(p.first), perMinute(p.next)}
		return nil
	})
	for _, c := range elections() {
		r.data.Idle = append(r.data.Idle, found[c.Key])
	}
	return err
}

// measureCrashes kills leaders. All contenders take part at the same time, because nearly
// all of it is waiting.
func (r *run) measureCrashes(ctx context.Context) error {
	if err := r.crashes(ctx, normal); err != nil {
		return err
	}
	stop, err := r.serve(ctx, short, nil)
	if err != nil {
		return err
	}
	return errors.Join(r.crashes(ctx, short), stop())
}

func (r *run) crashes(ctx context.Context, timing Timing) error {
	crash := Crash{Timing: timing}
	var mu sync.Mutex // guards crash
	err := together(contenders, func(c contender) (err error) {
		p, err := r.newPair(ctx, c, "crash", timing.Timeout, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		_, next, _, err := r.stand(ctx, p)
		for i := 0; err == nil && i < r.kills; i++ {
			var took int64
			if took, next, err = r.crash(ctx, p, next, timing); err == nil {
				mu.Lock()
				crash.Times = add(crash.Times, c.Key, took)
				mu.Unlock()
			}
		}
		return err
	})
	r.data.Crashes = append(r.data.Crashes, crash)
	return err
}

// crash kills the leader and measures until the next one leads. Another peer then takes
// the place of the next.
func (r *run) crash(ctx context.Context, p *pair, next string, timing Timing) (took int64, follower string, err error) {
	pass(ctx, r.upTo(timing.Timeout/3)) // so that the kill does not come at a certain moment between two pings
	mark, began := p.next.log.Len(), interop.Now()
	if err := p.first.close(); err != nil {
		return 0, "", err
	}
	at, err := p.next.leads(ctx, mark, next)
	if err != nil {
		return 0, "", err
	}
	p.first = p.next
	if p.next, err = r.launch(ctx, p.contender, p.first.store, timing.Timeout, false); err != nil {
		return 0, "", err
	}
	if err := r.awaitEntries(ctx, p.first.store, p.path, 1); err != nil {
		return 0, "", fmt.Errorf("after a crash: %w", err)
	}
	follower = r.id()
	if err := p.next.send("join", follower, p.path); err != nil {
		return 0, "", err
	}
	err = r.awaitEntries(ctx, p.first.store, p.path, waiting(p.contender, 1))
	r.settle(ctx)
	return at - began, follower, err
}
