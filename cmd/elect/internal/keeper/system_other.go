//go:build unix && !linux

package keeper

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// steady reads the clock that no one can set.
func steady() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // POSIX has it
	}
	return ts.Nano()
}

func self() (string, error) { return os.Executable() }

// adoptOrphans does nothing: orphans go to the first process of the system.
func adoptOrphans() error { return nil }

// over reports whether the leader has ended. It is reaped then.
func (l *leader) over() bool {
	if !l.ended {
		l.reaped = wait(l.pid, &l.status)
		l.ended = l.reaped
	}
	return l.ended
}

// populated reports whether the group has members that family does not know.
func (g *group) populated() bool { return !errors.Is(syscall.Kill(-g.leader.pid, 0), syscall.ESRCH) }

// member is a process of a family.
type member struct{ pid, parent int }

// family is not known here.
func family(map[int]bool) []member { return nil }
