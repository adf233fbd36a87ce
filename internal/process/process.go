// Package process runs programs as children of this process, for tests and examples.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Process is a program that runs as a child of this process. [Start] starts one. Its
// methods may be called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; valid when done is closed
}

// Start starts cmd. When the process has ended and everything that it wrote to cmd.Stdout
// and cmd.Stderr has been copied there, Start calls each of after, and then closes
// [Process.Done]. The caller must end the process.
func Start(cmd *exec.Cmd, after ...func()) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		for _, f := range after {
			f()
		}
	}()
	return p, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether Done is closed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// State returns the exit status in words, and an error if the process did not end in good
// order. Call it only when the process has ended.
func (p *Process) State() (string, error) { return p.cmd.ProcessState.String(), p.err }

// Wait waits until the process has ended and returns nil if it ended in good order. If
// ctx ends first, it returns ctx's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("process %d still runs: %w", p.PID(), ctx.Err())
	}
}

// Kill ends the process at once, as a crash would (SIGKILL). It does not wait.
func (p *Process) Kill() error { return p.Signal(os.Kill) }

// Terminate asks the process to end in good order (SIGTERM). It does not wait.
func (p *Process) Terminate() error { return p.Signal(syscall.SIGTERM) }

// Signal does nothing if the process has ended. It never reaches another process: the id
// is not used again before this process has waited for it, and after that os.Process
// knows that it has ended.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%v to process %d: %w", s, p.PID(), err)
	}
	return nil
}

// Stop asks the process to end and waits for that. If ctx ends first, it kills the
// process and returns an error.
func (p *Process) Stop(ctx context.Context) error {
	refused := p.Terminate()
	select {
	case <-p.done:
		return refused
	case <-ctx.Done():
	}
	err := fmt.Errorf("process %d had to be killed: %w", p.PID(), ctx.Err())
	if e := p.Kill(); e != nil {
		return errors.Join(refused, err, e) // it would be futile to wait
	}
	<-p.done
	return errors.Join(refused, err)
}
