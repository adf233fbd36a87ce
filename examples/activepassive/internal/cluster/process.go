package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/process"
)

// Process is a program that runs as a child of this process.
type Process struct {
	*process.Process
	Name  string
	again func() (*Process, error) // starts it again
}

func start(name string, out *Output, env []string, line ...string) (*Process, error) {
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), env...)
	w := out.named(name)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = demo.OwnGroup()
	p, err := process.Start(cmd, func() { fmt.Fprintln(w, "process has ended:", cmd.ProcessState) })
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	again := func() (*Process, error) { return start(name, out, env, line...) }
	return &Process{Process: p, Name: name, again: again}, nil
}

// need calls fail if the process ends before ctx does.
func (p *Process) need(ctx context.Context, fail context.CancelCauseFunc) {
	go func() {
		select {
		case <-p.Done():
			state, _ := p.State()
			fail(fmt.Errorf("%s has ended: %v", p.Name, state))
		case <-ctx.Done():
		}
	}()
}

// Output writes the lines of several processes, each with the name of its process in
// front. Lines do not mix.
type Output struct {
	mu sync.Mutex // held for one line
	w  io.Writer
}

// NewOutput returns an Output that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

func (o *Output) named(name string) io.Writer {
	return process.Split(func(line string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		fmt.Fprintf(o.w, "%-7s| %s\n", name, line)
	})
}
