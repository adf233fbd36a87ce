//go:build linux

package run_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// session is the timeout of most tests: the lease is 1.3 s then.
const session = "4s"

// long is the timeout where none has to be over for the test, so that a slow machine does
// not end a term.
const long = "20s"

// takenOver starts two candidates and harms the first, in one way or another. The second
// one leads, and the command of the first has ended before: see worker.
func takenOver(t *testing.T, harm func(first *wrapper, pid int), worker ...string) (*journal, *wrapper) {
	t.Helper()
	zk := servers(t)
	j := newJournal(t)
	args := append(append([]string{"--session", session, "--", "worker"}, worker...), j.path)
	if !slices.Contains(worker, "-stubborn") {
		args[1] = "10s" // time to stop, also on a slow machine
	}
	first := electRun(t, zk, "first", args...)
	began, n := j.await(0, "first", "begins")
	second := electRun(t, zk, "second", args...)
	awaitLine(t, zk, 2)
	harm(first, began.pid)
	after, _ := j.await(n, "second", "begins")
	require.Greater(t, number(t, after.token), number(t, began.token))
	return j, second
}

func number(t *testing.T, token string) int64 {
	t.Helper()
	require.True(t, strings.HasPrefix(token, "0x"), "token %q", token)
	n, err := strconv.ParseInt(token, 0, 64)
	require.NoError(t, err)
	return n
}

// connect returns a client of the test's own.
func connect(t testing.TB, zk string) *election.Client {
	t.Helper()
	client, err := election.Connect(t.Context(), zk, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// awaitLine waits until n candidates stand in line.
func awaitLine(t *testing.T, zk string, n int) {
	t.Helper()
	client := connect(t, zk)
	eventually(t, "candidates in line", func() bool {
		all, err := client.Participants(t.Context(), "/job")
		return err == nil && len(all) == n
	})
}

func TestAStoppedWrapperDoesNotKeepItsCommandAlive(t *testing.T) {
	t.Parallel()
	for name, worker := range map[string][]string{
		"one that ignores TERM":    {"-stubborn"},
		"one with a child":         {"-stubborn", "-child", "group"},
		"one that starts a daemon": {"-stubborn", "-child", "daemon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stopped *wrapper
			j, second := takenOver(t, func(first *wrapper, pid int) {
				stopped = first
				first.signal(syscall.SIGSTOP)
			}, worker...)

			// When it goes on, it stands behind, and leads when the other one ends.
			stopped.signal(syscall.SIGCONT)
			n := len(j.entries())
			second.signal(syscall.SIGKILL)
			j.await(n, "first", "begins")
		})
	}
}

func TestAKilledWrapperDoesNotKeepItsCommandAlive(t *testing.T) {
	t.Parallel()
	for name, worker := range map[string][]string{
		"one that ignores TERM":    {"-stubborn"},
		"one with a child":         {"-stubborn", "-child", "group"},
		"one that starts a daemon": {"-stubborn", "-child", "daemon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takenOver(t, func(first *wrapper, pid int) { first.signal(syscall.SIGKILL) }, worker...)
		})
	}
}

// A shell that kills a job kills its process group.
func TestTheKeeperIsOutOfReachOfSignalsToTheGroup(t *testing.T) {
	t.Parallel()
	j, _ := takenOver(t, func(first *wrapper, pid int) {
		require.NoError(t, syscall.Kill(-first.cmd.Process.Pid, syscall.SIGKILL))
	}, "-stubborn")
	require.Contains(t, says(j, "first"), "TERM", "the keeper was there to ask first")
}

func says(j *journal, id string) (all []string) {
	for _, e := range j.entries() {
		if e.id == id {
			all = append(all, e.what)
		}
	}
	return all
}

// The session of a wrapper that was killed lives on, so its command has time to stop in order.
func TestACommandStopsInOrderWhenTheWrapperIsKilled(t *testing.T) {
	t.Parallel()
	j, _ := takenOver(t, func(first *wrapper, pid int) { first.signal(syscall.SIGKILL) }, "-stops", "10ms")
	require.Subset(t, says(j, "first"), []string{"TERM", "stopped"})
}

func TestACommandIsStoppedBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	proxy := zktest.NewProxy(t, zk)
	j := newJournal(t)
	electRun(t, proxy.Addr(), "first", "--session", session, "--", "worker", "-stubborn", "-child", "daemon", j.path)
	_, n := j.await(0, "first", "begins")
	electRun(t, zk, "second", "--session", session, "--", "worker", j.path)
	awaitLine(t, zk, 2)
	proxy.Blackhole()
	_, n = j.await(n, "second", "begins")
	require.Contains(t, says(j, "first"), "TERM", "it was asked first")

	// The first one comes back, behind the second.
	proxy.Heal()
	awaitLine(t, zk, 2)
	client := connect(t, zk)
	_, err := client.RequestResign(t.Context(), "/job")
	require.NoError(t, err)
	j.await(n, "first", "begins")
}

// With fast failover the lease is shorter, and so is everything that follows from it.
func TestFastFailoverHoldsForTheCommandToo(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	args := []string{"--session", "20s", "--fast", "2s", "--", "worker", "-stubborn", "-child", "daemon", j.path}
	first := electRun(t, zk, "first", args...)
	_, n := j.await(0, "first", "begins")
	electRun(t, zk, "second", args...)
	awaitLine(t, zk, 2)
	first.signal(syscall.SIGSTOP)
	j.await(n, "second", "begins")
}

