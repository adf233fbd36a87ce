package cluster

import "syscall"

// attributes keep a child out of the terminal's foreground group, so that Ctrl-C reaches the parent alone, which ends
// its children in order; and have the kernel end the child when the parent could not.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
