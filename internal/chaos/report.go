package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Report is what a run saw.
type Report struct {
	Seed       uint64         `json:"seed"`
	Duration   time.Duration  `json:"duration"`
	Timeout    time.Duration  `json:"session_timeout"`
	Faults     map[string]int `json:"faults"`
	Processes  int            `json:"processes"`
	Terms      int            `json:"terms"`
	Evictions  int            `json:"evictions"` // of silent leaders, by fast failover
	Writes     int            `json:"writes"`    // accepted by a register
	Refused    int            `json:"refused"`   // stale writes
	Uncertain  int            `json:"uncertain"`
	LongestGap time.Duration  `json:"longest_gap"` // after the last fault of a round
	Permitted  int            `json:"permitted"`   // overlaps in which LeaderLatch led first
	Problems   int            `json:"problems"`    // requests of candidates that failed, and faults that could not be made
	Wrong      []string       `json:"wrong"`
	Unfinished bool           `json:"unfinished,omitempty"` // the run could not go on
}

func newReport(o options) *Report {
	return &Report{Seed: o.seed, Duration: o.duration, Timeout: o.timeout, Faults: map[string]int{}, Wrong: []string{}}
}

func (r *Report) wrong(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

// finish judges the events.
func (r *Report) finish(events []Event) {
	wrong, found := judge(events)
	r.Wrong = append(r.Wrong, wrong...)
	for _, o := range found {
		if o.Permitted {
			r.Permitted++
		}
	}
	r.Processes, r.Terms = counts(events, saysStarted), terms(events)
	r.Evictions, r.Writes = counts(events, saysEvicted), counts(events, saysWrote)
	r.Refused, r.Uncertain = counts(events, saysRefused)+counts(events, saysOutdated), counts(events, saysUncertain)
	r.Problems = counts(events, saysProblem)
}

// write writes the report as JSON.
func (r *Report) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o644)
}

// print writes the report for a reader.
func (r *Report) print(out io.Writer) {
	sum := 0
	for _, n := range r.Faults {
		sum += n
	}
	fmt.Fprintf(out, "\nseed %d, %v, session timeout %v\n", r.Seed, r.Duration, r.Timeout)
	fmt.Fprintf(out, "%d faults:\n", sum)
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(out, "  %4d %s\n", r.Faults[name], name)
	}
	fmt.Fprintf(out, "%d processes, %d terms, %d evictions\n", r.Processes, r.Terms, r.Evictions)
	fmt.Fprintf(out, "%d writes accepted, %d stale ones refused, %d without an answer\n", r.Writes, r.Refused, r.Uncertain)
	fmt.Fprintf(out, "longest time without a leader after the last fault: %v\n", r.LongestGap.Round(time.Millisecond))
	fmt.Fprintf(out, "overlaps after LeaderLatch, which has no lease: %d\n", r.Permitted)
	if len(r.Wrong) == 0 && !r.Unfinished {
		fmt.Fprintln(out, "nothing was wrong: no overlap, no stale write, no gap, no orphan, all callbacks in order")
	}
	for _, text := range r.Wrong {
		fmt.Fprintln(out, "WRONG:", text)
	}
}
