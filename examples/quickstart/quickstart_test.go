package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
)

const (
	promised = 5 * time.Second // what the README says of the play
	slack    = 5 * time.Second // for a machine that is busy with other tests
	limit    = 2 * time.Minute // for the compiler
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

// requireOneLeaderAtATime follows the table from the top: who works is who led last and has not left since.
func requireOneLeaderAtATime(t *testing.T, rows []row) {
	t.Helper()
	var leader string
	var token int64
	var before time.Duration
	for _, r := range rows {
		require.GreaterOrEqual(t, r.at, before, "time runs on: %v", rows)
		before = r.at
		switch r.what {
		case "LEADS":
			require.Empty(t, leader, "%s leads while %s does", r.name, leader)
			require.Greater(t, r.token, token, "the token of %s", r.name)
			leader, token = r.name, r.token
		case "works":
			require.Equal(t, leader, r.name, "who works leads")
		case "stops", "CRASHES":
			require.Equal(t, leader, r.name, "who stops led")
			leader = ""
		}
	}
}

// requireTold wants three to have stood and led, one to have crashed, and the end of the output to say what happened.
func requireTold(t *testing.T, rows []row, output string) {
	t.Helper()
	did := map[string][]row{}
	for _, r := range rows {
		did[r.what] = append(did[r.what], r)
	}
	require.Len(t, did["stands"], len(names))
	require.Len(t, did["CRASHES"], 1)
	crash, leads := did["CRASHES"][0], did["LEADS"]
	order := []string{leads[0].name}
	for _, r := range leads {
		if r.name != order[len(order)-1] { // else it led again after the machine had stood still for too long
			order = append(order, r.name)
		}
	}
	require.ElementsMatch(t, names, order, "each leads once")
	require.Equal(t, order[0], crash.name)
	require.Contains(t, output, fmt.Sprintf("%s crashed, and %s led ", order[0], order[1]))
	require.Contains(t, output, fmt.Sprintf("%s was stopped, and %s led ", order[1], order[2]))
	require.Contains(t, output, "Three have led, one at a time, each with a larger token than the one before.")
}
