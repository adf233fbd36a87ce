//go:build linux

package run_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// worker is the command that is run while leading. It must be alone: it locks a file, and
// so do the processes that it starts, since they inherit the lock. The kernel releases the
// lock at the moment at which the last of them is gone. A worker that finds it locked says
// so in the journal, which is the file's text.
func worker() {
	stubborn := flag.Bool("stubborn", false, "ignore TERM")
	child := flag.String("child", "", "start another worker: in the group, as a daemon or none")
	lasts := flag.Duration("lasts", patience, "end by itself after this time")
	stops := flag.Duration("stops", 0, "take so long to stop after TERM")
	code := flag.Int("code", 0, "exit code after TERM or lasts")
	inherits := flag.Bool("inherits", false, "the lock is inherited")
	flag.Parse()
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)

	journal := os.NewFile(3, "journal")
	if !*inherits {
		var err error
		journal, err = os.OpenFile(flag.Arg(0), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
		check(err)
		if err := unix.Flock(int(journal.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			say(journal, "overlap")
			os.Exit(99)
		}
		say(journal, "begins")
	}
	if *child != "" {
		startChild(*child, *stubborn, journal)
	}
	over := time.After(*lasts)
	for {
		select {
		case <-terms:
			say(journal, "TERM")
			if *stubborn {
				continue
			}
			time.Sleep(*stops)
			say(journal, "stopped")
		case <-over:
			say(journal, "ends")
		}
		os.Exit(*code)
	}
}

// startChild starts a worker that has the lock, too, and returns when it runs.
func startChild(kind string, stubborn bool, journal *os.File) {
	args := []string{"-inherits"}
	if stubborn {
		args = append(args, "-stubborn")
	}
	cmd := exec.Command("worker", args...)
	cmd.ExtraFiles = []*os.File{journal}
	if kind == "daemon" { // of a session of its own
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	check(cmd.Start())
	say(journal, fmt.Sprintf("child=%d", cmd.Process.Pid))
}

func say(journal *os.File, what string) {
	_, err := fmt.Fprintf(journal, "%d %s %s %s\n", os.Getpid(), os.Getenv("ELECTION_ID"), os.Getenv("ELECTION_TOKEN"), what)
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(98)
	}
}

// journal is what the workers say.
type journal struct {
	t    *testing.T
	path string
}

// entry is a line of a journal.
type entry struct {
	pid             int
	id, token, what string
}

func newJournal(t *testing.T) *journal { return &journal{t, t.TempDir() + "/journal"} }

// entries returns what has been said, and fails the test if two workers were there at once.
func (j *journal) entries() (all []entry) {
	j.t.Helper()
	text, err := os.ReadFile(j.path)
	if !os.IsNotExist(err) {
		require.NoError(j.t, err)
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		var e entry
		if _, err := fmt.Sscan(line, &e.pid, &e.id, &e.token, &e.what); err == nil {
			all = append(all, e)
		}
	}
	require.NotContains(j.t, string(text), "overlap", "two workers at once")
	return all
}

// await waits until what is said by the candidate id, after the first from entries, and
// returns that entry and the number of the next one.
func (j *journal) await(from int, id, what string) (entry, int) {
	j.t.Helper()
	var found entry
	next := 0
	eventually(j.t, "journal: "+id+" "+what, func() bool {
		for i, e := range j.entries() {
			if i >= from && e.id == id && strings.HasPrefix(e.what, what) {
				found, next = e, i+1
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprint(j.entries()) })
	return found, next
}

// patience bounds what a test waits for.
const patience = 90 * time.Second

// eventually waits for a condition that no event announces.
func eventually(t *testing.T, what string, reached func() bool, otherwise ...func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !reached() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			for _, f := range otherwise {
				t.Log(f())
			}
			require.FailNow(t, "this has not come true", what)
		}
	}
}

// wrapper is a process of elect run.
type wrapper struct {
	t   *testing.T
	cmd *exec.Cmd
	id  string

	mu    sync.Mutex // guards the following
	lines []string
	done  chan struct{}
}

// electRun starts elect run with these arguments, as a candidate with this id.
func electRun(t *testing.T, zookeeper, id string, args ...string) *wrapper {
	t.Helper()
	w := &wrapper{t: t, id: id, done: make(chan struct{})}
	w.cmd = exec.Command("elect", append([]string{"run", "/job", "-v", "--id", id, "--zk", zookeeper}, args...)...)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does with a job
	out, err := w.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, w.cmd.Start())
	go func() {
		defer close(w.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			w.mu.Lock()
			w.lines = append(w.lines, s.Text())
			w.mu.Unlock()
		}
		_ = w.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Signal(syscall.SIGCONT)
		for over := time.After(patience); ; { // again and again: signals that come at once are one
			_ = w.cmd.Process.Signal(syscall.SIGINT)
			select {
			case <-w.done:
			case <-time.After(50 * time.Millisecond):
				continue
			case <-over:
				assert.Fail(t, "elect run does not end", w.id)
				_ = w.cmd.Process.Kill()
			}
			break
		}
		if t.Failed() {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Logf("%s:\n%s", w.id, strings.Join(w.lines, "\n"))
		}
	})
	return w
}

func (w *wrapper) signal(s syscall.Signal) {
	w.t.Helper()
	require.NoError(w.t, w.cmd.Process.Signal(s))
}

// exit waits for the end and returns the exit code.
func (w *wrapper) exit() int {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		require.FailNow(w.t, "elect run does not end", w.id)
	}
	return w.cmd.ProcessState.ExitCode()
}

// child is the process id of the only child of pid, which is the keeper's if pid is that
// of a wrapper.
func child(t *testing.T, pid int) (found int) {
	t.Helper()
	eventually(t, "a child process", func() bool {
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		require.NoError(t, err)
		for _, stat := range all {
			text, _ := os.ReadFile(stat) // empty if it has ended meanwhile
			var state string
			var parent int
			_, behind, _ := strings.Cut(string(text), ") ")
			if _, err := fmt.Sscan(behind, &state, &parent); err == nil && parent == pid {
				found, err = strconv.Atoi(filepath.Base(filepath.Dir(stat)))
				return err == nil
			}
		}
		return false
	})
	return found
}

// gone waits until there is no such process, or only what its parent is still to reap.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " Z")
	})
}
