package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zkelection/election/internal/zktest"
)

// Process runs a Program behind a proxy of its own, and has participants stand, leave and answer questions.
// What it says goes to a Log. Its methods may be called from any goroutine.
type Process struct {
	Program Program
	Proxy   *zktest.Proxy
	log     *Log
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone and its output read

	mu     sync.Mutex // guards the following, and writing to stdin
	stdin  io.WriteCloser
	stands map[string]bool // participants started and not closed
	stderr []string        // the last lines
	closed bool
}

// stderrLines is how much of what a process complained of is kept.
const stderrLines = 400

// Launch starts a process that will connect to the ZooKeeper at server, and returns when it is ready for commands,
// or with ctx's error. The caller must Close it.
func Launch(ctx context.Context, program Program, server string, timeout time.Duration, log *Log) (*Process, error) {
	proxy, err := zktest.ListenProxy(server)
	if err != nil {
		return nil, err
	}
	cmd, err := program.command(proxy.Addr(), timeout)
	if err != nil {
		return nil, errors.Join(err, proxy.Close())
	}
	p := &Process{Program: program, Proxy: proxy, log: log, cmd: cmd, ended: make(chan struct{}), stands: map[string]bool{}}
	ready, err := p.run()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interop: %s: %w", program, err), proxy.Close())
	}
	select {
	case <-ready:
		return p, nil
	case <-p.ended:
		err = errors.New("it ended at once")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("interop: %s: %w\n%s", program, err, p.Complaints()), p.Close())
}

// run starts the process; ready is closed when it says that it is.
func (p *Process) run() (ready <-chan struct{}, err error) {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	complaints, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { p.listen(out, said) })
	readers.Go(func() { p.collect(complaints) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // killed or not, it is gone
		close(p.ended)
	}()
	return said, nil
}

// listen turns output into events. A line that is none is kept among the complaints: programs print to the wrong
// stream now and then.
func (p *Process) listen(out io.Reader, ready chan struct{}) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		e, err := parseEvent(lines.Text())
		switch {
		case err != nil:
			p.complain(lines.Text())
		case e.What == "ready":
			close(ready)
		default:
			p.log.Add(e)
		}
	}
}

func (p *Process) collect(complaints io.Reader) {
	for lines := bufio.NewScanner(complaints); lines.Scan(); {
		p.complain(lines.Text())
	}
}

func (p *Process) complain(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stderr = append(p.stderr, line); len(p.stderr) > stderrLines {
		p.stderr = p.stderr[1:]
	}
}

// Complaints is the end of what the process wrote to stderr, for the message of a failed test.
func (p *Process) Complaints() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.stderr, "\n")
}

// Start has a participant stand at path. It answers "started" when the recipe's own method has returned. linger is
// how long its work takes to stop when it is told to: only then it says "lost".
func (p *Process) Start(id, path string, linger time.Duration) error {
	p.mu.Lock()
	p.stands[id] = true
	p.mu.Unlock()
	return p.Send("start", id, path, fmt.Sprint(linger.Milliseconds()))
}

// Leave has a participant leave for good. It answers "closed".
func (p *Process) Leave(id string) error {
	p.mu.Lock()
	delete(p.stands, id)
	p.mu.Unlock()
	return p.Send("close", id)
}

// Send gives a command.
func (p *Process) Send(words ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.stdin, strings.Join(words, " ")); err != nil {
		return fmt.Errorf("interop: %s: %w", p.Program, err)
	}
	return nil
}

// Kill ends the process at once (SIGKILL), and returns when it is gone. Its participants are then said to be
// "killed", which is when their belief has ended at the latest.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails when it is gone already
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.stands {
		p.log.Add(Event{At: Now(), Who: id, What: "killed"})
	}
	clear(p.stands)
}

// Terminate asks the process to end (SIGTERM), and returns when it has, or with ctx's error.
func (p *Process) Terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("interop: %s: %w", p.Program, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interop: %s has not ended: %w", p.Program, ctx.Err())
	}
}

// Dump has a process of ours add to its complaints what each of its goroutines does, and end.
func (p *Process) Dump() {
	if p.Program.Recipe != Ours("").Recipe {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // fails when it is gone already
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
}

// Close ends the process and its proxy; a second call does nothing.
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
