//go:build unix

package demo

import "syscall"

// ownSession keeps a child out of this process's group and terminal: what is meant for all of them does not reach it,
// and it lives on when this process ends.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
