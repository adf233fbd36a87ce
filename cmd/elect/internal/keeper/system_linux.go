package keeper

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// steady reads the clock that no one can set and that also counts while the machine
// sleeps. It is the same for all processes, except in another time namespace.
func steady() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // Linux has it since 2.6.39
	}
	return ts.Nano()
}

// self is this program, even if its file has been replaced since it started: a keeper of
// another version would not understand the wrapper.
func self() (string, error) {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil {
		return running, nil
	}
	return os.Executable()
}

// adoptOrphans makes this process the parent of every descendant that loses its own.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// over reports whether the leader has ended. It leaves the leader unreaped, so that no
// other process and no other group can get its number.
func (l *leader) over() bool {
	for !l.ended {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, l.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		l.ended = err != nil || info.Signo != 0
		break
	}
	return l.ended
}

// populated reports whether the group has members that family does not know.
func (g *group) populated() bool { return false }

// member is a process of a family.
type member struct{ pid, parent int }

// family returns the processes that descend from this one, except for its children not and
// what descends from those. A process is there until its parent has reaped it.
func family(not map[int]bool) (all []member) {
	parents := map[int]int{}
	for _, pid := range processes() {
		if parent, ok := parentOf(pid); ok {
			parents[pid] = parent
		}
	}
	me := os.Getpid()
	for pid, parent := range parents {
		// steps: the processes were not read at one instant, so there may be a circle.
		for at, steps := pid, 0; at > 1 && steps <= len(parents); at, steps = parents[at], steps+1 {
			if parents[at] == me {
				if !not[at] {
					all = append(all, member{pid, parent})
				}
				break
			}
		}
	}
	return all
}

func processes() (all []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// parentOf reads the fourth field of /proc/PID/stat. The second one is the program's name
// in parentheses, which may hold anything.
func parentOf(pid int) (parent int, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return parent, err == nil
}
