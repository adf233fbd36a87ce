package demo

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// timeFormat is what the programs print. It is fine enough to order what processes on one
// machine do.
const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// Entry is one step of work as a leader prints it: what Name did at At, with the fencing
// token Token.
type Entry struct {
	At    time.Time
	Name  string
	What  string // one word
	Token int64
}

// String is the line that a leader prints. [ParseEntry] reads it back.
func (e Entry) String() string {
	return fmt.Sprintf("%s %s %s token=%#x", e.At.Format(timeFormat), e.Name, e.What, e.Token)
}

// ParseEntry reads a line that a leader has printed. ok is false if the line is no step
// of work.
func ParseEntry(line string) (e Entry, ok bool) {
	var at string
	if _, err := fmt.Sscanf(line, "%s %s %s token=%v", &at, &e.Name, &e.What, &e.Token); err != nil {
		return Entry{}, false
	}
	var err error
	e.At, err = time.Parse(timeFormat, at)
	return e, err == nil
}

// Journal collects what several processes print. It is safe for concurrent use.
type Journal struct {
	mu      sync.Mutex
	entries []Entry
}

// Take adds line if it is a step of work.
func (j *Journal) Take(line string) {
	if e, ok := ParseEntry(line); ok {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.entries = append(j.entries, e)
	}
}

// Entries returns the steps of all processes in the order of time.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.entries)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// Reign is what the log proves of one leader: that it led at least from First to Last.
type Reign struct {
	Name        string
	Token       int64
	First, Last time.Time
	What        []string // what it did
}

// Reigns joins the steps that one leader has printed in a row. Successive terms on one
// znode are one reign if nobody else led in between. If two leaders worked at the same
// time, their steps alternate and make more than two reigns, so that somewhere a token is
// smaller than the one before it: [CheckOrder] finds that.
func (j *Journal) Reigns() []Reign {
	var all []Reign
	for _, e := range j.Entries() {
		if n := len(all); n == 0 || all[n-1].Name != e.Name || all[n-1].Token != e.Token {
			all = append(all, Reign{Name: e.Name, Token: e.Token, First: e.At})
		}
		r := &all[len(all)-1]
		r.Last, r.What = e.At, append(r.What, e.What)
	}
	return all
}

// CheckOrder returns what is wrong with a sequence of reigns: two at the same time, or a
// token that does not grow.
func CheckOrder(all []Reign) error {
	var errs []error
	for i := 1; i < len(all); i++ {
		before, r := all[i-1], all[i]
		if !r.First.After(before.Last) {
			errs = append(errs, fmt.Errorf("%s and %s led at the same time, %v", before.Name, r.Name, r.First))
		}
		if r.Token <= before.Token {
			errs = append(errs, fmt.Errorf("%s's token %#x is not larger than that of %s before it, %#x",
				r.Name, r.Token, before.Name, before.Token))
		}
	}
	return errors.Join(errs...)
}
