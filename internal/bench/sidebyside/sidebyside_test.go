package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(dispatch(m.Run)) }

const docs = "../../../docs"

// The page cannot say anything else than its data, and a change of draw needs a new page.
func TestThePageIsMadeOfItsData(t *testing.T) {
	d, err := load(filepath.Join(docs, "benchmarks", "data.json"))
	require.NoError(t, err)
	files := draw(d)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(filepath.Join(docs, name))
		require.NoError(t, err)
		require.Equal(t, files[name], string(text), "%s: go run ./internal/bench/sidebyside draw makes it again", name)
	}
	there, err := filepath.Glob(filepath.Join(docs, "benchmarks", "*.svg"))
	require.NoError(t, err)
	require.Len(t, there, len(files)-1, "no drawing is left from before")
}

func TestAQuantileIsTheSmallestValueThatEnoughOthersDoNotExceed(t *testing.T) {
	ten := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]int64{0: 1, 0.1: 1, 0.5: 5, 0.51: 6, 0.9: 9, 1: 10} {
		assert.Equal(t, want, quantile(ten, q), "%v", q)
	}
	s, ok := summarise(sorted([]int64{3, 1, 2}))
	require.True(t, ok)
	require.Equal(t, summary{p10: 1, p50: 2, p90: 3, least: 1, most: 3, count: 3}, s)
	_, ok = summarise(nil)
	require.False(t, ok)
}

func TestBeliefIsWhatAnswersOrNotificationsSay(t *testing.T) {
	at := func(p *proc, at int64, what, text string) {
		p.log.Add(interop.Event{At: at, Who: "a", What: what, Text: text})
	}
	newProc := func(key string) *proc { return &proc{contender: lookUp(key), log: interop.NewLog()} }
	for name, c := range map[string]struct {
		key   string
		play  func(*proc)
		still bool
		last  int64
	}{
		"asked, to the end": {"ours", func(p *proc) { at(p, 1, "leads", "0"); at(p, 2, "yes", "") }, true, 99},
		"asked, until the last look": {"latch", func(p *proc) {
			at(p, 1, "yes", "")
			at(p, 30, "lost", "notLeader")
			at(p, 31, "no", "29")
		}, false, 29},
		"notified":       {"etcd", func(p *proc) { at(p, 1, "leads", "0"); at(p, 30, "lost", "Session.Done") }, false, 30},
		"left":           {"lock", func(p *proc) { at(p, 1, "leads", "0"); at(p, 30, "left", "20") }, false, 30},
		"never notified": {"lock", func(p *proc) { at(p, 1, "leads", "0") }, true, 99},
		"never led":      {"lock", func(*proc) {}, false, 0},
		"after the end":  {"ours", func(p *proc) { at(p, 1, "yes", ""); at(p, 100, "no", "98") }, true, 99},
	} {
		p := newProc(c.key)
		c.play(p)
		still, last := p.belief("a", 99)
		assert.Equal(t, c.still, still, name)
		assert.Equal(t, c.last, last, name)
	}
	p := newProc("ours")
	at(p, 5_000_000, "lost", "")
	at(p, 9_000_000, "lost", "")
	require.Equal(t, 4.0, *p.told("a", 1_000_000))
	require.Equal(t, 2.0, *p.told("a", 7_000_000))
	require.Nil(t, p.told("a", 10_000_000))
	require.Nil(t, p.first("a", "warned", 0))
}

func TestTheWorstObservationIsTheVerdict(t *testing.T) {
	after := func(ms float64) *float64 { return &ms }
	for want, seen := range map[string][]Torture{
		"not tried":       {{Scenario: fullCount, Untried: "it has no counter"}},
		"one leads":       {{Scenario: deleted, NextLed: after(3)}},
		"nobody leads":    {{Scenario: junkPlain, NextLed: after(3)}, {Scenario: junkPlain}},
		"two lead":        {{Scenario: cutOff, NextLed: after(3), TwoLed: true}, {Scenario: cutOff, NextLed: after(3)}},
		"two, for 7.0 ms": {{Scenario: deleted, NextLed: after(3), Overlap: 7}, {Scenario: deleted, NextLed: after(3), Overlap: 2}},
		"two, for 1.5 s":  {{Scenario: stopped, NextLed: after(3), Overlap: 200}, {Scenario: stopped, NextLed: after(3), Overlap: 1500}},
		"two, to the end": {{Scenario: deleted, NextLed: after(3), Believes: true}},
		"leads, no entry": {{Scenario: cutOff, NextLed: after(3)}},
		"never told":      {{Scenario: wiped, Believes: true}},
		"only a new one":  {{Scenario: wiped, MoreLed: after(3)}},
	} {
		assert.Equal(t, want, judge(seen).words)
	}
}

func TestObservationsAreSummedUp(t *testing.T) {
	after := func(ms float64) *float64 { return &ms }
	seen := []Torture{{NextLed: after(3)}, {NextLed: after(1200), Errors: []string{"a|b"}}, {Errors: []string{"a|b"}}}
	assert.Equal(t, "3.0 ms to 1.2 s (2 of 3), never (1 of 3)", span(seen, "never", nextLed))
	assert.Equal(t, "never", span(seen[2:], "never", nextLed))
	assert.Equal(t, "3.0 ms", span(seen[:1], "never", nextLed))
	assert.Equal(t, "yes (2 of 3), no (1 of 3)", tally(seen, func(t Torture) string { return yes(t.NextLed != nil) }))
	assert.Equal(t, "`a\\|b`", reported(seen))
	assert.Equal(t, "–", reported(seen[:1]))
	assert.Equal(t, "to the end of the scenario", overlap([]Torture{{Believes: true}}))
	assert.Equal(t, "none seen", overlap([]Torture{{}}))
	assert.Equal(t, "5.0 ms (1 of 2), none seen (1 of 2)", overlap([]Torture{{Overlap: 5}, {}}))
}

// Slower is said of a median, and only of this library.
func TestThePageSaysWhereThisLibraryIsSlower(t *testing.T) {
	all := []Times{{"ours", []int64{20}}, {"lock", []int64{10}}, {"kazoo", []int64{30}}, {"bare", []int64{5}}}
	assert.Equal(t, "**Slower than others:** by the medians, this library takes 2.00 times as long as zk.Lock.", slower(all))
	all[1].Nanos[0] = 20
	assert.Equal(t, "No other election had a lower median than this library.", slower(all))
}

// One round of everything that times are made of, with the real servers and programs.
func TestEachContenderHandsOver(t *testing.T) {
	zktest.SkipIfShort(t, "Java, Python, their clients of ZooKeeper, and a real ZooKeeper")
	out := filepath.Join(t.TempDir(), "data.json")
	err := measure(t.Context(), options{out: out, folder: t.TempDir(), seed: 1, rounds: 1, inLine: 2, idle: time.Second, only: "rounds"}, t.Output())
	require.NoError(t, err)
	d, err := load(out)
	require.NoError(t, err)
	require.Len(t, d.Handoff, len(contenders))
	require.Len(t, d.First, len(contenders))
	for _, times := range append(d.Handoff, d.First...) {
		require.Len(t, times.Nanos, 1)
		assert.Positive(t, times.Nanos[0], times.Contender)
	}
	require.NotEmpty(t, draw(d)["benchmarks.md"])
}
