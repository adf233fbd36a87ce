//go:build unix

package process

import "syscall"

// Pause stops the process as a frozen machine would, until [Process.Resume].
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }
