package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

// Runs the README's command.
func TestAFleetMovesFromJavaToGoAndBackWithoutAGapOrAnOverlap(t *testing.T) {
	zktest.SkipIfShort(t, "a JDK, Curator, and a real ZooKeeper")
	require.NoError(t, interop.Require()) // which installs what is missing on a machine of continuous integration
	program, err := demo.Build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	p, err := demo.Start("", nil, program)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(t.Context(), 0, "java-1  gained")
	require.NoError(t, err)
	select {
	case <-p.Done():
		require.Fail(t, "it prints only at its end")
	default:
	}
	err = p.Wait(t.Context())
	out := strings.Join(p.Lines(), "\n")
	require.NoError(t, err, "%s", out)
	assert.Contains(t, out, "java-1 → java-2 → java-3 → go-1 → go-2 → go-3 → java-4 → java-5 → java-6")
	assert.Contains(t, out, "overlaps by Go workers: 0")
}

// The command names what is missing in one line, with what to do, before it compiles or
// starts anything.
func TestWhatIsMissingIsNamedFirst(t *testing.T) {
	fine := func() error { return nil }
	none := func() error { return errors.New("no engine:\nnot even a socket") }
	unasked := func() error { return errors.New("asked, though a ZooKeeper is named") }

	t.Setenv(demo.Env, "")
	require.NoError(t, check(t.Context(), fine, fine))
	require.EqualError(t, check(t.Context(), fine, none),
		"install Docker and start it, or set ZOOKEEPER_CONNECTION_STRING to the address of a ZooKeeper: no engine: not even a socket")
	t.Setenv(demo.Env, ":1")
	err := check(t.Context(), fine, unasked)
	require.ErrorContains(t, err, "set ZOOKEEPER_CONNECTION_STRING to host:port")
	require.ErrorContains(t, err, `":1" has no host`)

	zoo := zksim.New(zksim.Config{})
	t.Cleanup(zoo.Close)
	addr, err := zoo.ListenTCP("127.0.0.1:0")
	require.NoError(t, err)
	t.Setenv(demo.Env, addr)
	require.NoError(t, check(t.Context(), fine, unasked))

	t.Setenv("PATH", t.TempDir()) // no java, no javac, no go
	err = check(t.Context(), interop.RequireJava, unasked)
	require.ErrorContains(t, err, "openjdk-17-jdk-headless")
	require.NotContains(t, err.Error(), "\n")
	require.ErrorContains(t, check(t.Context(), fine, unasked), "install Go")
}

func TestTimelineWaitsForJobsAndSortsByTime(t *testing.T) {
	l := newTimeline()
	for _, line := range []string{"2026-11-21T10:00:00.000000001Z go-1 gained", "2026-11-21T10:00:00.1Z go-1 job",
		"2026-11-21T10:00:00.2Z go-1 job", "2026-11-21T10:00:00.05Z java-1 job", "2026-11-21T10:00:00.3Z go-1 lost"} {
		l.take(line)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, l.await(ctx, 0, "go-1", 2))
	require.ErrorIs(t, l.await(ctx, 0, "go-1", 3), context.Canceled)
	require.ErrorIs(t, l.await(ctx, 2, "go-1", 2), context.Canceled)
	require.Len(t, l.ordered(), 5)
	require.Equal(t, "java-1", l.ordered()[1].who, "in the order of their times")
}

func TestAViolationIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		events []event
		want   string
	}{
		"a good one": {line("java-1 gained", "java-1 job", "java-1 lost", "go-1 gained", "go-1 job", "go-1 lost"), ""},
		"a LeaderLatch may hand over before its work has stopped": {
			line("java-1 gained", "java-1 job", "go-1 gained", "java-1 job", "go-1 job", "java-1 lost", "go-1 job"), ""},
		"nobody worked":             {line("go-1 gained", "go-1 lost"), "nobody worked"},
		"a gap":                     {append(line("go-1 gained", "go-1 job"), happened(2*time.Second, "go-1 job")), "nobody worked for 1.999s after go-1"},
		"ours hands over too early": {line("go-1 gained", "go-1 job", "java-1 gained", "java-1 job"), "java-1 began to lead while go-1 still led"},
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

// line returns events that are a millisecond apart.
func line(events ...string) []event {
	all := make([]event, len(events))
	for i, e := range events {
		all[i] = happened(time.Duration(i)*time.Millisecond, e)
	}
	return all
}

func happened(after time.Duration, text string) event {
	who, what, _ := strings.Cut(text, " ")
	return event{at: time.Unix(0, 0).Add(after), who: who, what: what}
}
