package interop

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time of the machine's monotonic clock, in nanoseconds. On Linux, Java's
// System.nanoTime and Python's time.monotonic_ns read the same clock, so the times of all
// processes can be compared.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Now().UnixNano() // does not happen, because every Linux has this clock
	}
	return ts.Nano()
}
