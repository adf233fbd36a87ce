package session

import (
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// term is the session timeout of these tests. A proof is good for 12 s. A touch is passed
// on within 9.89 s: a quarter of the timeout, by a clock that may be slow. The lease ends
// 32.76 s after the newest known touch.
const term = 36 * time.Second

// trial is a lease with its own clock.
type trial struct {
	*Lease
	t     *testing.T
	start time.Time
}

func newTrial(t *testing.T) trial { return trial{&Lease{session: 1}, t, time.Now()} }

func (tr trial) at(seconds float64) time.Time {
	return tr.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (tr trial) handshake(at float64)      { tr.opened(tr.at(at), term) }
func (tr trial) contact(from, to float64)  { tr.heard(tr.at(from), tr.at(to), term) }
func (tr trial) proof(sent, reply float64) { tr.proved(tr.at(sent), tr.at(reply), term) }

// endsAt requires the lease to be good until just before the given second, and no longer.
func (tr trial) endsAt(seconds float64) {
	tr.t.Helper()
	require.WithinDuration(tr.t, tr.at(seconds), tr.End(), time.Microsecond)
	require.True(tr.t, tr.Live(tr.at(seconds-0.001)))
	require.False(tr.t, tr.Live(tr.at(seconds+0.001)))
}

func TestNothingProvedIsNoLease(t *testing.T) {
	tr := newTrial(t)
	require.False(t, tr.Live(tr.at(0)))
	require.Zero(t, tr.End())
	require.Zero(t, tr.Remaining(tr.at(0)))
	tr.handshake(0)
	require.False(t, tr.Live(tr.at(0)), "a handshake is a touch, not a proof by a quorum")
	tr.contact(1, 1.1)
	require.False(t, tr.Live(tr.at(1)))
}

func TestAProofWithoutEvidenceIsNoLease(t *testing.T) {
	tr := newTrial(t)
	tr.proof(1, 1.1)
	require.Zero(t, tr.End())
}

func TestAProofIsGoodForAThirdFromItsSending(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 3.5) // a slow answer does not make the lease longer
	tr.endsAt(13)
	require.Equal(t, time.Second, tr.Remaining(tr.at(12)))
}

func TestALateProofIsCutToWhatTheLastTouchMakesCertain(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(25, 25.1)
	tr.endsAt(32.76)
}

func TestATouchCountsOnceALaterWriteHasPassedItOn(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(15, 15.1)
	tr.proof(25.2, 25.3) // 9.89 s or more after the contact: the leader knows of it when this is answered
	tr.endsAt(32.76)     // but this proof itself was sent before that
	tr.proof(27, 27.1)
	tr.endsAt(39)
}

// A follower answers the leader's pings every half tick, by a clock that may be slow:
// within 9.89 s here, not within 9 s.
func TestATouchIsNotPassedOnByAWriteThatComesSooner(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(15, 15.1)
	tr.proof(24.9, 25)
	tr.proof(27, 27.1)
	tr.endsAt(32.76)
}

func TestAProofSentBeforeTheRelayWasAnsweredDoesNotCountTheTouch(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(15, 15.1)
	tr.proof(25.2, 26.9)
	tr.proof(25.9, 27)
	tr.endsAt(32.76)
}

func TestAFailedWriteIsATouchAndNoProof(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(1, 1.1)
	require.Zero(t, tr.End())
}

func TestWhoWakesLateHasNoLeaseBeforeTheChainIsComplete(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(0.1, 0.2)
	tr.endsAt(12.1)
	// The process wakes up 0.95 of the timeout later. A quorum still commits what it
	// sends, but the session may end at any moment.
	for _, sent := range []float64{34.2, 34.8, 37.5, 44.1} {
		tr.proof(sent, sent+0.1)
		require.False(t, tr.Live(tr.at(sent+0.1)), "proof at %v", sent)
	}
	tr.proof(44.4, 44.5) // passes on what was seen at 34.2
	require.False(t, tr.Live(tr.at(44.5)))
	tr.proof(44.6, 44.7)
	tr.endsAt(56.6)
}

func TestAReconnectForgetsWhatTheOldServerSaw(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(9, 9.1)
	tr.proof(19.5, 19.6) // would have passed it on
	tr.handshake(21)
	tr.proof(48, 48.1)
	tr.endsAt(53.76) // 32.76 s after the handshake, which the leader itself received
}

func TestAResumedSessionIsNoOlderThanItsFirstHandshake(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(15)
	tr.handshake(6) // reported late
	tr.proof(36, 36.1)
	tr.endsAt(47.76)
}

func TestAProofNeverMovesTheLeaseBack(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(2, 2.1)
	tr.proof(1, 2.2) // overtaken on its way
	tr.endsAt(14)
	last := tr.End()
	for _, sent := range []float64{24, 21, 27, 25.5, 9, 32.1, 60, 57, 63} {
		tr.proof(sent, 66)
		require.False(t, tr.End().Before(last), "proof at %v", sent)
		last = tr.End()
	}
}

// A server may grant a resumed session a shorter timeout, and counts it from the
// handshake.
func TestAShorterTimeoutEndsTheLeaseThatALongerOneMade(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	require.False(t, tr.opened(tr.at(2), term), "the same timeout changes nothing")
	tr.endsAt(13)
	require.True(t, tr.opened(tr.at(3), 5*time.Second))
	tr.endsAt(7.55)
	require.False(t, tr.opened(tr.at(4), term), "a longer one does not lengthen it")
	tr.endsAt(7.55)
}

// A goroutine may be held up between the moment at which it asks for the timeout and that
// at which it hands in its answer.
func TestAnAnswerFromBeforeAShorterTimeoutDoesNotLengthenTheLease(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	require.True(t, tr.opened(tr.at(3), 5*time.Second))
	tr.proof(2.8, 2.9)
	tr.endsAt(7.55)
	tr.proof(7, 7.1)
	tr.endsAt(7.55)
}

func TestAShorterTimeoutDoesNotReviveALeaseThatTheWallClockEnded(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	tr.sleep(time.Hour)
	require.False(t, tr.Live(tr.at(2)))
	tr.opened(tr.at(2), 5*time.Second)
	require.False(t, tr.Live(tr.at(2.1)))
}

// sleep lets the wall clock run ahead by d since the last proof, as after a time in which
// the monotonic clock stood still.
func (tr trial) sleep(d time.Duration) {
	e := *tr.end.Load()
	e.wall -= int64(d)
	tr.end.Store(&e)
}

// A lease that ends while an answer is on its way from the driver may have been found to be
// over. Whoever waits for it must hear that it is good again.
func TestALeaseThatEndsBeforeItsAnswerIsTakenIsGoodAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		tr.handshake(0)
		require.True(t, tr.proved(tr.at(1), tr.at(1.1), term), "for the first time")
		time.Sleep(12 * time.Second)
		require.False(t, tr.proved(tr.at(11), tr.at(11.9), term), "it has lasted")
		time.Sleep(12 * time.Second) // until 24 s
		require.False(t, tr.Live(time.Now()))
		require.True(t, tr.proved(tr.at(22), tr.at(22.9), term), "it was good when the answer came, and ended at 23 s")
	})
}

