package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zkelection/election/internal/interop"
)

// verdict is what was seen of the work.
type verdict struct {
	timeout  time.Duration
	jobs     int
	leaders  []string      // in the order of their coming to lead; once in a row
	gap      time.Duration // longest between two jobs
	gapAfter string        // who did the job before it
	ours     []string      // jobs of Go workers in another's time, and of others in a Go worker's time that began first
	theirs   []string      // jobs of Java workers after a Go worker began to lead: LeaderLatch permits them
}

// judge looks at every job: whose it was, and in whose time. events are in the order of their times.
func judge(events []interop.Event, timeout time.Duration) *verdict {
	v := &verdict{timeout: timeout}
	var lead []string // who believes, in the order in which it began
	var last interop.Event
	for _, e := range events {
		switch e.What {
		case "gained":
			v.overlap(lead, e)
			lead = append(lead, e.Who)
			if n := len(v.leaders); n == 0 || v.leaders[n-1] != e.Who { // else it leads again, after its lease had lapsed
				v.leaders = append(v.leaders, e.Who)
			}
		case "lost", "killed":
			lead = without(lead, e.Who)
		case "job":
			if v.jobs++; v.jobs > 1 && time.Duration(e.At-last.At) > v.gap {
				v.gap, v.gapAfter = time.Duration(e.At-last.At), last.Who
			}
			last = e
			if len(lead) != 1 || lead[0] != e.Who {
				v.stray(lead, e)
			}
		}
	}
	return v
}

// overlap notes one who came to lead while others still did: whose fault it is depends on who led before.
func (v *verdict) overlap(lead []string, e interop.Event) {
	for _, who := range lead {
		text := fmt.Sprintf("%s came to lead while %s still led", e.Who, who)
		if isOurs(who) {
			v.ours = append(v.ours, text)
		} else {
			v.theirs = append(v.theirs, text)
		}
	}
}

// stray notes a job that somebody did beside others, or without leading.
func (v *verdict) stray(lead []string, e interop.Event) {
	text := fmt.Sprintf("%s worked while these led: %v", e.Who, lead)
	switch {
	case !isOurs(e.Who):
		v.theirs = append(v.theirs, text)
	case len(lead) == 0 || lead[len(lead)-1] != e.Who: // not the latest to lead: it should have stopped
		v.ours = append(v.ours, text)
	}
}

func isOurs(id string) bool { return strings.HasPrefix(id, "go-") }

func without(all []string, who string) []string {
	var rest []string
	for _, w := range all {
		if w != who {
			rest = append(rest, w)
		}
	}
	return rest
}

func (v *verdict) err() error {
	var errs []error
	if v.jobs == 0 {
		errs = append(errs, errors.New("nobody worked"))
	}
	if v.gap > v.timeout {
		errs = append(errs, fmt.Errorf("nobody worked for %v after %s, longer than the session timeout %v", v.gap, v.gapAfter, v.timeout))
	}
	for _, text := range v.ours {
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

func (v *verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d jobs, done by %s\n", v.jobs, strings.Join(v.leaders, " → "))
	fmt.Fprintf(&b, "longest time without work: %v, after %s (session timeout %v)\n", v.gap.Round(time.Millisecond), v.gapAfter, v.timeout)
	fmt.Fprintf(&b, "overlaps by Go workers: %d; by LeaderLatch, which permits them: %d\n", len(v.ours), len(v.theirs))
	return b.String()
}
