//go:build unix

package keeper

import (
	"fmt"
	"time"
)

// Instant is a point in time that all processes of this machine understand. It has come
// when one of its clocks has reached it: the steady one cannot be set, and the wall clock
// also goes on where the steady one stands still, as in some virtual machines.
type Instant struct {
	steady int64 // by the steady clock of the system, in nanoseconds: see steady
	wall   int64 // by the wall clock, in nanoseconds since 1970
}

// At returns end as an Instant. end has a monotonic reading.
func At(end time.Time) Instant {
	// The steady clock is read first. If this process is stopped before the next reading,
	// the result is too early by that time. The other way round it would be too late.
	began := steady()
	now := time.Now()
	left := min(end.Sub(now), end.Round(0).Sub(now.Round(0)))
	return Instant{began + int64(left), end.UnixNano()}
}

// left returns the time until i by the clock that is further on.
func (i Instant) left() time.Duration {
	return min(time.Duration(i.steady-steady()), time.Duration(i.wall-time.Now().UnixNano()))
}

// in returns the Instant that is d from now.
func in(d time.Duration) Instant {
	return Instant{steady() + int64(d), time.Now().UnixNano() + int64(d)}
}

func (i Instant) String() string { return fmt.Sprintf("%d %d", i.steady, i.wall) }
