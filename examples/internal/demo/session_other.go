//go:build !unix

package demo

import "syscall"

// ownSession changes nothing here: this system has no sessions.
func ownSession() *syscall.SysProcAttr { return nil }
