//go:build unix

package demo

import "syscall"

// ownSession takes a child out of this process's group and terminal. Signals that are
// meant for all of them do not reach it, and it lives on when this process ends.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
