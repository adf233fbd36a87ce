package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/zkelection/election/examples/internal/demo"
)

// Process is a child of this one.
type Process struct {
	Name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process is no more
	err   error         // how it ended; read after ended
}

func start(name string, out *Output, env []string, line ...string) (*Process, error) {
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), env...)
	w := out.named(name)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = demo.OwnGroup()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		fmt.Fprintln(w, "process has ended:", cmd.ProcessState)
		close(p.ended)
	}()
	return p, nil
}

// PID is the process number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// need has the end of the process fail what is going on under ctx.
func (p *Process) need(ctx context.Context, fail context.CancelCauseFunc) {
	go func() {
		select {
		case <-p.ended:
			fail(fmt.Errorf("%s has ended: %v", p.Name, p.cmd.ProcessState))
		case <-ctx.Done():
		}
	}()
}

// Wait returns how the process ended: nil for good order.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s (process %d) still runs: %w", p.Name, p.PID(), ctx.Err())
	}
}

// Kill ends the process at once, as a crash would.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL) }

// Terminate asks the process to end. It does not wait.
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// signal is safe for a process that has ended: its number is not used again before it was waited for, and after
// that os.Process knows.
func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%v to %s: %w", s, p.Name, err)
	}
	return nil
}

// Stop asks the process to end, and kills it when it has not by the end of ctx.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Terminate(); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	}
	err := fmt.Errorf("%s had to be killed: %w", p.Name, ctx.Err())
	if e := p.Kill(); e != nil {
		return errors.Join(err, e)
	}
	<-p.ended
	return err
}

// Output puts the name of a process before each line that it writes. Lines of several do not mix.
type Output struct {
	mu sync.Mutex // held for one line
	w  io.Writer
}

// NewOutput writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

func (o *Output) named(name string) io.Writer { return &lines{out: o, name: name} }

// lines is used by one goroutine after another: the copying one of os/exec, then the one that waits for it.
type lines struct {
	out  *Output
	name string
	rest []byte // begins a line that is not finished
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.out.mu.Lock()
		_, err := fmt.Fprintf(l.out.w, "%-7s| %s\n", l.name, line)
		l.out.mu.Unlock()
		if err != nil {
			return 0, err
		}
		l.rest = append([]byte(nil), rest...)
	}
}
