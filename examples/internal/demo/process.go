package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/zkelection/election/internal/process"
)

// Process is a program that runs as a child of this one. A caller can wait for its lines.
// It is safe for concurrent use.
type Process struct {
	*process.Process
	printed process.Lines
}

// Start runs program with args on the ensemble connect. If each is not nil, Start calls
// it for every line that the program prints, on a goroutine of its own. What the program
// prints to stderr goes to our stderr. The caller must end the process.
func Start(connect string, each func(line string), program string, args ...string) (*Process, error) {
	p := &Process{}
	out := process.Split(func(line string) {
		p.printed.Add(line)
		if each != nil {
			each(line)
		}
	})
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), Env+"="+connect)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = OwnGroup()
	var err error
	if p.Process, err = process.Start(cmd, out.End); err != nil {
		return nil, err
	}
	return p, nil
}

// Build compiles the command in the folder dir, such as ".", into the folder into. It is
// for tests that run the command.
func Build(ctx context.Context, dir, into string) (program string, err error) {
	program = filepath.Join(into, "example.exe") // the ending matters to one system and does no harm on others
	if out, err := Go(ctx, "build", "-o", program, dir); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", dir, err, out)
	}
	return program, nil
}

// Lines returns what the process has printed so far.
func (p *Process) Lines() []string { return p.printed.All() }

// Expect waits for a line that contains text, and begins to look at line number from. It
// returns the number of the next line, from where the caller can look for what comes
// later. It fails when ctx or the process ends before there is such a line.
func (p *Process) Expect(ctx context.Context, from int, text string) (next int, err error) {
	return p.printed.Await(ctx, p.Process, from, fmt.Sprintf("a line %q", text),
		func(line string) bool { return strings.Contains(line, text) })
}

// stopGrace is how long a process may take to stop in good order.
const stopGrace = 5 * time.Second

// Stop ends the process and returns when it has ended. A process that does not stop in
// good order is killed. Stop always returns an error: ctx's cause if ctx has ended, and
// otherwise how the process ended.
func (p *Process) Stop(ctx context.Context) error {
	grace, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	_ = p.Process.Stop(grace) // if it has ended already, all is well
	<-p.Done()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	state, _ := p.State()
	return fmt.Errorf("ended by itself: %v", state)
}

// Killed reports whether the process was ended by SIGKILL, or ended itself with the exit
// status that a shell gives for that.
func (p *Process) Killed() bool {
	if !p.Ended() {
		return false
	}
	var exit *exec.ExitError
	if _, err := p.State(); !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return exit.ExitCode() == killed || ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// killed is the exit status that a shell gives for SIGKILL.
const killed = 137
