package interop

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event is what a process has written, or what was done to it.
type Event struct {
	At   int64  // nanoseconds on the monotonic clock: see [Now]
	Who  string // the ID of the participant, or "-" for the process itself
	What string
	Text string
}

// String returns the event in one line, with its time in seconds.
func (e Event) String() string {
	return fmt.Sprintf("%.3f %s %s %s", float64(e.At)/1e9, e.Who, e.What, e.Text)
}

// parseEvent reads a line "<nanoseconds> <who> <what> <text>".
func parseEvent(line string) (Event, error) {
	parts := append(strings.SplitN(line, " ", 4), "")
	if len(parts) < 4 {
		return Event{}, fmt.Errorf("interop: no event: %q", line)
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return Event{}, fmt.Errorf("interop: no event: %q", line)
	}
	return Event{at, parts[1], parts[2], parts[3]}, nil
}

// Log collects the events of many processes. [NewLog] makes one. Its methods may be
// called from any goroutine.
type Log struct {
	mu      sync.Mutex // guards the following
	events  []Event    // in the order of arrival, which is not the order of their times
	changed chan struct{}
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{changed: make(chan struct{})} }

// Add appends an event.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Len returns the number of events so far. Use it as a mark for [Log.Since] and
// [Log.Await].
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// Since returns the events from mark on, and a channel that is closed when there is
// another event.
func (l *Log) Since(mark int) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events[min(mark, len(l.events)):]), l.changed
}

// Await returns the first event from mark on that who has written and whose What is one
// of whats. If ctx ends first, it returns an error that lists the events from mark on.
func (l *Log) Await(ctx context.Context, mark int, who string, whats ...string) (Event, error) {
	for {
		events, changed := l.Since(mark)
		for _, e := range events {
			if e.Who == who && slices.Contains(whats, e.What) {
				return e, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("interop: %s has not written %v: %w; since then: %v", who, whats, ctx.Err(), events)
		}
	}
}

// Lasting is the To of a [Span] that has not ended.
const Lasting = math.MaxInt64

// Span is a time in which a participant considered itself leader: from the beginning of
// its work until the work had stopped, as the participant's own process has reported it.
type Span struct {
	Who      string
	From, To int64
	End      string // what ended it: "lost notLeader", "killed"; empty while it lasts
}

// String returns the span in one line, with its times in seconds.
func (s Span) String() string {
	return fmt.Sprintf("%s %.3f–%.3f (%s)", s.Who, float64(s.From)/1e9, float64(s.To)/1e9, s.End)
}

// Overlap returns how long two spans overlap. The result is not positive if they do not.
func (s Span) Overlap(o Span) time.Duration {
	return time.Duration(min(s.To, o.To) - max(s.From, o.From))
}

// Spans returns the times in which participants considered themselves leader, in the
// order in which they began.
func (l *Log) Spans() []Span {
	events, _ := l.Since(0)
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
	var spans []Span
	open := map[string]int{}
	for _, e := range events {
		i, leads := open[e.Who]
		switch {
		case e.What == "gained" && !leads:
			open[e.Who] = len(spans)
			spans = append(spans, Span{Who: e.Who, From: e.At, To: Lasting})
		case leads && (e.What == "lost" || e.What == "killed"):
			spans[i].To, spans[i].End = e.At, strings.TrimSpace(e.What+" "+e.Text)
			delete(open, e.Who)
		}
	}
	return spans
}
