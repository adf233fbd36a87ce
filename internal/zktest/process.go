package zktest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// answerGrace is how long a call waits for its answer after its context has ended. The answer says what the program was
// doing.
const answerGrace = time.Second

// process is the program in the folder containers while it runs. It reads requests from its standard input and writes
// answers to its standard output, one line of JSON each (containers/serve.go). When its input ends, it removes everything
// it has made. The input ends when this process ends, even if this process is killed.
//
// A process has no goroutine, since the tests that use it check for leaked goroutines. Instead, one of the callers that
// wait for an answer reads the answers of all.
type process struct {
	cmd  *exec.Cmd
	in   *os.File
	out  *os.File
	errs *os.File // its standard error is a file: a pipe would need a goroutine that reads it

	writing sync.Mutex    // held for one line of in
	turn    chan struct{} // holds a value while a caller reads out; that caller alone uses lines and part
	lines   *bufio.Reader // of out
	part    []byte        // the beginning of a line that is not complete yet

	mu      sync.Mutex // guards the following
	last    int64      // the last request's ID
	waiting map[int64]chan answer
	failed  error // why there will be no more answers
}

type request struct {
	ID     int64  `json:"id"`
	Method string `json:"method"`
	Params any    `json:"params,omitempty"`
}

type answer struct {
	ID     int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	lost   error           // set instead, if the program ended without an answer
}

// running holds the one program that this process has started.
var running struct {
	sync.Mutex
	process *process
}

// theProcess starts the program if it does not run yet. A program that has failed is not started again: it would fail
// again, and each test would wait for that.
func theProcess() (*process, error) {
	running.Lock()
	defer running.Unlock()
	if running.process != nil {
		return running.process, nil
	}
	if testing.Testing() && testing.Short() {
		return nil, errors.New("zktest: -short leaves out what needs a server: call SkipIfShort")
	}
	dir, err := containersDir()
	if err != nil {
		return nil, err
	}
	running.process, err = startProcess(exec.Command("go", "run", "-C", dir, "."))
	return running.process, err
}

// closeProcess ends the program, which removes what is left of the things it has made. The next use starts it again.
func closeProcess() error {
	running.Lock()
	defer running.Unlock()
	p := running.process
	running.process = nil
	if p == nil {
		return nil
	}
	return p.close()
}

// containersDir finds the source of the program. It is beside this file. If the compiler was told to leave out paths
// (-trimpath), the go command knows where this package is.
func containersDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Dir(file)
	if !filepath.IsAbs(dir) {
		out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/zkelection/election/internal/zktest").Output()
		if err != nil {
			return "", fmt.Errorf("zktest: find the source of the program that starts servers: %w", err)
		}
		dir = strings.TrimSpace(string(out))
	}
	dir = filepath.Join(dir, "containers")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return "", fmt.Errorf("zktest: the program that starts servers is not part of the published module: clone the repository and run this there: %w", err)
	}
	return dir, nil
}

// startProcess starts cmd as the program.
func startProcess(cmd *exec.Cmd) (*process, error) {
	errs, err := os.CreateTemp("", "zktest-errors-")
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	_ = os.Remove(errs.Name()) // some systems cannot remove an open file; close removes it there
	p := &process{cmd: cmd, errs: errs, turn: make(chan struct{}, 1), waiting: map[int64]chan answer{}}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("zktest: %w", err), errs.Close())
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("zktest: %w", err), errs.Close(), in.Close(), theirIn.Close())
	}
	p.in, p.out, p.lines = in, out, bufio.NewReader(out)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, errs
	err = cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close() // the program has copies of these
	if err != nil {
		_, _, _ = in.Close(), out.Close(), errs.Close()
		return nil, fmt.Errorf("zktest: start the program that starts servers: %w", err)
	}
	return p, nil
}

// call sends a request and waits for its answer. If ctx ends first, call cancels the request and returns ctx's error.
func (p *process) call(ctx context.Context, method string, params, result any) error {
	if ctx.Err() != nil {
		return fmt.Errorf("zktest: %s: %w", method, ctx.Err())
	}
	id, mine, err := p.register()
	if err != nil {
		return err
	}
	defer p.forget(id)
	p.send(request{ID: id, Method: method, Params: params})
	a, ok := p.await(ctx, mine)
	if !ok {
		p.send(request{ID: id, Method: "cancel"})
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerGrace)
		defer cancel()
		a, ok = p.await(grace, mine)
	}
	switch {
	case !ok:
		return fmt.Errorf("zktest: %s: no answer: %w", method, ctx.Err())
	case a.lost != nil:
		return a.lost
	case a.Error != "" && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", a.Error, ctx.Err())
	case a.Error != "":
		return errors.New(a.Error) // it says zktest itself
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("zktest: result of %s: %w", method, err)
	}
	return nil
}

// register makes room for an answer.
func (p *process) register() (id int64, mine chan answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return 0, nil, p.failed
	}
	p.last++
	mine = make(chan answer, 1)
	p.waiting[p.last] = mine
	return p.last, mine, nil
}

func (p *process) forget(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// send writes a line. It does not block for long: the program reads at all times once it has answered hello, and every
// caller sends hello first. Until then, while the program is being compiled, the pipe has room for the greetings.
func (p *process) send(r request) {
	line, err := json.Marshal(r)
	if err == nil {
		p.writing.Lock()
		_, err = p.in.Write(append(line, '\n'))
		p.writing.Unlock()
	}
	if err != nil {
		p.fail(err)
	}
}

// await returns the answer from mine, or false if ctx ends first. It reads the answers itself unless another caller does.
func (p *process) await(ctx context.Context, mine chan answer) (answer, bool) {
	select {
	case a := <-mine:
		return a, true
	case <-ctx.Done():
		return answer{}, false
	case p.turn <- struct{}{}:
	}
	defer func() { <-p.turn }()
	stop := context.AfterFunc(ctx, func() { _ = p.out.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		select {
		case a := <-mine:
			return a, true
		default:
		}
		err := p.readOne()
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			p.fail(err)
		default:
			// The deadline may have been set for a caller that has read before. Remove it first, and look at ctx after
			// that. In the other order, this could remove the deadline that the end of ctx has just set.
			_ = p.out.SetReadDeadline(time.Time{})
			if ctx.Err() != nil {
				return answer{}, false
			}
		}
	}
}

// readOne reads an answer and passes it to the caller that waits for it. Nobody waits after a call has given up.
func (p *process) readOne() error {
	rest, err := p.lines.ReadBytes('\n')
	p.part = append(p.part, rest...)
	if err != nil {
		return err
	}
	line := p.part
	p.part = nil
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("%w: %q", err, line)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if mine := p.waiting[a.ID]; mine != nil {
		mine <- a
		delete(p.waiting, a.ID)
	}
	return nil
}

// fail ends the program. All calls return the error, now and later. The error has what the program wrote to its standard
// error: that is where go run says why it cannot compile the program.
func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		if errors.Is(err, io.EOF) {
			err = nil // the exit status says more
		}
		_ = p.in.Close()
		_ = p.cmd.Process.Kill()
		p.failed = fmt.Errorf("zktest: the program that starts servers ended: %w\n%s", errors.Join(err, p.cmd.Wait()), p.said())
	}
	for id, mine := range p.waiting {
		mine <- answer{lost: p.failed}
		delete(p.waiting, id)
	}
}

// said is what the program wrote to its standard error.
func (p *process) said() []byte {
	text, err := io.ReadAll(io.NewSectionReader(p.errs, 0, 1<<20))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text)
}

// close waits until the program has removed everything.
func (p *process) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		_, _ = p.out.Close(), p.errs.Close()
		_ = os.Remove(p.errs.Name())
	}()
	if p.failed != nil {
		return nil // the calls have returned this error
	}
	p.failed = errors.New("zktest: the program that starts servers was closed")
	_ = p.in.Close()
	late := time.AfterFunc(closeLimit+answerGrace, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("zktest: the program that starts servers: %w\n%s", err, p.said())
	}
	return nil
}
