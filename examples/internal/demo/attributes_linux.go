package demo

import "syscall"

// OwnGroup puts a child process into a process group of its own, so that Ctrl-C in a
// terminal reaches only the parent, and the parent ends its children in order. A child
// that got both signals would take the second for the wish to end at once, and would
// leave its place in line to a session timeout. If the parent dies, the kernel ends the
// child.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
