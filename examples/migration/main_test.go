package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/interop"
)

// The guide's one command, as it is run by its readers.
func TestAFleetMovesFromJavaToGoAndBackWithoutAGapOrAnOverlap(t *testing.T) {
	require.NoError(t, interop.Require())
	program := filepath.Join(t.TempDir(), "migration")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "java-1 → java-2 → java-3 → go-1 → go-2 → go-3 → java-4 → java-5 → java-6")
	assert.Contains(t, string(out), "overlaps by Go workers: 0")
}

func TestAViolationIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		events []interop.Event
		want   string
	}{
		"a good one": {line("java-1 gained", "java-1 job", "java-1 lost", "go-1 gained", "go-1 job", "go-1 lost"), ""},
		"a LeaderLatch that hands on first is permitted": {
			line("java-1 gained", "java-1 job", "go-1 gained", "java-1 job", "go-1 job", "java-1 lost", "go-1 job"), ""},
		"nobody worked":             {line("go-1 gained", "go-1 lost"), "nobody worked"},
		"a gap":                     {append(line("go-1 gained", "go-1 job"), event(2*time.Second, "go-1 job")), "nobody worked for 1.999s after go-1"},
		"ours hands on first":       {line("go-1 gained", "go-1 job", "java-1 gained", "java-1 job"), "java-1 came to lead while go-1 still led"},
		"ours works on":             {line("go-1 gained", "go-1 lost", "java-1 gained", "go-1 job", "java-1 job"), "go-1 worked while these led: [java-1]"},
		"ours works without a term": {line("go-1 job"), "go-1 worked while these led: []"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(c.events, time.Second).err()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestALeaderWhoseLeaseLapsedIsNamedOnce(t *testing.T) {
	v := judge(line("go-1 gained", "go-1 job", "go-1 lost", "go-1 gained", "go-1 job", "go-1 lost", "java-1 gained", "java-1 job",
		"java-1 lost", "go-1 gained", "go-1 job"), time.Second)
	require.NoError(t, v.err())
	assert.Equal(t, []string{"go-1", "java-1", "go-1"}, v.leaders)
}

// line puts events a millisecond apart.
func line(events ...string) []interop.Event {
	all := make([]interop.Event, len(events))
	for i, e := range events {
		all[i] = event(time.Duration(i)*time.Millisecond, e)
	}
	return all
}

func event(at time.Duration, text string) interop.Event {
	who, what, _ := strings.Cut(text, " ")
	return interop.Event{At: int64(at), Who: who, What: what}
}
