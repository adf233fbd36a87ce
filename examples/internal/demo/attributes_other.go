//go:build !linux

package demo

import "syscall"

// OwnGroup changes nothing here. Only Linux can end a child together with its parent;
// elsewhere a child in a group of its own would be left behind.
func OwnGroup() *syscall.SysProcAttr { return nil }