// The lease is not renewed once the term is over, so a command that takes long is killed at
// its end.
func TestALeaderThatIsAskedHandsOverAtTheEndOfItsLeaseAtTheLatest(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	args := []string{"--session", session, "--grace", "1h", "--", "worker", "-stubborn", "-child", "daemon", j.path}
	electRun(t, zk, "first", args...)
	_, n := j.await(0, "first", "child=")
	electRun(t, zk, "second", args...)
	awaitLine(t, zk, 2)
	next, err := connect(t, zk).RequestResign(t.Context(), "/job")
	require.NoError(t, err)
	require.Equal(t, "second", next.ID)
	j.await(n, "second", "begins")
	require.Contains(t, says(j, "first"), "TERM")
}

func TestALeaderThatIsAskedHandsOverWhenItsCommandIsGone(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	electRun(t, zk, "first", "--session", long, "--", "worker", "-stops", "200ms", j.path)
	_, n := j.await(0, "first", "begins")
	electRun(t, zk, "second", "--session", long, "--", "worker", j.path)
	awaitLine(t, zk, 2)
	next, err := connect(t, zk).RequestResign(t.Context(), "/job")
	require.NoError(t, err)
	require.Equal(t, "second", next.ID)
	j.await(n, "second", "begins")
	require.Subset(t, says(j, "first"), []string{"TERM", "stopped"})
}

// KILL comes at the end of grace, to all of the group.
func TestACommandThatIgnoresTERMIsKilledAfterGrace(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--grace", "300ms", "--", "worker", "-stubborn", "-child", "daemon", j.path)
	child, _ := j.await(0, "first", "child=")
	w.signal(syscall.SIGTERM)
	require.Equal(t, 128+int(syscall.SIGKILL), w.exit())
	require.Contains(t, says(j, "first"), "TERM")
	pid, err := strconv.Atoi(strings.TrimPrefix(child.what, "child="))
	require.NoError(t, err)
	gone(t, pid)
	_, err = connect(t, zk).Leader(t.Context(), "/job")
	require.ErrorIs(t, err, election.ErrNoLeader, "the znode is gone, too")
}

func TestASecondInterruptKillsAtOnce(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--grace", "1h", "--", "worker", "-stubborn", j.path)
	_, n := j.await(0, "first", "begins")
	w.signal(syscall.SIGINT)
	j.await(n, "first", "TERM")
	w.signal(syscall.SIGINT)
	require.Equal(t, 128+int(syscall.SIGKILL), w.exit())
}

// What a command leaves behind ends before another candidate leads.
func TestADaemonOfACommandThatHasEndedIsStopped(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--", "worker", "-child", "daemon", "-lasts", "200ms", "-code", "5", j.path)
	_, n := j.await(0, "first", "child=")
	electRun(t, zk, "second", "--session", long, "--", "worker", j.path)
	require.Equal(t, 5, w.exit())
	j.await(n, "second", "begins")
	require.Contains(t, says(j, "first"), "TERM", "the daemon was asked")
}

func TestTheCommandEndsWithAKeeperThatIsKilled(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--", "worker", "-stubborn", "-child", "daemon", j.path)
	_, n := j.await(0, "first", "child=")
	electRun(t, zk, "second", "--session", long, "--", "worker", j.path)
	awaitLine(t, zk, 2)
	require.NoError(t, syscall.Kill(child(t, w.cmd.Process.Pid), syscall.SIGKILL))
	require.Equal(t, 128+int(syscall.SIGKILL), w.exit())
	j.await(n, "second", "begins")
}

// Nobody is left then who could do it.
func TestTheKernelKillsTheCommandIfTheKeeperIsKilledAndTheWrapperIsStopped(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--", "worker", "-stubborn", j.path)
	began, _ := j.await(0, "first", "begins")
	keeper := child(t, w.cmd.Process.Pid)
	w.signal(syscall.SIGSTOP)
	require.NoError(t, syscall.Kill(keeper, syscall.SIGKILL))
	gone(t, began.pid)
	w.signal(syscall.SIGCONT)
	w.exit()
}

// The wrapper does the keeper's work if that does not.
func TestTheCommandEndsInSpiteOfAKeeperThatIsStopped(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	w := electRun(t, zk, "first", "--session", long, "--grace", "300ms", "--", "worker", "-child", "daemon", j.path)
	_, n := j.await(0, "first", "child=")
	electRun(t, zk, "second", "--session", long, "--", "worker", j.path)
	awaitLine(t, zk, 2)
	keeper := child(t, w.cmd.Process.Pid)
	require.NoError(t, syscall.Kill(keeper, syscall.SIGSTOP))
	t.Cleanup(func() {
		if t.Failed() { // then nobody else ends it
			_ = syscall.Kill(keeper, syscall.SIGKILL)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	next, err := connect(t, zk).RequestResign(ctx, "/job")
	require.NoError(t, err)
	require.Equal(t, "second", next.ID)
	j.await(n, "second", "begins")
}

func TestWithRequeueTheCommandRunsAgain(t *testing.T) {
	t.Parallel()
	zk := servers(t)
	j := newJournal(t)
	args := []string{"--session", long, "--requeue", "--", "worker", "-lasts", "100ms", j.path}
	electRun(t, zk, "first", args...)
	electRun(t, zk, "second", args...)
	n := 0
	for range 3 {
		_, n = j.await(n, "first", "ends")
		_, n = j.await(n, "second", "ends")
	}
}
