//go:build linux

package run_test

import (
	"syscall"
	"testing"

	"github.com/zkelection/election/internal/zktest"
)

// The same as with the ZooKeeper in memory, on a real one: it ends the session of a wrapper
// that was killed or stopped.
func TestOnARealZooKeeperTheCommandEndsBeforeTheNextBegins(t *testing.T) {
	t.Parallel()
	server := zktest.Start(t)
	j := newJournal(t)
	args := []string{"--session", session, "--", "worker", "-stubborn", "-child", "daemon", j.path}
	n := 0
	for _, harm := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		first := electRun(t, server.Addr(), "first", args...)
		awaitLine(t, server.Addr(), 1)
		_, n = j.await(n, "first", "begins")
		second := electRun(t, server.Addr(), "second", args...)
		awaitLine(t, server.Addr(), 2)
		first.signal(harm)
		_, n = j.await(n, "second", "begins")
		_ = first.cmd.Process.Kill() // or it has been
		second.signal(syscall.SIGKILL)
		awaitLine(t, server.Addr(), 0)
	}
}
