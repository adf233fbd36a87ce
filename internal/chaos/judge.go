package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// javaSeat is the candidate that is Curator's LeaderLatch.
const javaSeat = "java"

// Span is a time in which a candidate considered itself leader.
type Span struct {
	Who, Election string
	Token         Token
	From, To      int64 // at both, and between, it led for certain
	Lease         int64 // until then it would have led if its process had not been stopped; at least To
	Over          bool
}

// String returns the span in one line, with its times in seconds.
func (s Span) String() string {
	return fmt.Sprintf("%s (%#x) %.4f–%.4f", s.Who, int64(s.Token), float64(s.From)/1e9, float64(s.To)/1e9)
}

// spans returns the times as leader in the order of their beginnings. events are in order.
func spans(events []Event) []Span {
	var all []Span
	open, pause := map[string]int{}, map[string]Event{}
	said := map[string]int64{} // the end of the lease, as last said in the span
	for _, e := range events {
		i, leads := open[e.Who]
		switch {
		case e.What == saysGained:
			open[e.Who], said[e.Who] = len(all), e.Until
			all = append(all, Span{Who: e.Who, Election: e.Election, Token: e.Token, From: e.At, To: e.At, Lease: e.At})
		case e.What == saysGap:
			pause[e.Who] = e
		case !leads:
		case e.What == saysBelieves:
			all[i].To, said[e.Who] = max(all[i].To, e.At), e.Until
		case e.What == saysResigns && e.Token == all[i].Token:
			said[e.Who] = 0 // it may end the lease at any time from here on
		case e.What == saysLost, e.What == saysKilled:
			s := &all[i]
			if e.What == saysLost || seat(e.Who) == javaSeat {
				s.To = max(s.To, e.At)
			}
			if p := pause[e.Who]; e.What == saysLost && p.At >= e.At { // it was paused, and led until its lease ended
				s.Lease = min(said[e.Who], p.Until)
			}
			s.Lease, s.Over = max(s.Lease, s.To), true
			delete(open, e.Who)
		}
	}
	for i := range all {
		all[i].Lease = max(all[i].Lease, all[i].To)
	}
	slices.SortStableFunc(all, func(a, b Span) int { return compare(a.From, b.From) })
	return all
}

// Overlap is a time in which two candidates considered themselves leader.
type Overlap struct {
	First, Second Span
	Length        time.Duration
	Permitted     bool // the first is LeaderLatch, which has no lease
}

// String returns the overlap in one line.
func (o Overlap) String() string {
	return fmt.Sprintf("%s: %v and %v both led for %v", o.Second.Election, o.First, o.Second, o.Length)
}

// overlaps finds all pairs of spans of one election that overlap.
func overlaps(all []Span) (found []Overlap) {
	for i, first := range all {
		for _, second := range all[i+1:] {
			if first.Election != second.Election || first.Who == second.Who {
				continue
			}
			length := min(first.Lease, second.Lease) - second.From
			if second.Lease == second.From { // seen once only
				length = min(first.Lease-second.From, 1)
			}
			if length > 0 {
				found = append(found, Overlap{first, second, time.Duration(length), seat(first.Who) == javaSeat})
			}
		}
	}
	return found
}

// wipes returns the times at which the data was wiped.
func wipes(events []Event) (at []int64) {
	for _, e := range events {
		if e.What == saysWiped {
			at = append(at, e.At)
		}
	}
	return at
}

// judgeTokens requires that each leader has a higher token than all before it, since the
// data was last wiped.
func judgeTokens(all []Span, wiped []int64) (wrong []string) {
	type key struct {
		election string
		gen      int
	}
	highest := map[key]Span{}
	for _, s := range all {
		if seat(s.Who) == javaSeat {
			continue
		}
		gen := 0
		for _, at := range wiped {
			if s.From > at {
				gen++
			}
		}
		k := key{s.Election, gen}
		before, led := highest[k]
		if led && (s.Token < before.Token || s.Token == before.Token && s.Who != before.Who) {
			wrong = append(wrong, fmt.Sprintf("%s: the token of %v is not above that of %v", s.Election, s, before))
		}
		if !led || s.Token > before.Token {
			highest[k] = s
		}
	}
	return wrong
}

// judgeCallbacks requires that each listener hears IsLeader and NotLeader in turns, in
// pairs for one token.
func judgeCallbacks(events []Event) (wrong []string) {
	leads := map[string]Token{}
	for _, e := range events {
		token, led := leads[e.Who]
		switch e.What {
		case saysBegan:
			if led {
				wrong = append(wrong, fmt.Sprintf("%s: IsLeader (%#x) without NotLeader (%#x) before", e.Who, int64(e.Token), int64(token)))
			}
			leads[e.Who] = e.Token
		case saysEnded:
			if !led || token != e.Token {
				wrong = append(wrong, fmt.Sprintf("%s: NotLeader (%#x) without its IsLeader before", e.Who, int64(e.Token)))
			}
			delete(leads, e.Who)
		}
	}
	return wrong
}

// judgeWork requires that work which holds a term has stopped before the next candidate
// leads, if the leader resigned and its lease, as it was then, lasted until the work had stopped.
func judgeWork(events []Event, all []Span) (wrong []string) {
	type key struct {
		who   string
		token Token
	}
	resigned := map[key]int64{}
	for _, e := range events {
		k := key{e.Who, e.Token}
		switch {
		case e.What == saysWorks:
			delete(resigned, k)
		case e.What == saysResigns:
			resigned[k] = e.Until
		case e.What == saysStopped && e.At <= resigned[k]:
			for _, s := range all {
				if s.Election == e.Election && s.Who != e.Who && s.From < e.At && s.Lease > e.At && s.Token != e.Token {
					wrong = append(wrong, fmt.Sprintf("%s: %v led while the work of %s (%#x) had not stopped", e.Election, s, e.Who, int64(e.Token)))
				}
			}
		}
	}
	return wrong
}

// judge returns what was wrong by the events alone, and the overlaps, those that are permitted too.
func judge(events []Event) (wrong []string, found []Overlap) {
	all := spans(events)
	found = overlaps(all)
	for _, o := range found {
		if !o.Permitted {
			wrong = append(wrong, o.String())
		}
	}
	wrong = append(wrong, judgeTokens(all, wipes(events))...)
	wrong = append(wrong, judgeCallbacks(events)...)
	wrong = append(wrong, judgeWork(events, all)...)
	return append(wrong, judgeHistories(events)...), found
}

// counts is how many events say what.
func counts(events []Event, what string) (n int) {
	for _, e := range events {
		if e.What == what {
			n++
		}
	}
	return n
}

// terms is how many terms began. LeaderLatch has no terms: each time as leader counts.
func terms(events []Event) (n int) {
	for _, e := range events {
		if e.What == saysBegan || e.What == saysGained && seat(e.Who) == javaSeat {
			n++
		}
	}
	return n
}

// stalls is for how long in all the candidates of an election did not run, from from to to.
func stalls(events []Event, election string, from, to int64) (sum time.Duration) {
	for _, e := range events {
		if e.What == saysGap && e.Election == election {
			sum += time.Duration(max(0, min(e.Until, to)-max(e.At, from)))
		}
	}
	return sum
}

// line tells whether the participants in line are those that should be, in any order.
func sameLine(want, got []string) string {
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("in line are %s, and %s should be", strings.Join(got, ", "), strings.Join(want, ", "))
}
