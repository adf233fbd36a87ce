package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// event is what a worker printed, or what was done to it.
type event struct {
	at        time.Time
	who, what string
}

// timeline collects the events of all processes and prints them as they arrive. It does
// not print jobs, but counts them. It is safe for concurrent use.
type timeline struct {
	mu      sync.Mutex // guards the following
	events  []event    // in the order of arrival, which is not that of their times
	jobs    map[string]int
	began   time.Time
	changed chan struct{} // closed and renewed with every event
}

func newTimeline() *timeline {
	return &timeline{jobs: map[string]int{}, began: time.Now(), changed: make(chan struct{})}
}

// take adds a line "<time> <who> <what>". Other lines are printed as they are.
func (l *timeline) take(line string) {
	words := strings.Fields(line)
	if len(words) == 3 {
		if at, err := time.Parse(time.RFC3339Nano, words[0]); err == nil {
			l.add(event{at, words[1], words[2]})
			return
		}
	}
	fmt.Println(line)
}

func (l *timeline) add(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
	if e.what == "job" {
		l.jobs[e.who]++
		return
	}
	text := fmt.Sprintf("%8.3fs  %-7s %s", e.at.Sub(l.began).Seconds(), e.who, e.what)
	if e.what == "lost" {
		text = fmt.Sprintf("%-26s %5d jobs", text, l.jobs[e.who])
		delete(l.jobs, e.who)
	}
	fmt.Println(text)
}

func (l *timeline) note(who, what string) { l.add(event{time.Now(), who, what}) }

func (l *timeline) since(mark int) ([]event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events[mark:]), l.changed
}

// await returns when who has done n jobs since mark.
func (l *timeline) await(ctx context.Context, mark int, who string, n int) error {
	for {
		events, changed := l.since(mark)
		done := 0
		for _, e := range events {
			if e.who == who && e.what == "job" {
				done++
			}
		}
		if done >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s has done %d jobs of %d: %w", who, done, n, ctx.Err())
		}
	}
}

// length returns a mark: the number of events so far.
func (l *timeline) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// ordered returns all events in the order of their times.
func (l *timeline) ordered() []event {
	events, _ := l.since(0)
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events
}