// The next proof is due by the time at which a write was sent, also after the lease was
// shortened, and sooner if the write left it short.
func TestTheNextProofIsDueByTheWriteThatTheLeaseRestsOn(t *testing.T) {
	tr := newTrial(t)
	require.Zero(t, tr.provedAt(term/leaseShare))
	tr.handshake(0)
	tr.proof(1, 1.1)
	require.Equal(t, tr.at(1), tr.provedAt(term/leaseShare))
	tr.opened(tr.at(3), 5*time.Second)
	require.Equal(t, tr.at(1), tr.provedAt(5*time.Second/leaseShare), "the lease is good until 7.55 s")

	tr = newTrial(t)
	tr.handshake(0)
	tr.proof(25, 25.1)
	require.WithinDuration(t, tr.at(32.76-12), tr.provedAt(term/leaseShare), time.Microsecond)
}

func TestAWallClockThatRanAheadEndsTheLease(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	tr.sleep(time.Hour)
	require.False(t, tr.Live(tr.at(2)))
}

func TestAWallClockSetBackDoesNotLengthenTheLease(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	tr.sleep(-time.Hour)
	require.True(t, tr.Live(tr.at(12.9)))
	require.False(t, tr.Live(tr.at(13.1)))
}

// When the wall clock is set forward, as after a wake-up, no touch had the time to be
// passed on.
func TestAWallClockSetForwardPassesNothingOn(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(15, 15.1)
	forward := func(at float64) time.Time { return stepped(tr.at(at), 10*time.Second) }
	tr.proved(forward(16), forward(16.1), term)
	tr.proved(forward(17), forward(17.1), term)
	require.False(t, tr.Live(forward(32.76).Add(-9*time.Second)), "the touch at 15 s was counted as passed on")
}

// stepped returns the reading of both clocks at t if the wall clock has been set forward
// by d.
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

func TestEvidenceOfALongLifeStaysSmall(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	for s := 0.5; s < 2000; s += 0.5 {
		tr.contact(s, s+0.01)
		tr.proof(s+0.1, s+0.2)
		require.True(t, tr.Live(tr.at(s+0.3)))
	}
	require.LessOrEqual(t, len(tr.touches), touchShare+2)
	require.LessOrEqual(t, len(tr.relays), touchShare)
}

func TestAskingTheLeaseAllocatesNothing(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(0, 0.1)
	require.Zero(t, testing.AllocsPerRun(1000, func() { tr.Live(time.Now()) }))
}
