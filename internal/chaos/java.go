package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

// javaMember is Curator's LeaderLatch in a Java process. It knows one server, behind a link of the cluster and a proxy
// of its own.
type javaMember struct {
	*cluster
	election string
	links    []*zktest.Proxy
	who      string
	born     int
	busy     bool
	process  *interop.Process
	stop     context.CancelFunc // ends the goroutine that passes events on
	passed   chan struct{}      // closed when it has ended
}

// start starts the process and lets it take part. The first call compiles the program.
func (j *javaMember) start(ctx context.Context) error {
	log := interop.NewLog()
	p, err := interop.Launch(ctx, interop.Latch, j.links[j.rng.IntN(servers)].Addr(), j.timeout, log)
	if err != nil {
		return err
	}
	j.born++
	j.who, j.process = fmt.Sprintf("%s#%d", javaSeat, j.born), p
	j.log.Add(Event{At: interop.Now(), Who: j.who, What: saysStarted, Election: j.election, Text: "LeaderLatch"})
	passing, stop := context.WithCancel(context.Background())
	j.stop, j.passed = stop, make(chan struct{})
	go j.pass(passing, log, j.passed)
	return p.Start(j.who, setup{Election: j.election}.path(), 0)
}

// pass copies the events of the process into the log, until ctx ends.
func (j *javaMember) pass(ctx context.Context, log *interop.Log, done chan struct{}) {
	defer close(done)
	for mark := 0; ; {
		last := ctx.Err() != nil // look once more: the process has said all that it will say
		events, more := log.Since(mark)
		for _, e := range events {
			mark++
			what := map[string]string{"gained": saysGained, "lost": saysLost, "killed": saysKilled, "error": saysProblem}[e.What]
			if what != "" {
				j.log.Add(Event{At: e.At, Who: e.Who, What: what, Election: j.election, Text: e.Text})
			}
		}
		if last {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// kill ends the process. All that it said is in the log when kill returns.
func (j *javaMember) kill() error {
	if j.process == nil {
		return nil
	}
	err := j.process.Close()
	j.stop()
	<-j.passed
	j.process = nil
	return err
}

func (j *javaMember) close() error {
	errs := []error{j.kill()}
	for _, l := range j.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
