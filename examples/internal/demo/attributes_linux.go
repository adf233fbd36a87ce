package demo

import "syscall"

// OwnGroup keeps a child out of the terminal's foreground group, so that Ctrl-C reaches the parent alone, which ends
// its children in order: a child that got both signals would take the second for the wish to end at once, and leave its
// place to be missed. And it has the kernel end the child when the parent could not.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
