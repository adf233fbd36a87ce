//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// background lets this process run as a shell's background job. A read from the terminal
// then fails, and does not stop it.
func background() { signal.Ignore(syscall.SIGTTIN) }
