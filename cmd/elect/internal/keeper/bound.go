//go:build linux || freebsd

package keeper

import "syscall"

// bind has the kernel kill the command when the thread that starts it ends.
func bind(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
