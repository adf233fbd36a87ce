package demo

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zkelection/election"
)

// timeFormat is fine enough for the order of processes on one machine.
const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// Entry is a step of work as a leader logs it: what Name did at At, under the fencing token Token.
type Entry struct {
	At    time.Time
	Name  string
	What  string // one word
	Token int64
}

// Act logs a step of work, if term lasts. The time is taken before the term is checked, not after: a term that lasts
// now has lasted at that time too, whereas a process that is paused between the check and the clock would log a time
// at which somebody else may lead.
func Act(name, what string, term *election.Term) bool {
	at := time.Now()
	if term.Err() != nil {
		return false
	}
	fmt.Println(Entry{at, name, what, term.Token()})
	return true
}

// Say logs what is no step of work.
func Say(name, format string, args ...any) {
	fmt.Printf("%s %s %s\n", time.Now().Format(timeFormat), name, fmt.Sprintf(format, args...))
}

func (e Entry) String() string {
	return fmt.Sprintf("%s %s %s token=%#x", e.At.Format(timeFormat), e.Name, e.What, e.Token)
}

// ParseEntry is false for lines that are no step of work.
func ParseEntry(line string) (e Entry, ok bool) {
	var at string
	if _, err := fmt.Sscanf(line, "%s %s %s token=%v", &at, &e.Name, &e.What, &e.Token); err != nil {
		return Entry{}, false
	}
	var err error
	e.At, err = time.Parse(timeFormat, at)
	return e, err == nil
}

// Journal collects what several processes log. It is safe for concurrent use.
type Journal struct {
	mu      sync.Mutex
	entries []Entry
}

// Take adds a line, if it is a step of work.
func (j *Journal) Take(line string) {
	if e, ok := ParseEntry(line); ok {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.entries = append(j.entries, e)
	}
}

// Entries returns everybody's steps in the order of time.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.entries)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// Reign is what the log proves of one leader: it led from First to Last, if not longer.
type Reign struct {
	Name        string
	Token       int64
	First, Last time.Time
	What        []string // it did
}

// Reigns joins the steps that one leader logged in a row. Terms on one znode, between which nobody else led, are in
// one. Two who led at a time make more reigns than two, and then the tokens go down somewhere.
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

// CheckOrder returns what is wrong with a row of reigns: two at a time, or a token that does not grow.
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
