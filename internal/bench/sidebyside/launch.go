package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
)

// patience bounds what has no bound of its own, so that nothing hangs.
const patience = time.Minute

// proc is a peer that runs.
type proc struct {
	contender
	store store
	log   *interop.Log
	proxy *zktest.Proxy // nil: it is connected to the server itself
	child *process.Process

	mu     sync.Mutex // guards the following
	stdin  io.WriteCloser
	stderr []string // the last lines
}

// launch starts a peer and returns when it is connected.
func (r *run) launch(ctx context.Context, c contender, s store, timeout time.Duration, behindProxy bool) (*proc, error) {
	p := &proc{contender: c, store: s, log: interop.NewLog()}
	addr := s.addr()
	if behindProxy {
		var err error
		if p.proxy, err = zktest.ListenProxy(addr); err != nil {
			return nil, err
		}
		addr = p.proxy.Addr()
	}
	if err := p.start(r.programs, peerSetup{c.Key, addr, timeout}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Label, err), p.close())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.child.Kill() })
	defer stop()
	go func() { <-p.child.Done(); p.log.Add(interop.Event{At: interop.Now(), Who: "-", What: "ended"}) }()
	e, err := p.log.Await(ctx, 0, "-", "ready", "ended")
	if err != nil || e.What == "ended" {
		return nil, errors.Join(fmt.Errorf("%s did not connect: %w\n%s", c.Label, err, p.said()), p.close())
	}
	return p, nil
}

func (p *proc) start(programs programs, setup peerSetup) error {
	cmd, err := programs.command(setup)
	if err != nil {
		return err
	}
	out, complaints := process.Split(p.hear), process.Split(p.complain)
	cmd.Stdout, cmd.Stderr = out, complaints
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	p.child, err = process.Start(cmd, out.End, complaints.End)
	return err
}

// hear takes a line of the peer's output.
func (p *proc) hear(line string) {
	words := append(strings.SplitN(line, " ", 4), "")
	at, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil || len(words) < 4 {
		p.complain(line)
		return
	}
	p.log.Add(interop.Event{At: at, Who: words[1], What: words[2], Text: words[3]})
}

func (p *proc) complain(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stderr = append(p.stderr, line); len(p.stderr) > 40 {
		p.stderr = p.stderr[1:]
	}
}

func (p *proc) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.stderr, "\n")
}

func (p *proc) send(words ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintln(p.stdin, strings.Join(words, " "))
	return err
}

// await returns the first event of id from mark on that is one of whats.
func (p *proc) await(ctx context.Context, mark int, id string, limit time.Duration, whats ...string) (interop.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e, err := p.log.Await(ctx, mark, id, whats...)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", p.Label, err, p.said())
	}
	return e, err
}

// leads waits until id leads, and says when.
func (p *proc) leads(ctx context.Context, mark int, id string) (int64, error) {
	e, err := p.await(ctx, mark, id, patience, "leads", "error")
	if err == nil && e.What == "error" {
		err = fmt.Errorf("%s: %s", p.Label, e.Text)
	}
	return e.At, err
}

// close kills the peer and closes its proxy. A second call does nothing.
func (p *proc) close() error {
	if p == nil {
		return nil
	}
	if p.child != nil {
		_ = p.child.Kill()
		<-p.child.Done()
	}
	if p.proxy != nil {
		return p.proxy.Close()
	}
	return nil
}

// stamp is the number in an event's text.
func stamp(e interop.Event) int64 {
	n, _ := strconv.ParseInt(e.Text, 10, 64) // 0 if it has none
	return n
}

func closeAll(procs []*proc) error {
	var errs []error
	for _, p := range procs {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}
