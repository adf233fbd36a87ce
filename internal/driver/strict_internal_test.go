package driver

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// stepped returns the reading of both clocks at t if the wall clock has been set forward
// by d, or back.
func stepped(t time.Time, d time.Duration) time.Time {
	type reading struct { // the layout of time.Time: wall seconds and nanoseconds, and the monotonic clock
		wall uint64
		ext  int64
		loc  *time.Location
	}
	r := *(*reading)(unsafe.Pointer(&t))
	r.wall += uint64(d/time.Second) << 30
	return *(*time.Time)(unsafe.Pointer(&r))
}

// Neither the sleep of a machine nor a wall clock that was set forward counts. One that was
// set back must not make it wait for as long.
func TestAWaitIsByTheClockThatHasAdvancedLess(t *testing.T) {
	t0 := time.Now()
	b := reigning{alone: t0}
	assert.Equal(t, 3*time.Second, b.waited(t0.Add(3*time.Second)))
	assert.Equal(t, 3*time.Second, b.waited(stepped(t0.Add(3*time.Second), time.Hour)))
	assert.Equal(t, time.Second, b.waited(stepped(t0.Add(3*time.Second), -2*time.Second)))

	back := func(after time.Duration) time.Time { return stepped(t0.Add(after), -time.Hour) }
	assert.Zero(t, b.waited(back(3*time.Second)), "it begins anew")
	assert.Equal(t, 2*time.Second, b.waited(back(5*time.Second)))
	assert.Equal(t, 4*time.Second, b.waited(back(7*time.Second)))
}
