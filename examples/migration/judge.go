package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// verdict is what was seen of the work.
type verdict struct {
	timeout  time.Duration
	jobs     int
	leaders  []string      // in the order in which they began to lead; a leader that leads again at once is listed once
	gap      time.Duration // the longest time between two jobs
	gapAfter string        // who did the job before the gap
	ours     []string      // overlaps that a Go worker has caused: it worked, or still led, when another worker led
	theirs   []string      // overlaps that a Java worker has caused; LeaderLatch permits them
}

// judge checks who did each job, and who led at that time. events are in the order of
// their times.
func judge(events []event, timeout time.Duration) *verdict {
	v := &verdict{timeout: timeout}
	var lead []string // all who consider themselves leader, in the order in which they began
	var last event
	for _, e := range events {
		switch e.what {
		case "gained":
			v.overlap(lead, e)
			lead = append(lead, e.who)
			// A leader that leads again after its lease had lapsed is not listed twice.
			if n := len(v.leaders); n == 0 || v.leaders[n-1] != e.who {
				v.leaders = append(v.leaders, e.who)
			}
		case "lost", "killed":
			lead = without(lead, e.who)
		case "job":
			if v.jobs++; v.jobs > 1 && e.at.Sub(last.at) > v.gap {
				v.gap, v.gapAfter = e.at.Sub(last.at), last.who
			}
			last = e
			if len(lead) != 1 || lead[0] != e.who {
				v.stray(lead, e)
			}
		}
	}
	return v
}

// overlap notes a worker that began to lead while others still led. The fault is with
// those that led before.
func (v *verdict) overlap(lead []string, e event) {
	for _, who := range lead {
		text := fmt.Sprintf("%s began to lead while %s still led", e.who, who)
		if isOurs(who) {
			v.ours = append(v.ours, text)
		} else {
			v.theirs = append(v.theirs, text)
		}
	}
}

// stray notes a job that a worker did while others led too, or without leading.
func (v *verdict) stray(lead []string, e event) {
	text := fmt.Sprintf("%s worked while these led: %v", e.who, lead)
	switch {
	case !isOurs(e.who):
		v.theirs = append(v.theirs, text)
	case len(lead) == 0 || lead[len(lead)-1] != e.who:
		// It does not lead, or another worker has begun to lead since. It should have stopped.
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
