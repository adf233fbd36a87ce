package interop

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now reads the machine's monotonic clock in nanoseconds. Java's System.nanoTime and Python's time.monotonic_ns read
// the same one on Linux, so the events of all processes lie on one time line.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Now().UnixNano() // does not happen: the clock exists on every Linux
	}
	return ts.Nano()
}
