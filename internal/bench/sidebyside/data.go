package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Data is what a run has measured. draw makes the page and the drawings of it, and of
// nothing else.
type Data struct {
	Made    Made
	First   []Times   `json:",omitempty"` // from the call until it leads, alone in the election
	Handoff []Times   `json:",omitempty"` // from the leader's call until the next one leads
	Line    []Times   `json:",omitempty"` // for each hand-over while a whole line leaves
	Crashes []Crash   `json:",omitempty"`
	Bytes   []Bytes   `json:",omitempty"`
	Idle    []Idle    `json:",omitempty"`
	Torture []Torture `json:",omitempty"`
}

// Made says when, where, with what and how often.
type Made struct {
	Date     string // of the day, in UTC
	Seed     uint64
	CPU      string
	Cores    int
	Kernel   string
	Disk     string // the file system of the servers' data
	Beside   string `json:",omitempty"` // what else ran on the machine, as the one who measured says
	Versions []Version
	Timeout  time.Duration // of sessions and leases
	Tick     time.Duration // of the ZooKeeper server
	InLine   int           // participants in a line that leaves
	Warmup   int           // rounds that do not count
	Short    Timing        // of the torture
}

// Version is a program or library and its version.
type Version struct{ Name, Version string }

// Timing is a session timeout and the tick of its server.
type Timing struct{ Timeout, Tick time.Duration }

// Times are all values of a contender, in nanoseconds, in the order of the rounds.
type Times struct {
	Contender string
	Nanos     []int64
}

// Crash is the time from SIGKILL of the leader until the next one leads.
type Crash struct {
	Timing
	Times []Times
}

// Bytes is what a hand-over costs on the connections of the two that take part in it.
type Bytes struct {
	Contender string
	InLine    int
	Bytes     []int64 // one for each round
}

// Idle is what passes in a minute while nothing happens.
type Idle struct {
	Contender        string
	Leader, Follower int64 // bytes
}

// Torture is what was observed once of a contender in a scenario. The fields that a
// scenario does not use are zero.
type Torture struct {
	Scenario, Contender string

	Untried  string   `json:",omitempty"` // why the contender was not tried
	InLine   bool     `json:",omitempty"` // the follower had an entry again
	NextLed  *float64 `json:",omitempty"` // ms until the next one led; nil: it did not
	MoreLed  *float64 `json:",omitempty"` // ms until a further participant led; nil: it did not
	TwoLed   bool     `json:",omitempty"` // a further participant led while the one before considered itself leader
	Overlap  float64  `json:",omitempty"` // ms in which two considered themselves leader
	Believes bool     `json:",omitempty"` // the former leader still considers itself leader at the end
	Told     *float64 `json:",omitempty"` // ms until the former leader was notified; nil: it never was
	Warned   *float64 `json:",omitempty"` // ms until the former leader was warned of a lost connection, if its library does that
	Cleared  *float64 `json:",omitempty"` // ms until the next one led after the junk was removed
	Leader   string   `json:",omitempty"` // who leads at the end
	Entries  int      `json:",omitempty"` // in the election's path at the end
	Errors   []string `json:",omitempty"` // what the participants reported
}

// load reads what save has written.
func load(file string) (*Data, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var d Data
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &d, nil
}

func (d *Data) save(file string) error {
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// add appends a value to a contender's times.
func add(all []Times, key string, nanos int64) []Times {
	for i := range all {
		if all[i].Contender == key {
			all[i].Nanos = append(all[i].Nanos, nanos)
			return all
		}
	}
	return append(all, Times{key, []int64{nanos}})
}

// of returns a contender's times, sorted; none if it has none.
func of(all []Times, key string) []int64 {
	for _, t := range all {
		if t.Contender == key {
			return sorted(t.Nanos)
		}
	}
	return nil
}
