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

// names are the names of the candidates, in the order of the timeline's columns.
var names = []string{"anna", "ben", "carla"}

const (
	// sessionTimeout is short, so that a crash is nice to watch. Most services do better
	// with the default of 10 s.
	sessionTimeout = 2 * time.Second
	// failover is the time of WithFastFailover in the second act. It could be the same with a
	// session timeout of 10 s.
	failover = 500 * time.Millisecond

	column    = 18               // wide enough for "LEADS, token 0x4"; a longer token needs the columns to its right
	toSee     = 3                // what we want to see of a leader: that it leads, and that it works twice
	showLimit = 30 * time.Second // with ZooKeeper's default tick, a session lasts at least 4 s after a crash
)

// stage is one act: three candidates and what they have done so far. Only one goroutine
// uses it. The processes reach that goroutine through lines.
type stage struct {
	connect string
	program string   // what the candidates run
	options []string // of the program
	began   time.Time
	cast    map[string]*demo.Process
	lines   chan string
	seen    []demo.Entry // in the order of time, as far as printed; the token is 0 unless a leader did it
	printed int
	exits   []exit // in the order of time
}

// exit is when a candidate was dead, or was asked to stop.
type exit struct {
	name string
	at   time.Time
}

// show plays the two acts, checks what was seen, and compares what was measured.
func show(ctx context.Context) error {
	connect, program, stop, err := demo.Prepare(ctx, "quickstart", 1)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("\nWithout fast failover, session timeout %v:\n", sessionTimeout)
	without, err := act(ctx, connect, program)
	if err != nil {
		return err
	}
	fmt.Printf("\nWith WithFastFailover(%v), session timeout %v:\n", failover, sessionTimeout)
	with, err := act(ctx, connect, program, "-failover", failover.String())
	if err != nil {
		return err
	}
	compare(without, with)
	return nil
}

// act plays one act, and returns what was measured.
func act(ctx context.Context, connect, program string, options ...string) (gaps, error) {
	playing, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	s := &stage{connect: connect, program: program, options: options, began: time.Now(), cast: map[string]*demo.Process{},
		lines: make(chan string, 1000)}
	fmt.Printf("%9s   %-*s%-*s%s\n", "time", column, names[0], column, names[1], names[2])
	err := s.play(playing)
	s.close()
	if ctx.Err() != nil { // not wrapped: elsewhere an interrupt is no failure, but here we have not seen all three lead
		return gaps{}, errors.New("interrupted before all three had led")
	}
	if err := errors.Join(err, s.judge()); err != nil {
		return gaps{}, err
	}
	return s.conclude(), nil
}

// play kills the first leader, so the others have to notice that it is gone. Then it stops
// the next two in good order, so each hands over at once.
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

// enter starts all candidates, and returns when all have joined.
func (s *stage) enter(ctx context.Context) error {
	for _, name := range names {
		options := append([]string{"-name", name, "-session-timeout", sessionTimeout.String()}, s.options...)
		p, err := demo.Start(s.connect, func(line string) { s.lines <- line }, s.program, options...)
		if err != nil {
			return err
		}
		s.cast[name] = p
	}
	return s.await(ctx, func() bool { return s.joined() == len(names) })
}

// awaitLeader returns the candidate that leads, as soon as there is something to see of
// its work. Work before the last exit does not count: on a busy machine a session may
// expire, so that a candidate has led before and does not lead any more.
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

// leave ends a candidate. When leave returns, everything that the candidate has printed
// has been taken.
func (s *stage) leave(name string, end func(*demo.Process) error) error {
	p, at := s.cast[name], time.Now()
	if err := end(p); err != nil {
		return err
	}
	<-p.Done()
	s.drain()
	if p.Killed() {
		at = time.Now() // it may have worked until it was killed; a candidate that is asked to stop prints when it stops
		s.note(at, name, "CRASHES")
	}
	s.exits = append(s.exits, exit{name, at})
	return nil
}

// await collects the processes' lines until cond is true, and prints them. Lines of
// several processes arrive in any order. But a cause is printed before its effect, so
// sorting all that has arrived puts them in order.
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

// print prints what is new, with a column for each candidate.
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

// joined counts the candidates that have joined.
func (s *stage) joined() (n int) {
	for _, e := range s.seen {
		if e.What == "joins" {
			n++
		}
	}
	return n
}

// worked returns what a candidate did as leader after since. Only such entries have a
// token.
func (s *stage) worked(name string, since time.Time) (all []demo.Entry) {
	for _, e := range s.seen {
		if e.Name == name && e.Token != 0 && e.At.After(since) {
			all = append(all, e)
		}
	}
	return all
}

// close ends the candidates that are left, and prints their last lines.
func (s *stage) close() {
	for _, p := range s.cast {
		_ = p.Stop(context.Background()) // if it has ended already, all is well
	}
	s.drain()
	s.print()
}

// judge checks what was seen against what the library promises.
func (s *stage) judge() error {
	var log demo.Journal
	for _, e := range s.seen {
		if e.Token != 0 {
			log.Take(e.String())
		}
	}
	return demo.CheckOrder(log.Reigns())
}

// gaps are the times from a leader's end to the first sign of the next leader.
type gaps struct{ crash, stop time.Duration }

// conclude prints what the timeline shows, and returns what was measured.
func (s *stage) conclude() (measured gaps) {
	handover := func(i int) (from, to string, took time.Duration) {
		from, to = s.exits[i].name, s.exits[i+1].name
		return from, to, s.worked(to, s.exits[i].at)[0].At.Sub(s.exits[i].at).Round(100 * time.Microsecond)
	}
	from, to, took := handover(0)
	measured.crash = took
	fmt.Printf("\n%s crashed, and %s led %v later: it had to be missed first.\n", from, to, took)
	from, to, took = handover(1)
	measured.stop = took
	fmt.Printf("%s was stopped, and %s led %v later: it handed over.\n", from, to, took)
	return measured
}

// compare prints the measurements of the two acts side by side.
func compare(without, with gaps) {
	fmt.Printf("\nHow long nobody led   %-14s   %s\n", "without", "with WithFastFailover")
	fmt.Printf("%-19s   %-14v   %v\n", "after the crash", without.crash, with.crash)
	fmt.Printf("%-19s   %-14v   %v\n", "after the stop", without.stop, with.stop)
	fmt.Println("Both times three have led, one at a time, each with a larger token than the one before.")
}
