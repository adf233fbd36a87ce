package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Token is a fencing token. In JSON it is a hexadecimal string, because JSON numbers lose
// digits above 2^53.
type Token int64

// MarshalText returns the token in hexadecimal digits.
func (t Token) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%#x", int64(t)), nil }

// UnmarshalText reads what MarshalText has written.
func (t *Token) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 0, 64)
	*t = Token(n)
	return err
}

// What an [Event] says. Candidates write the first group, and the judge the second.
const (
	saysGained    = "gained"    // At: after the first look at which it led; Until: the lease's end
	saysBelieves  = "believes"  // At: before a look at which it led; Until: the lease's end
	saysLost      = "lost"      // At: before the last look at which it led
	saysGap       = "gap"       // nothing ran from At to Until
	saysBegan     = "IsLeader"  // the callback
	saysEnded     = "NotLeader" // the callback
	saysResigns   = "resigns"   // is about to resign; Until: the lease's end
	saysWorks     = "works"     // the work of a term begins
	saysStopped   = "stopped"   // the work of a term has stopped
	saysWriting   = "writing"   // is about to send a write to a register
	saysWrote     = "wrote"     // the register has accepted the write
	saysRefused   = "refused"   // the register has refused it
	saysOutdated  = "outdated"  // the register has refused it because the data was wiped since
	saysUncertain = "uncertain" // no answer: the register has accepted the write or not
	saysUnsent    = "unsent"    // the write was not sent
	saysEvicted   = "evicted"   // has removed a silent leader's znode
	saysProblem   = "problem"   // what a candidate could not do

	saysStarted = "started" // a process
	saysKilled  = "killed"  // a process
	saysFault   = "fault"   // begins; Who is the candidate or server, or "all"
	saysHealed  = "healed"  // the fault with the same Op
	saysCalm    = "calm"    // no fault from here on
	saysWiped   = "wiped"   // all data is gone; Gen counts from here
	saysSettled = "settled" // every election has a leader again
)

// Event is a line of the timeline. All times are nanoseconds on the monotonic clock of the
// machine, which its processes share.
type Event struct {
	At       int64  `json:"at"`
	Who      string `json:"who"`
	What     string `json:"what"`
	Election string `json:"election,omitempty"`
	Token    Token  `json:"token,omitempty"`
	Until    int64  `json:"until,omitempty"`
	Register string `json:"register,omitempty"` // of a write: "zookeeper" or "bbolt"
	Op       int64  `json:"op,omitempty"`       // tells the writes of a candidate apart, and the faults
	Order    int64  `json:"order,omitempty"`    // of an accepted write: the version of the znode
	Gen      int    `json:"gen,omitempty"`      // how often the data had been wiped, as the writer knew
	Text     string `json:"text,omitempty"`
}

// seat is the place of a candidate that another process takes when this one is killed.
func seat(who string) string {
	name, _, _ := strings.Cut(who, "#")
	return name
}

// Log collects events and writes each as a line of JSON. Its methods may be called from any
// goroutine.
type Log struct {
	mu     sync.Mutex // guards the following
	out    *bufio.Writer
	events []Event
	latest map[string]Event // by Who: the last event about its belief
	err    error
}

// NewLog returns a log that writes to out.
func NewLog(out io.Writer) *Log {
	return &Log{out: bufio.NewWriter(out), latest: map[string]Event{}}
}

// Add appends an event.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	switch e.What {
	case saysGained, saysBelieves, saysLost, saysKilled:
		l.latest[e.Who] = e
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	l.err = errors.Join(l.err, err)
}

// Events returns all events so far, in the order of their times.
func (l *Log) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.events)
	slices.SortStableFunc(all, func(a, b Event) int { return compare(a.At, b.At) })
	return all
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// LedSince returns a moment after at in which a candidate of the election led, or 0 if
// none is known.
func (l *Log) LedSince(election string, at int64) (led int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.latest {
		if e.Election == election && e.At > at && (e.What == saysGained || e.What == saysBelieves) && (led == 0 || e.At < led) {
			led = e.At
		}
	}
	return led
}

// Leads reports whether a candidate led when it last said anything about it.
func (l *Log) Leads(who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.latest[who]
	return e.What == saysGained || e.What == saysBelieves
}

// Flush writes out what is buffered and returns the first error of all writes.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.out.Flush())
}
