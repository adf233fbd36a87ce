package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zkelection/election/examples/internal/demo"
)

// names are the candidates', and the timeline's columns.
var names = []string{"anna", "ben", "carla"}

const (
	column    = 18               // wide enough for "leads, token 0x4" and, on an ensemble that has lived, eight digits more
	toSee     = 3                // a leader's acts: to lead, and to work twice
	showLimit = 30 * time.Second // on an ensemble with ZooKeeper's default tick a crash is missed after 4 s at least
)

// stage is three candidates and what they have done so far. One goroutine uses it; lines is how the processes reach it.
type stage struct {
	connect string
	began   time.Time
	cast    map[string]*demo.Process
	lines   chan string
	seen    []demo.Entry // in the order of time, as far as it was printed; no token in what is not a leader's act
	printed int
	exits   []exit // in order
}

// exit is when somebody was dead, or was told to stop.
type exit struct {
	name string
	at   time.Time
}

// show runs the play, and judges what was seen.
func show(ctx context.Context) error {
	connect, stop, err := demo.ZooKeeper(1)
	if err != nil {
		return err
	}
	defer stop()
	playing, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	s := &stage{connect: connect, began: time.Now(), cast: map[string]*demo.Process{}, lines: make(chan string, 1000)}
	fmt.Printf("\n%9s   %-*s%-*s%s\n", "time", column, names[0], column, names[1], names[2])
	err = s.play(playing)
	s.close()
	if ctx.Err() != nil { // not wrapped: being told to stop is no failure elsewhere, but here not all were seen
		return errors.New("interrupted before all three have led")
	}
	if err := errors.Join(err, s.judge()); err != nil {
		return err
	}
	s.conclude()
	return nil
}

// play is a crash, which the others notice when the leader's session ends, and then a stop in good order, which
// hands on at once.
func (s *stage) play(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	for _, end := range []func(*demo.Process) error{(*demo.Process).Kill, (*demo.Process).Terminate, (*demo.Process).Terminate} {
		leader, err := s.awaitLeader(ctx)
		if err != nil {
			return err
		}
		if err := s.leave(leader, end); err != nil {
			return err
		}
	}
	return nil
}

// enter starts everybody, and returns when all stand.
func (s *stage) enter(ctx context.Context) error {
	for _, name := range names {
		p, err := demo.StartSelf(s.connect, func(line string) { s.lines <- line }, "-candidate", name)
		if err != nil {
			return err
		}
		s.cast[name] = p
	}
	return s.await(ctx, func() bool { return s.standing() == len(names) })
}

// awaitLeader returns who works, of those who are not gone, as soon as there is something to see of it. What was done
// before the last exit does not count: on a busy machine a session may expire, and somebody have led, and lead no more.
func (s *stage) awaitLeader(ctx context.Context) (leader string, err error) {
	var since time.Time
	if n := len(s.exits); n > 0 {
		since = s.exits[n-1].at
	}
	err = s.await(ctx, func() bool {
		i := slices.IndexFunc(names, func(name string) bool { return !s.gone(name) && len(s.worked(name, since)) >= toSee })
		if i >= 0 {
			leader = names[i]
		}
		return leader != ""
	})
	return leader, err
}

func (s *stage) gone(name string) bool {
	return slices.ContainsFunc(s.exits, func(e exit) bool { return e.name == name })
}

// leave ends a candidate. All that it said has been seen when it returns.
func (s *stage) leave(name string, end func(*demo.Process) error) error {
	p, at := s.cast[name], time.Now()
	if err := end(p); err != nil {
		return err
	}
	<-p.Done()
	s.drain()
	if p.Killed() {
		at = time.Now() // it may have worked up to the blow; one that is told to stop says itself when it does
		s.note(at, name, "CRASHES")
	}
	s.exits = append(s.exits, exit{name, at})
	return nil
}

// await collects what is said until cond is true, and prints it. Lines of several processes come in any order, but a
// thing that led to another was said before it, so that sorting what has come sets them right.
func (s *stage) await(ctx context.Context, cond func() bool) error {
	for !cond() {
		select {
		case line := <-s.lines:
			s.take(line)
		case <-ctx.Done():
			return fmt.Errorf("the play got stuck: %w", ctx.Err())
		}
	}
	s.drain()
	s.print()
	return nil
}

func (s *stage) drain() {
	for len(s.lines) > 0 {
		s.take(<-s.lines)
	}
}

func (s *stage) take(line string) {
	if e, ok := demo.ParseEntry(line); ok {
		s.seen = append(s.seen, e)
		return
	}
	words := strings.SplitN(line, " ", 3)
	if at, err := time.Parse(time.RFC3339Nano, words[0]); err == nil && len(words) == 3 {
		s.note(at, words[1], words[2])
	}
}

func (s *stage) note(at time.Time, name, what string) {
	s.seen = append(s.seen, demo.Entry{At: at, Name: name, What: what})
}

// print shows what is new, each candidate's doings in its own column.
func (s *stage) print() {
	fresh := s.seen[s.printed:]
	slices.SortStableFunc(fresh, func(a, b demo.Entry) int { return a.At.Compare(b.At) })
	for _, e := range fresh {
		what := e.What
		if what == "leads" {
			what = fmt.Sprintf("LEADS, token %#x", e.Token)
		}
		indent := column * max(0, slices.Index(names, e.Name))
		fmt.Printf("%7.3f s   %*s%s\n", e.At.Sub(s.began).Seconds(), indent, "", what)
	}
	s.printed = len(s.seen)
}

// standing is how many have come.
func (s *stage) standing() (n int) {
	for _, e := range s.seen {
		if e.What == "stands" {
			n++
		}
	}
	return n
}

// worked is what somebody did as leader after a time: only then is there a token.
func (s *stage) worked(name string, since time.Time) (all []demo.Entry) {
	for _, e := range s.seen {
		if e.Name == name && e.Token != 0 && e.At.After(since) {
			all = append(all, e)
		}
	}
	return all
}

// close ends everybody who is left, and prints the rest.
func (s *stage) close() {
	for _, p := range s.cast {
		_ = p.Stop(context.Background()) // those that have ended are what is wanted
	}
	s.drain()
	s.print()
}

// judge holds what was seen against what is promised.
func (s *stage) judge() error {
	var log demo.Journal
	for _, e := range s.seen {
		if e.Token != 0 {
			log.Take(e.String())
		}
	}
	return demo.CheckOrder(log.Reigns())
}

// conclude says what the timeline shows.
func (s *stage) conclude() {
	handover := func(i int) (from, to string, took time.Duration) {
		from, to = s.exits[i].name, s.exits[i+1].name
		return from, to, s.worked(to, s.exits[i].at)[0].At.Sub(s.exits[i].at).Round(100 * time.Microsecond)
	}
	from, to, took := handover(0)
	fmt.Printf("\n%s crashed, and %s led %v later: ZooKeeper had to miss it first.\n", from, to, took)
	from, to, took = handover(1)
	fmt.Printf("%s was stopped, and %s led %v later: it handed on.\n", from, to, took)
	fmt.Println("Three have led, one at a time, each with a larger token than the one before.")
}
