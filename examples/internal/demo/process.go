package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs beside this one, and whose lines can be waited for. It is safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; written before done is closed

	mu      sync.Mutex // guards the following
	lines   []string
	changed chan struct{} // closed and renewed with every line
}

// Start runs program with args against the ensemble connect. each, when given, gets every line as it is printed, on
// a goroutine of the process's own; what the program says on stderr goes to ours. The caller must see to its end.
func Start(connect string, each func(line string), program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(program, args...), done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), Env+"="+connect)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = OwnGroup()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if each == nil {
		each = func(string) {}
	}
	go func() {
		defer close(p.done)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			p.add(scan.Text())
			each(scan.Text())
		}
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Build compiles the command in the folder dir, such as ".", into the folder into, for a test that runs it.
func Build(ctx context.Context, dir, into string) (program string, err error) {
	program = filepath.Join(into, "example.exe") // the ending matters to one system and does no harm on others
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", dir, err, out)
	}
	return program, nil
}

// StartSelf runs this very program once more.
func StartSelf(connect string, each func(line string), args ...string) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(connect, each, program, args...)
}

func (p *Process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	close(p.changed)
	p.changed = make(chan struct{})
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Lines returns what the process has printed so far.
func (p *Process) Lines() []string {
	lines, _ := p.look()
	return lines
}

func (p *Process) look() (lines []string, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)], p.changed
}

// Expect waits for a line that contains text, among those from number from on, and returns the number of the one
// after it: what comes later is looked for from there. It fails when ctx ends, or the process does.
func (p *Process) Expect(ctx context.Context, from int, text string) (next int, err error) {
	for over := false; ; {
		lines, changed := p.look()
		for i := min(from, len(lines)); i < len(lines); i++ {
			if strings.Contains(lines[i], text) {
				return i + 1, nil
			}
		}
		if over {
			return 0, fmt.Errorf("process %d ended (%v) without a line %q; it printed:\n%s",
				p.PID(), p.err, text, strings.Join(lines, "\n"))
		}
		select {
		case <-changed:
		case <-p.done: // look once more at what it printed last
			over = true
		case <-ctx.Done():
			return 0, fmt.Errorf("no line %q: %w; it printed:\n%s", text, ctx.Err(), strings.Join(lines, "\n"))
		}
	}
}

// Terminate asks the process to stop, in good order.
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// Kill ends the process at once: nothing is closed.
func (p *Process) Kill() error { return p.signal(os.Kill) }

func (p *Process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the process ended, or ctx's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopGrace is what a process may take to stop in good order.
const stopGrace = 5 * time.Second

// Stop ends the process, in good order if it will, and returns when it has ended. The error says why, by ctx's cause
// if that is over, and otherwise by how the process had ended before.
func (p *Process) Stop(ctx context.Context) error {
	_ = p.Terminate() // one that has ended is what is wanted
	defer time.AfterFunc(stopGrace, func() { _ = p.Kill() }).Stop()
	<-p.done
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("ended by itself: %v", p.cmd.ProcessState)
}

// Killed reports whether the process has ended by SIGKILL.
func (p *Process) Killed() bool {
	select {
	case <-p.done:
	default:
		return false
	}
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
