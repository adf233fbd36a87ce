package main

import (
	"fmt"
	"slices"
	"strings"
)

// verdict is what a rule makes of the observations of a contender in a scenario.
type verdict struct {
	grade grade
	words string // empty: the longest overlap says it
}

type grade int

const (
	fine    grade = iota
	nobody        // nobody leads, or only a participant that has come new
	briefly       // two lead for up to brief
	twoLead       // two lead for longer
	untried
)

// brief is the longest overlap that is called brief, in ms.
const brief = 100

func (v verdict) colour() string {
	return map[grade]string{fine: "#aceebb", nobody: "#fae17d", briefly: "#ffd8a8", twoLead: "#ffaba8", untried: "#eaeef2"}[v.grade]
}

func scenarioNames() []string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return append(all, wiped)
}

// observed returns the observations of a contender in a scenario.
func observed(all []Torture, scenario, key string) (some []Torture) {
	for _, t := range all {
		if t.Scenario == scenario && t.Contender == key {
			some = append(some, t)
		}
	}
	return some
}

// judge takes the worst of all observations.
func judge(all []Torture) verdict {
	worst := verdict{untried, "not tried"}
	for i, t := range all {
		v := judgeOne(t)
		if i == 0 || worst.grade == untried || v.grade != untried && v.grade > worst.grade {
			worst = v
		}
	}
	longest := 0.0
	for _, t := range all {
		longest = max(longest, t.Overlap)
	}
	if worst.words == "" {
		worst.words = "two, for " + amount(longest)
	}
	return worst
}

func judgeOne(t Torture) verdict {
	switch {
	case t.Untried != "":
		return verdict{untried, "not tried"}
	case t.TwoLed:
		return verdict{twoLead, "two lead"}
	case t.Scenario == wiped:
		return judgeWiped(t)
	case t.NextLed == nil:
		return verdict{nobody, "nobody leads"}
	case t.Scenario == cutOff && !t.InLine:
		return verdict{nobody, "leads, no entry"}
	case t.Believes && (t.Scenario == deleted || t.Scenario == stopped):
		return verdict{twoLead, "two, to the end"}
	case t.Overlap > brief:
		return verdict{twoLead, ""}
	case t.Overlap > 0:
		return verdict{briefly, ""}
	}
	return verdict{fine, "one leads"}
}

func judgeWiped(t Torture) verdict {
	switch {
	case t.NextLed != nil:
		return verdict{fine, "one leads"}
	case t.Believes:
		return verdict{nobody, "never told"}
	case t.MoreLed != nil:
		return verdict{nobody, "only a new one"}
	}
	return verdict{nobody, "nobody leads"}
}

// amount writes a number of ms with its unit.
func amount(v float64) string {
	switch {
	case v < 0.05:
		return "0 ms"
	case v < 9.95:
		return fmt.Sprintf("%.1f ms", v)
	case v < 999.5:
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f s", v/1000)
}

// tally writes what f says of all observations: once if it is the same for all, or with
// counts.
func tally(all []Torture, f func(Torture) string) string {
	var said []string
	counts := map[string]int{}
	for _, t := range all {
		text := f(t)
		if counts[text] == 0 {
			said = append(said, text)
		}
		counts[text]++
	}
	if len(said) == 1 {
		return said[0]
	}
	for i, text := range said {
		said[i] = fmt.Sprintf("%s (%d of %d)", text, counts[text], len(all))
	}
	return strings.Join(said, ", ")
}

// span writes the range of the values of f in all observations, and how often there was
// none.
func span(all []Torture, none string, f func(Torture) *float64) string {
	var values []float64
	for _, t := range all {
		if v := f(t); v != nil {
			values = append(values, max(*v, 0))
		}
	}
	if len(values) == 0 {
		return none
	}
	least, most := amount(slices.Min(values)), amount(slices.Max(values))
	text := least + " to " + most
	if least == most {
		text = least
	}
	if missing := len(all) - len(values); missing > 0 {
		return fmt.Sprintf("%s (%d of %d), %s (%d of %d)", text, len(values), len(all), none, missing, len(all))
	}
	return text
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// reported lists the errors that participants reported, each once.
func reported(all []Torture) string {
	var texts []string
	for _, t := range all {
		for _, e := range t.Errors {
			if e = strings.ReplaceAll(e, "|", "\\|"); len(e) > 90 {
				e = e[:90] + "…"
			}
			if !slices.Contains(texts, "`"+e+"`") {
				texts = append(texts, "`"+e+"`")
			}
		}
	}
	if len(texts) == 0 {
		return "–"
	}
	return strings.Join(texts, ", ")
}
