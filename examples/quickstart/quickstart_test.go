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
	promised = 5 * time.Second  // what the README says of the play
	slack    = 25 * time.Second // for a machine that is busy with other tests, where sessions of 1.5 s may expire early
	limit    = 3 * time.Minute  // for the compiler
)

// The README's command, on a machine where no ensemble is named: no Docker, no ZooKeeper.
func TestTimelineShowsALeaderItsCrashAndItsSuccessor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	program, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
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

	rows := timeline(t, p.Lines())
	requireOneLeaderAtATime(t, rows)
	requireTold(t, rows, output)
}

// row is a line of the timeline.
type row struct {
	at         time.Duration
	name, what string
	token      int64
}

var rowForm = regexp.MustCompile(`^ *(\d+\.\d{3}) s   ( *)(stands|works|stops|CRASHES|LEADS, token (0x[0-9a-f]+))$`)

// timeline reads the table, column by column.
func timeline(t *testing.T, lines []string) (rows []row) {
	t.Helper()
	header := strings.Fields("time " + strings.Join(names, " "))
	for _, line := range lines {
		m := rowForm.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at, err := time.ParseDuration(m[1] + "s")
		require.NoError(t, err)
		require.Zero(t, len(m[2])%column, "%q is aligned with no name", line)
		r := row{at: at, name: header[1+len(m[2])/column], what: strings.Split(m[3], ",")[0]}
		if m[4] != "" {
			r.token, err = strconv.ParseInt(m[4], 0, 64)
			require.NoError(t, err)
		}
		rows = append(rows, r)
	}
	return rows
}

// A stop is not a failure, but the exit status 0 says that three were seen to lead.
func TestInterruptedPlayDoesNotExitAsOneThatWasSeenToTheEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	program, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	p, err := demo.Start("", nil, program)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, "stands")
	require.NoError(t, err)
	require.NoError(t, p.Terminate())
	var exit *exec.ExitError
	require.ErrorAs(t, p.Wait(ctx), &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.NotContains(t, strings.Join(p.Lines(), "\n"), "Three have led")
}

// requireOneLeaderAtATime follows the table from the top: who works is who led last. A leader may lead anew under the
// same token, when its lease had lapsed and nobody led meanwhile, and one that was overtaken may say late that it stops.
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
			if r.name == last { // its lease had lapsed, or its session
				require.GreaterOrEqual(t, r.token, token, "the token of %s", r.name)
			} else {
				require.Greater(t, r.token, token, "the token of %s", r.name)
			}
			leader, last, token = r.name, r.name, r.token
			led[r.name] = true
		case "works":
			require.Equal(t, leader, r.name, "who works leads")
		case "stops", "CRASHES":
			require.True(t, led[r.name], "%s leaves, who never led", r.name)
			if r.name == leader {
				leader = ""
			}
		}
	}
}

var told = regexp.MustCompile(`(?m)^(\w+) crashed, and (\w+) led \S+ later: .*\n(\w+) was stopped, and (\w+) led \S+ later: `)

// requireTold wants three to have stood and led, one to have crashed, and the end of the output to say what happened:
// the crash of one, the stop of the second, the third.
func requireTold(t *testing.T, rows []row, output string) {
	t.Helper()
	did := map[string][]row{}
	for _, r := range rows {
		did[r.what] = append(did[r.what], r)
	}
	require.Len(t, did["stands"], len(names))
	require.Len(t, did["CRASHES"], 1)
	m := told.FindStringSubmatch(output)
	require.NotNil(t, m, "the output tells of the crash and of the stop")
	require.Equal(t, did["CRASHES"][0].name, m[1])
	require.Equal(t, m[2], m[3], "who led after the crash was stopped")
	order := []string{m[1], m[2], m[4]}
	require.ElementsMatch(t, names, order)
	for i, name := range order { // more than once where the machine stood still for too long
		require.True(t, slices.ContainsFunc(did["LEADS"], func(r row) bool { return r.name == name }), "%s leads", name)
		if i > 0 {
			require.True(t, slices.ContainsFunc(did["works"], func(r row) bool {
				return r.name == name && r.at >= did["CRASHES"][0].at
			}), "%s works after the crash", name)
		}
	}
	stopped := slices.IndexFunc(rows, func(r row) bool { return r.name == m[3] && r.what == "stops" })
	handed := slices.IndexFunc(rows[stopped+1:], func(r row) bool { return r.name == m[4] && r.what == "LEADS" })
	require.True(t, stopped >= 0 && handed >= 0, "the work has stopped before the next leads: %v", rows)
	require.Contains(t, output, "Three have led, one at a time, each with a larger token than the one before.")
}
