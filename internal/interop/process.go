package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
)

// Process is a running [Program] behind a proxy of its own. [Launch] starts one. Its
// participants join, leave and answer questions as its methods say. What it writes goes
// to a [Log]. Its methods may be called from any goroutine.
type Process struct {
	Program Program
	Proxy   *zktest.Proxy
	log     *Log
	child   *process.Process

	mu     sync.Mutex // guards the following, and writes to stdin
	stdin  io.WriteCloser
	stands map[string]bool // participants that were started and not closed
	stderr []string        // the last lines
	closed bool
}

// stderrLines is how many lines of a process's stderr are kept.
const stderrLines = 400

// Launch starts a process that will connect to the ZooKeeper at server, and returns when
// the process is ready for commands. If ctx ends first, it returns ctx's error. The
// caller must call [Process.Close].
func Launch(ctx context.Context, program Program, server string, timeout time.Duration, log *Log) (*Process, error) {
	proxy, err := zktest.ListenProxy(server)
	if err != nil {
		return nil, err
	}
	cmd, err := program.command(proxy.Addr(), timeout)
	if err != nil {
		return nil, errors.Join(err, proxy.Close())
	}
	p := &Process{Program: program, Proxy: proxy, log: log, stands: map[string]bool{}}
	ready, err := p.run(cmd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interop: %s: %w", program, err), proxy.Close())
	}
	select {
	case <-ready:
		return p, nil
	case <-p.child.Done():
		err = errors.New("it ended at once")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("interop: %s: %w\n%s", program, err, p.Complaints()), p.Close())
}

// run starts the process. ready is closed when the process says that it is ready.
func (p *Process) run(cmd *exec.Cmd) (ready <-chan struct{}, err error) {
	said := make(chan struct{})
	out, complaints := process.Split(func(line string) { p.hear(line, said) }), process.Split(p.complain)
	cmd.Stdout, cmd.Stderr = out, complaints
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.child, err = process.Start(cmd, out.End, complaints.End)
	return said, err
}

// hear takes a line of the process's output, which is an event. It keeps other lines with
// the complaints, because programs sometimes print to the wrong stream.
func (p *Process) hear(line string, ready chan struct{}) {
	e, err := parseEvent(line)
	switch {
	case err != nil:
		p.complain(line)
	case e.What == "ready":
		close(ready)
	default:
		p.log.Add(e)
	}
}

func (p *Process) complain(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stderr = append(p.stderr, line); len(p.stderr) > stderrLines {
		p.stderr = p.stderr[1:]
	}
}

// Complaints returns the last lines that the process wrote to stderr, for the message of
// a failed test.
func (p *Process) Complaints() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.stderr, "\n")
}

// Start lets a participant join the election at path. The process answers "started" when
// the recipe's own method has returned. linger is how long the participant's work takes
// to stop; only then the process says "lost".
func (p *Process) Start(id, path string, linger time.Duration) error {
	p.mu.Lock()
	p.stands[id] = true
	p.mu.Unlock()
	return p.Send("start", id, path, fmt.Sprint(linger.Milliseconds()))
}

// Leave lets a participant leave for good. The process answers "closed".
func (p *Process) Leave(id string) error {
	p.mu.Lock()
	delete(p.stands, id)
	p.mu.Unlock()
	return p.Send("close", id)
}

// Send sends a command to the process. The package doc lists the commands.
func (p *Process) Send(words ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.stdin, strings.Join(words, " ")); err != nil {
		return fmt.Errorf("interop: %s: %w", p.Program, err)
	}
	return nil
}

// Kill ends the process at once (SIGKILL) and returns when it has ended. Then it logs an
// event "killed" for each participant of the process. None of them can consider itself
// leader after that.
func (p *Process) Kill() {
	_ = p.child.Kill()
	<-p.child.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.stands {
		p.log.Add(Event{At: Now(), Who: id, What: "killed"})
	}
	clear(p.stands)
}

// Dump makes a process of ours write the stacks of its goroutines to its complaints, and
// end. It does nothing for other processes.
func (p *Process) Dump() {
	if p.Program.Recipe != Ours("").Recipe {
		return
	}
	_ = p.child.Signal(syscall.SIGQUIT)
	select {
	case <-p.child.Done():
	case <-time.After(5 * time.Second):
	}
}

// Close ends the process and its proxy. A second call does nothing.
func (p *Process) Close() error {
	p.Kill()
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	return p.Proxy.Close()
}
