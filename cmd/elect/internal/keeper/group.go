//go:build unix

package keeper

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// leader is the command: the first process of its group, whose number the group bears.
type leader struct {
	pid    int
	ended  bool
	reaped bool
	status syscall.WaitStatus // if it is reaped
}

// reap returns the exit code, as a shell would say it, once over is true. A command that
// somebody else has reaped counts as killed.
func (l *leader) reap() (code int) {
	if !l.reaped {
		l.reaped = wait(l.pid, &l.status)
	}
	switch {
	case !l.reaped:
		return killed
	case l.status.Signaled():
		return 128 + int(l.status.Signal())
	}
	return l.status.ExitStatus()
}

// killed is the exit code of a command that was ended by SIGKILL.
const killed = 128 + int(syscall.SIGKILL)

// group is the command and what it has started.
type group struct {
	leader leader
	not    map[int]bool // children of this process that are none of the command's
}

// start starts the command in a group of its own. The calling goroutine is locked to its
// thread, and the kernel kills the command when that ends.
func start(argv []string, path string) (*group, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	bind(attr)
	p, err := os.StartProcess(path, argv, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: os.Environ(), Sys: attr})
	if err != nil {
		return nil, err
	}
	defer p.Release() // it is reaped by number
	return &group{leader: leader{pid: p.Pid}}, nil
}

// gone reports whether no process is left. It reaps those that have ended, but for the
// leader: as long as that is there, the group's number belongs to it.
func (g *group) gone() bool {
	if !g.leader.over() {
		return false
	}
	left := g.rest()
	return len(left) == 0 && !g.populated()
}

// rest reaps what has come to this process and has ended, and returns the members that are
// left beside the leader.
func (g *group) rest() (left []member) {
	for _, m := range family(g.not) {
		if m.pid == g.leader.pid || m.parent == os.Getpid() && wait(m.pid, nil) {
			continue
		}
		left = append(left, m)
	}
	return left
}

// ask asks the group to end, and the members that have left it if the leader has ended.
// While the leader lives, those are its own business. A process that is suspended hears it
// only when it goes on.
func (g *group) ask() {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		_ = syscall.Kill(-g.leader.pid, s)
		if g.leader.over() {
			g.strays(s)
		}
	}
}

// kill kills all members. Each may have started another meanwhile, so it has to be called
// until gone is true.
func (g *group) kill() {
	_ = syscall.Kill(-g.leader.pid, syscall.SIGKILL)
	g.strays(syscall.SIGKILL)
}

// strays sends s to the members that are not in the group.
func (g *group) strays(s syscall.Signal) {
	for _, m := range g.rest() {
		if pgid, err := unix.Getpgid(m.pid); err == nil && pgid != g.leader.pid {
			_ = syscall.Kill(m.pid, s)
		}
	}
}

// wait reaps a child if it has ended, and reports whether it did. status may be nil.
func wait(pid int, status *syscall.WaitStatus) bool {
	for {
		got, err := syscall.Wait4(pid, status, syscall.WNOHANG, nil)
		if err != syscall.EINTR {
			return got == pid
		}
	}
}
