//go:build unix && !linux && !freebsd

package keeper

import "syscall"

// bind does nothing: this system does not know how.
func bind(*syscall.SysProcAttr) {}
