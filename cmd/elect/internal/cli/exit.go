package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// The exit codes of every command, beside 0. Those from 64 on have the values of
// sysexits.h.
const (
	Failed      = 1  // anything else went wrong
	Usage       = 64 // the command line is wrong; nothing was done
	Unavailable = 69 // ZooKeeper cannot be reached
	NotYet      = 75 // what was waited for did not happen in time
	NoPerm      = 77 // ZooKeeper refuses, or does not accept the credentials
	Signalled   = 128
)

// Error ends a command with a line on the standard error and an exit code.
type Error struct {
	Code int    // the exit code
	What string // what happened, without the program's name
	Do   string // what to do about it; may be empty
}

// Error returns the line.
func (e *Error) Error() string {
	if e.Do == "" {
		return znode.OneLine(e.What)
	}
	return znode.OneLine(e.What + ": " + e.Do)
}

// Exit ends a command with this exit code and prints nothing.
type Exit int

// Error names the code. It is for logs: [Main] does not print it.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Usagef returns an error of the command line.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, What: fmt.Sprintf(format, args...)}
}

// Signal is why the context of an [Env] has ended.
type Signal struct{ syscall.Signal }

// Error names the signal.
func (s Signal) Error() string { return s.String() }

// Code is the exit code of a process that this signal has ended.
func (s Signal) Code() int { return Signalled + int(s.Signal) }

// Explain turns an error of the library into an [Error] that says what to do, and
// returns other errors as they are.
func (e *Env) Explain(err error) error {
	var own *Error
	var exit Exit
	var signal Signal
	switch {
	case err == nil, errors.As(err, &own), errors.As(err, &exit):
		return err
	case errors.As(context.Cause(e.Context), &signal):
		return Exit(signal.Code())
	case errors.Is(err, zk.ErrAuthFailed):
		return &Error{NoPerm, "ZooKeeper does not accept the credentials", "check --auth-file or ELECT_AUTH, and the servers' log"}
	case errors.Is(err, zk.ErrNoAuth):
		return &Error{NoPerm, "no permission: " + text(err), "give credentials that have it with --auth-file, or change the ACL"}
	case errors.Is(err, election.ErrDisconnected):
		return &Error{Unavailable, fmt.Sprintf("no ZooKeeper at %s: %s", e.Flags.ZK, text(err)), "check --zk and that the servers run"}
	}
	return err
}

// code is the exit code for an error.
func code(err error) int {
	var own *Error
	var exit Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &own):
		return own.Code
	}
	return Failed
}

// text is an error without the name of the package that all of them begin with.
func text(err error) string { return strings.TrimPrefix(err.Error(), "election: ") }
