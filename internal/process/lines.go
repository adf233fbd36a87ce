package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Splitter is an [io.Writer] that calls a function for each line, without the line's end.
// Only one goroutine at a time may use it. As the Stdout or Stderr of a command it is
// used first by the goroutine that copies, and then by the functions that [Start] calls.
type Splitter struct {
	each func(line string)
	rest []byte // the beginning of a line that is not complete yet
}

var _ io.Writer = (*Splitter)(nil)

// Split returns a Splitter that calls each.
func Split(each func(line string)) *Splitter { return &Splitter{each: each} }

func (s *Splitter) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		line, rest, found := bytes.Cut(s.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		s.rest = rest
		s.each(strings.TrimSuffix(string(line), "\r"))
	}
}

// End passes on the last line if it is not complete.
func (s *Splitter) End() {
	if len(s.rest) > 0 {
		s.each(string(s.rest))
	}
	s.rest = nil
}

// Lines keeps lines that a process prints, and lets callers wait for one. The zero value
// has none. It is safe for concurrent use.
type Lines struct {
	mu   sync.Mutex // guards the following
	all  []string
	more chan struct{} // closed by the next line; nil if nobody waits
}

// Add adds a line.
func (l *Lines) Add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// All returns the lines so far.
func (l *Lines) All() []string {
	all, _ := l.look()
	return all
}

func (l *Lines) look() (all []string, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return l.all[:len(l.all):len(l.all)], l.more
}

// Await skips the first from lines and waits until wanted returns true for a line. It
// returns the number of the next line, from where the caller can look for what comes
// later. It fails when ctx ends, or p, which prints the lines, before there is such a
// line. what names the line in the error.
func (l *Lines) Await(ctx context.Context, p *Process, from int, what string, wanted func(line string) bool) (next int, err error) {
	for over := false; ; {
		all, more := l.look()
		for ; from < len(all); from++ {
			if wanted(all[from]) {
				return from + 1, nil
			}
		}
		if over {
			return 0, fmt.Errorf("process %d ended (%v) without %s; it printed:\n%s", p.PID(), p.err, what, strings.Join(all, "\n"))
		}
		select {
		case <-more:
		case <-p.done: // look once more, at its last lines
			over = true
		case <-ctx.Done():
			return 0, fmt.Errorf("process %d is without %s: %w; it printed:\n%s", p.PID(), what, ctx.Err(), strings.Join(all, "\n"))
		}
	}
}
