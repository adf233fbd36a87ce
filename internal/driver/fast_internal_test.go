package driver

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

// listening calls test with an owner, without a session, that watches the znode ahead.
func listening(t *testing.T, test func(t *testing.T, o *owner)) {
	synctest.Test(t, func(t *testing.T) {
		d := &Driver{cfg: Config{Fast: &Fast{}}, inbox: inbox{wake: make(chan struct{}, 1), up: true}}
		o := &owner{Driver: d, watches: watches{nodeGen: 1, ahead: make(chan zk.Event), aheadName: "a"}}
		o.view.Connected = true
		test(t, o)
		o.beating.stop()
	})
}

// reading is one of the znode ahead, made just now.
func reading(version int32) silenceOf {
	return silenceOf{nodeGen: 1, name: "a", version: version, within: time.Second, since: time.Now()}
}

// told returns what the machine is told of silence by what has come by now.
func (o *owner) told() (all []machine.AheadSilent) {
	synctest.Wait()
	for _, m := range o.inbox.take() {
		if m.first(o) {
			all = append(all, m.event.(machine.AheadSilent))
		}
	}
	return all
}

func TestSilenceIsToldAgainAndAgainUntilSomethingIsHeard(t *testing.T) {
	listening(t, func(t *testing.T, o *owner) {
		o.watchSilence(reading(1))
		time.Sleep(time.Second - 1)
		assert.Empty(t, o.told())
		time.Sleep(time.Nanosecond)
		for range 3 {
			assert.Equal(t, []machine.AheadSilent{{NodeGen: 1, Name: "a", Version: 1}}, o.told())
			time.Sleep(time.Second / 10)
		}

		o.watchSilence(reading(2))
		assert.Empty(t, o.told())
		time.Sleep(time.Second)
		assert.Equal(t, []machine.AheadSilent{{NodeGen: 1, Name: "a", Version: 2}}, o.told())

		o.watches.ahead = nil // the watch has fired: the znode is about to be read
		time.Sleep(time.Minute)
		assert.Empty(t, o.told())
	})
}

// The znode is read anew while the timer of the last reading fires.
func TestALateTimerLeavesNoSecondOneBehind(t *testing.T) {
	listening(t, func(t *testing.T, o *owner) {
		o.watchSilence(reading(1))
		time.Sleep(time.Second)
		synctest.Wait()
		o.watchSilence(reading(2))
		assert.Empty(t, o.told(), "of the last reading")
		for range 100 {
			time.Sleep(time.Second / 2)
			o.watchSilence(reading(2))
			assert.Empty(t, o.told())
		}
	})
}

func TestWhoeverDoesNotBeatIsNotSilent(t *testing.T) {
	listening(t, func(t *testing.T, o *owner) {
		o.watchSilence(reading(1))
		o.watchSilence(reading(0))
		time.Sleep(time.Minute)
		assert.Empty(t, o.told())
	})
}

func TestSilenceIsWaitedForOnlyWithAConnection(t *testing.T) {
	listening(t, func(t *testing.T, o *owner) {
		o.watchSilence(reading(1))
		o.view.Connected = false
		time.Sleep(time.Second)
		assert.NotEmpty(t, o.told())
		time.Sleep(time.Minute)
		assert.Empty(t, o.told(), "an outage wakes nobody up")
		o.view.Connected = true
		o.awaitSilence()
		time.Sleep(time.Second / 10)
		assert.NotEmpty(t, o.told())
	})
}

// A machine that slept shows on the wall clock alone, as a clock that was set does.
// Virtual time has no monotonic clock.
func TestAWallClockSetForwardMakesNoSilence(t *testing.T) {
	r := reading(1)
	r.since = setForward(r.since, -time.Hour)
	require.Greater(t, time.Now().Round(0).Sub(r.since.Round(0)), time.Hour/2)
	assert.Greater(t, r.left(), time.Second/2)
}

// setForward returns a reading on whose wall clock d more has passed, and on whose
// monotonic clock nothing.
func setForward(t time.Time, d time.Duration) time.Time {
	type reading struct { // the layout of time.Time: wall seconds and nanoseconds, and the monotonic clock
		wall uint64
		ext  int64
		loc  *time.Location
	}
	r := *(*reading)(unsafe.Pointer(&t))
	r.wall += uint64(d/time.Second) << 30
	return *(*time.Time)(unsafe.Pointer(&r))
}
