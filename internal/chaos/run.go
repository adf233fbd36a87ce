package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/zkelection/election/internal/interop"
)

var silent = slog.New(slog.DiscardHandler)

// options are those of the command.
type options struct {
	duration time.Duration
	seed     uint64
	timeout  time.Duration // of all sessions
	within   time.Duration // of fast failover
	dir      string        // where the files go
	withJava bool
}

// patience bounds what has no bound of its own, so that nothing hangs.
const patience = 2 * time.Minute

// startLimit bounds the start of everything. Servers' images and Java programs may have to be made first.
const startLimit = 8 * time.Minute

// recovery is guarantee G6: beyond a session timeout.
const recovery = 2 * time.Second

// chaos is a run.
type chaos struct {
	*cluster
	report *Report
	deck   []fault
}

// run does harm for as long as the options say. Its error says why it could not go on; what was wrong is in the report.
// The report is never nil.
func run(ctx context.Context, o options, progress io.Writer) (report *Report, err error) {
	report = newReport(o)
	file, err := os.Create(filepath.Join(o.dir, "timeline.jsonl"))
	if err != nil {
		return report, err
	}
	defer file.Close()
	log := NewLog(file)
	c := &chaos{report: report, cluster: &cluster{options: o, log: log, rng: rand.New(rand.NewPCG(o.seed, 0))}}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = c.launch(starting)
	if err == nil {
		err = c.rounds(ctx, progress)
	}
	err = errors.Join(err, c.close(), log.Flush())
	report.Unfinished = err != nil
	report.finish(log.Events())
	return report, errors.Join(err, report.write(o.dir), draw(filepath.Join(o.dir, "timeline.svg"), log.Events()))
}

func (c *chaos) rounds(ctx context.Context, progress io.Writer) error {
	if err := c.settle(ctx); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < c.duration && ctx.Err() == nil; {
		names, err := c.round(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(progress, "%8v  %v\n", time.Since(began).Round(time.Second), names)
	}
	return c.end(context.WithoutCancel(ctx))
}

// deal draws a kind of fault. All kinds come once before any comes again.
func (c *chaos) deal() fault {
	if len(c.deck) == 0 {
		for _, i := range c.rng.Perm(len(faults)) {
			c.deck = append(c.deck, faults[i])
		}
	}
	f := c.deck[0]
	c.deck = c.deck[1:]
	return f
}

// round has one or two faults at a time, and waits until everybody has recovered.
func (c *chaos) round(ctx context.Context) (names []string, err error) {
	var undo []func(context.Context) error
	most := 1 + c.rng.IntN(2)
	for range most {
		f := c.deal()
		if f.alone && len(names) > 0 {
			c.deck = append([]fault{f}, c.deck...)
			break
		}
		end, err := c.begin(ctx, f)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return names, fmt.Errorf("%s: %w", f.name, err)
		}
		undo, names = append(undo, end), append(names, f.name)
		if f.alone {
			break
		}
		c.pass(ctx, c.timeout/4)
	}
	c.pass(ctx, c.timeout*3/2) // it may be longer than a session, or shorter than a lease
	ctx = context.WithoutCancel(ctx)
	for _, end := range undo {
		if err := end(ctx); err != nil {
			return names, fmt.Errorf("end of %v: %w", names, err)
		}
	}
	return names, c.settle(ctx)
}

// begin begins a fault and returns how it ends. If there was nothing to harm, its error is errNone.
func (c *chaos) begin(ctx context.Context, f fault) (end func(context.Context) error, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	c.faults++
	op, at := c.faults, interop.Now()
	h, err := f.begin(ctx, c.cluster)
	if err != nil {
		c.log.Add(Event{At: interop.Now(), Who: "judge", What: saysProblem, Text: f.name + ": " + err.Error()})
		return func(context.Context) error { return nil }, err
	}
	c.log.Add(Event{At: at, Who: h.who, What: saysFault, Op: op, Text: f.name})
	c.report.Faults[f.name]++
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*patience)
		defer cancel()
		var err error
		if h.undo != nil {
			err = h.undo(ctx)
		}
		c.log.Add(Event{At: interop.Now(), Who: h.who, What: saysHealed, Op: op, Text: f.name})
		return err
	}, nil
}

// pass lets some time pass, by chance: the length of a fault is a part of it.
func (c *chaos) pass(ctx context.Context, most time.Duration) {
	t := time.NewTimer(time.Duration(c.rng.Int64N(int64(most))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// settle waits until all servers serve, and from then on until every election has a leader.
func (c *chaos) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := until(ctx, func() error {
		for _, s := range c.ensemble.Servers() {
			short, cancel := context.WithTimeout(ctx, time.Second)
			_, err := s.Mode(short)
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the servers do not serve: %w", err)
	}
	calm := interop.Now()
	c.log.Add(Event{At: calm, Who: "judge", What: saysCalm})
	for _, e := range elections {
		if e.java {
			continue // LeaderLatch promises no time
		}
		if err := until(ctx, func() error {
			if c.log.LedSince(e.name, calm) == 0 {
				return errors.New(e.name + ": nobody leads")
			}
			return nil
		}); err != nil {
			c.report.wrong("%v after the last fault, %v", time.Duration(interop.Now()-calm).Round(time.Millisecond), err)
			continue
		}
		c.gap(e.name, calm)
	}
	c.log.Add(Event{At: interop.Now(), Who: "judge", What: saysSettled})
	return nil
}

// gap judges how long it took until somebody led. Time in which candidates did not run is not counted.
func (c *chaos) gap(election string, calm int64) {
	led := c.log.LedSince(election, calm)
	took := time.Duration(led - calm)
	bound := c.timeout + recovery
	if election == strictElection { // its candidates may have to wait for what a leader that is gone was entitled to
		bound += c.timeout * 11 / 30
	}
	c.report.LongestGap = max(c.report.LongestGap, took)
	if took > bound {
		if stalled := stalls(c.log.Events(), election, calm, led); took > bound+stalled {
			c.report.wrong("%s: nobody led for %v after the last fault, and %v are allowed", election, took, bound)
		}
	}
}

// until calls f again and again until it returns nil or ctx ends.
func until(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

// end waits until each candidate has its znode, and nobody else has one.
func (c *chaos) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var wrong []string
	err := until(ctx, func() error {
		var err error
		if wrong, err = c.orphans(ctx); err == nil && len(wrong) > 0 {
			err = errors.New("orphans, or candidates without a znode")
		}
		return err
	})
	if len(wrong) > 0 {
		for _, text := range wrong {
			c.report.wrong("%v after the last fault, %s", patience, text)
		}
		return nil
	}
	return err
}
