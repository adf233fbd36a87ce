package main

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
)

const (
	promised = 8 * time.Second  // the README promises this of the play
	slack    = 25 * time.Second // for a machine that is busy with other tests, where sessions of 2 s may expire early
	plays    = 3                // in one of these, no stall of the machine is as long as what fast failover saves
	limit    = 3 * time.Minute  // leaves time for the compiler
)

// Runs the README's command without naming an ensemble, so it needs neither Docker nor
// ZooKeeper.
func TestTimelinesShowALeaderItsCrashAndItsSuccessorWithoutAndWithFastFailover(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	program, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	// Without the option a leader's session lasts for eleven twelfths of its timeout after a
	// crash, so no such take-over is as quick.
	quick := func() bool { return watch(t, ctx, program) < sessionTimeout*11/12 }
	for range plays {
		if quick() {
			return
		}
	}
	require.Fail(t, "fast failover was never quick")
}

// watch runs the program and checks what it shows. It returns how long nobody led after
// the crash with fast failover.
func watch(t *testing.T, ctx context.Context, program string) time.Duration {
	t.Helper()
	began := time.Now()
	p, err := demo.Start("", nil, program)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	err = p.Wait(ctx)
	took := time.Since(began)
	output := strings.Join(p.Lines(), "\n")
	t.Logf("%v\n%s", took, output)
	require.NoError(t, err)
	require.Less(t, took, promised+slack)
	require.Equal(t, demo.Notice, p.Lines()[0])
	require.Contains(t, p.Lines()[2], "Compiling examples/quickstart/app", "what it waits for")

	without, with, found := strings.Cut(output, "\nWith WithFastFailover(500ms), session timeout 2s:\n")
	require.True(t, found)
	require.Contains(t, without, "\nWithout fast failover, session timeout 2s:\n")
	with, end, found := strings.Cut(with, "\nHow long nobody led ")
	require.True(t, found)
	var crash, stop [2]time.Duration
	for i, act := range []string{without, with} {
		rows := timeline(t, strings.Split(act, "\n"))
		requireOneLeaderAtATime(t, rows)
		crash[i], stop[i] = requireTold(t, rows, act)
	}
	require.Equal(t, [][2]time.Duration{crash, stop}, compared(t, end), "side by side is what was measured")
	require.Contains(t, output, "Both times three have led, one at a time, each with a larger token than the one before.")
	return crash[1]
}

var comparison = regexp.MustCompile(`(?m)^after the (crash|stop) +(\S+) +(\S+)$`)

// compared reads the table at the end: the crash without and with fast failover, and the
// stop.
func compared(t *testing.T, end string) (all [][2]time.Duration) {
	t.Helper()
	for _, m := range comparison.FindAllStringSubmatch(end, -1) {
		all = append(all, [2]time.Duration{duration(t, m[2]), duration(t, m[3])})
	}
	return all
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// row is one line of the timeline.
type row struct {
	at         time.Duration
	name, what string
	token      int64
}

var rowForm = regexp.MustCompile(`^ *(\d+\.\d{3}) s   ( *)(joins|works|stops|CRASHES|LEADS, token (0x[0-9a-f]+))$`)

// timeline reads the table. A row's indentation tells whose it is.
func timeline(t *testing.T, lines []string) (rows []row) {
	t.Helper()
	header := strings.Fields("time " + strings.Join(names, " "))
	for _, line := range lines {
		m := rowForm.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := duration(t, m[1]+"s")
		require.Zero(t, len(m[2])%column, "%q is aligned with no name", line)
		r := row{at: at, name: header[1+len(m[2])/column], what: strings.Split(m[3], ",")[0]}
		if m[4] != "" {
			var err error
			r.token, err = strconv.ParseInt(m[4], 0, 64)
			require.NoError(t, err)
		}
		rows = append(rows, r)
	}
	return rows
}

// An interrupt is no failure elsewhere, but here exit status 0 means that all three have
// led.
func TestInterruptedPlayDoesNotExitAsOneThatWasSeenToTheEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	program, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	p, err := demo.Start("", nil, program)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, "joins")
	require.NoError(t, err)
	require.NoError(t, p.Terminate())
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(ctx), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.NotContains(t, strings.Join(p.Lines(), "\n"), "three have led")
}

// requireOneLeaderAtATime reads the table from the top: whoever works must be the latest
// leader. A leader may lead again with the same token if its lease had lapsed and nobody
// led meanwhile. A former leader may print late that it stops.
func requireOneLeaderAtATime(t *testing.T, rows []row) {
	t.Helper()
	var leader, last string // who leads, and who led last
	var token int64
	led := map[string]bool{}
	var before time.Duration
	for _, r := range rows {
		require.GreaterOrEqual(t, r.at, before, "time runs on: %v", rows)
		before = r.at
		switch r.what {
		case "LEADS":
			if r.name == last { // its lease had lapsed, or its session had expired
				require.GreaterOrEqual(t, r.token, token, "the token of %s", r.name)
			} else {
				require.Greater(t, r.token, token, "the token of %s", r.name)
			}
			leader, last, token = r.name, r.name, r.token
			led[r.name] = true
		case "works":
			require.Equal(t, leader, r.name, "only the leader works")
		case "stops", "CRASHES":
			require.True(t, led[r.name], "%s leaves without having led", r.name)
			if r.name == leader {
				leader = ""
			}
		}
	}
}

var told = regexp.MustCompile(`(?m)^(\w+) crashed, and (\w+) led (\S+) later: .*\n(\w+) was stopped, and (\w+) led (\S+) later: `)

// requireTold requires that three candidates have joined and led and that one has
// crashed. It requires that the end of the output says who crashed, who was stopped, and
// who led after each of them, and returns how long it took until they did.
func requireTold(t *testing.T, rows []row, output string) (crash, stop time.Duration) {
	t.Helper()
	did := map[string][]row{}
	for _, r := range rows {
		did[r.what] = append(did[r.what], r)
	}
	require.Len(t, did["joins"], len(names))
	require.Len(t, did["CRASHES"], 1)
	m := told.FindStringSubmatch(output)
	require.NotNil(t, m, "the output says who crashed and who was stopped")
	require.Equal(t, did["CRASHES"][0].name, m[1])
	require.Equal(t, m[2], m[4], "the one that led after the crash is the one that was stopped")
	order := []string{m[1], m[2], m[5]}
	require.ElementsMatch(t, names, order)
	for i, name := range order { // a candidate may lead more than once if the machine stood still for too long
		require.True(t, slices.ContainsFunc(did["LEADS"], func(r row) bool { return r.name == name }), "%s leads", name)
		if i > 0 {
			require.True(t, slices.ContainsFunc(did["works"], func(r row) bool {
				return r.name == name && r.at >= did["CRASHES"][0].at
			}), "%s works after the crash", name)
		}
	}
	stopped := slices.IndexFunc(rows, func(r row) bool { return r.name == m[4] && r.what == "stops" })
	handed := slices.IndexFunc(rows[stopped+1:], func(r row) bool { return r.name == m[5] && r.what == "LEADS" })
	require.True(t, stopped >= 0 && handed >= 0, "the work has stopped before the next leads: %v", rows)
	return duration(t, m[3]), duration(t, m[6])
}
