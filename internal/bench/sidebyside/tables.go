package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table writes a Markdown table.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	dashes := make([]string, len(head))
	for i := range dashes {
		dashes[i] = "---"
	}
	fmt.Fprintf(&b, "|%s|\n", strings.Join(dashes, "|"))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// timesTable shows times, and the ratio of each median to that of base, if base is there.
func timesTable(all []Times, base string) string {
	baseline, ok := summarise(of(all, base))
	head := []string{"", "median", "p10", "p90", "least", "most", "count"}
	if ok {
		head = append(head, "median ÷ "+lookUp(base).Label)
	}
	var rows [][]string
	for _, t := range inOrder(all) {
		s, there := summarise(sorted(t.Nanos))
		if !there {
			continue
		}
		row := []string{lookUp(t.Contender).Label}
		for _, v := range []int64{s.p50, s.p10, s.p90, s.least, s.most} {
			row = append(row, amount(float64(v)/1e6))
		}
		row = append(row, fmt.Sprint(s.count))
		if ok {
			row = append(row, fmt.Sprintf("%.2f", float64(s.p50)/float64(baseline.p50)))
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

// slower says which elections had a lower median than this library.
func slower(all []Times) string {
	mine, ok := summarise(of(all, "ours"))
	if !ok {
		return ""
	}
	var faster []string
	for _, c := range elections() {
		s, ok := summarise(of(all, c.Key))
		if !ok || c.Key == "ours" || c.Key == "fast" || s.p50 >= mine.p50 {
			continue
		}
		faster = append(faster, fmt.Sprintf("%.2f times as long as %s", float64(mine.p50)/float64(s.p50), c.Label))
	}
	if len(faster) == 0 {
		return "No other election had a lower median than this library."
	}
	return "**Slower than others:** by the medians, this library takes " + list(faster) + "."
}

// slowerFast says how fast failover compares with this library without it.
func slowerFast(all []Times) string {
	with, ok := summarise(of(all, "fast"))
	without, there := summarise(of(all, "ours"))
	if !ok || !there {
		return ""
	}
	return fmt.Sprintf("With fast failover it takes %.2f times as long as without.", float64(with.p50)/float64(without.p50))
}

func list(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

func least(values []int64) int64 { return sorted(values)[0] }

func bytesTable(all []Bytes) string {
	head := []string{""}
	for _, n := range inLineCounts {
		head = append(head, fmt.Sprintf("%d in line", n))
	}
	var rows [][]string
	for _, c := range elections() {
		row := []string{c.Label}
		for _, b := range all {
			if b.Contender == c.Key {
				row = append(row, fmt.Sprint(least(b.Bytes)))
			}
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

// moreBytes says which elections needed fewer bytes than this library with n in line.
func moreBytes(all []Bytes, n int) string {
	at := func(key string) int64 {
		for _, b := range all {
			if b.Contender == key && b.InLine == n {
				return least(b.Bytes)
			}
		}
		return 0
	}
	var fewer []string
	for _, c := range elections() {
		if c.Key != "ours" && c.Key != "fast" && at(c.Key) < at("ours") {
			fewer = append(fewer, c.Label)
		}
	}
	if len(fewer) == 0 {
		return fmt.Sprintf("With %d in line no other election needed fewer bytes than this library.", n)
	}
	return fmt.Sprintf("**More than others:** with %d in line, %s needed fewer bytes than this library.", n, list(fewer))
}

func idleTable(all []Idle) string {
	var rows [][]string
	for _, v := range all {
		rows = append(rows, []string{lookUp(v.Contender).Label, fmt.Sprint(v.Leader), fmt.Sprint(v.Follower)})
	}
	return table([]string{"bytes a minute", "leader", "follower"}, rows)
}

// moreIdle says how many times as many bytes this library needs, leader and follower
// together, as elections that need fewer.
func moreIdle(all []Idle) string {
	sums := map[string]int64{}
	for _, v := range all {
		sums[v.Contender] = v.Leader + v.Follower
	}
	var more []string
	for _, v := range all {
		if v.Contender != "ours" && v.Contender != "fast" && sums[v.Contender] < sums["ours"] {
			more = append(more, fmt.Sprintf("%.0f times as many bytes as %s", float64(sums["ours"])/float64(sums[v.Contender]), lookUp(v.Contender).Label))
		}
	}
	text := "No other election needed fewer bytes than this library."
	if len(more) > 0 {
		text = "**More than others:** this library needs " + list(more) + "."
	}
	if sums["fast"] > 0 && sums["ours"] > 0 {
		text += fmt.Sprintf(" With fast failover it needs %.1f times as many as without.", float64(sums["fast"])/float64(sums["ours"]))
	}
	return text
}

// column is a column of a scenario's table.
type column struct {
	head string
	cell func([]Torture) string
}

func nextLed(t Torture) *float64 { return t.NextLed }

// overlap says for how long two led.
func overlap(all []Torture) string {
	if tally(all, func(t Torture) string { return yes(t.Believes) }) != "no" {
		return tally(all, func(t Torture) string {
			if t.Believes {
				return "to the end of the scenario"
			}
			return amount(t.Overlap)
		})
	}
	return span(all, "none seen", func(t Torture) *float64 {
		if t.Overlap == 0 {
			return nil
		}
		return &t.Overlap
	})
}

func toldAfter(all []Torture) string {
	text := span(all, "never told", func(t Torture) *float64 { return t.Told })
	if warned := span(all, "", func(t Torture) *float64 { return t.Warned }); warned != "" {
		text += "; warned after " + warned
	}
	return text
}

func twoLed(all []Torture) string { return tally(all, func(t Torture) string { return yes(t.TwoLed) }) }

// columns are those of each scenario's table.
func columns(scenario string) []column {
	next := column{"the next one leads after", func(all []Torture) string { return span(all, "never", nextLed) }}
	errors := column{"the participants reported", reported}
	switch scenario {
	case cutOff:
		return []column{
			{"in line again", func(all []Torture) string { return tally(all, func(t Torture) string { return yes(t.InLine) }) }},
			{"it leads when the leader leaves, after", func(all []Torture) string { return span(all, "never", nextLed) }},
			{"it is notified of a loss", func(all []Torture) string {
				return span(all, "no", func(t Torture) *float64 { return t.Told })
			}},
			{"another one that enters then leads at the same time", func(all []Torture) string {
				return tally(all, func(t Torture) string {
					if t.NextLed == nil {
						return "–"
					}
					return yes(t.TwoLed)
				})
			}}, errors}
	case deleted:
		return []column{next, {"two lead for", overlap}, {"the former leader is notified after", toldAfter}}
	case stopped:
		return []column{next, {"the former leader leads on after it was woken, for", overlap}, {"it is notified after", toldAfter}}
	case junkPlain, junkNumber:
		return []column{next, {"when the junk was removed, after", func(all []Torture) string {
			stuck := slices.DeleteFunc(slices.Clone(all), func(t Torture) bool { return t.NextLed != nil })
			if len(stuck) == 0 {
				return "–"
			}
			return span(stuck, "not then either", func(t Torture) *float64 { return t.Cleared })
		}}, errors}
	case fullCount, wrapped:
		return []column{{"two lead at once", twoLed}, next, errors}
	}
	return []column{
		{"who leads again", func(all []Torture) string {
			return tally(all, func(t Torture) string {
				if t.Leader == "" {
					return "nobody"
				}
				return "the " + t.Leader
			})
		}},
		{"after", func(all []Torture) string { return span(all, "–", nextLed) }},
		{"the former leader is notified after", toldAfter},
		{"it still considers itself leader at the end", func(all []Torture) string {
			return tally(all, func(t Torture) string { return yes(t.Believes && t.Told == nil) })
		}},
		{"a new participant leads", func(all []Torture) string { return tally(all, func(t Torture) string { return yes(t.MoreLed != nil) }) }},
		{"two lead at once", twoLed},
	}
}

func tortureTable(all []Torture, scenario string) string {
	cols := columns(scenario)
	head := []string{""}
	for _, c := range cols {
		head = append(head, c.head)
	}
	var rows [][]string
	for _, c := range elections() {
		seen := observed(all, scenario, c.Key)
		if len(seen) == 0 {
			continue
		}
		row, why := []string{c.Label}, seen[0].Untried
		if seen = slices.DeleteFunc(seen, func(t Torture) bool { return t.Untried != "" }); len(seen) == 0 {
			row = append(row, "not tried: "+why)
			for len(row) < len(head) {
				row = append(row, "")
			}
			rows = append(rows, row)
			continue
		}
		for _, c := range cols {
			row = append(row, c.cell(seen))
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

// seconds writes a duration without zeros at its end.
func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }
