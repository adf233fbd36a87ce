package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// term is the session timeout of these tests. Twelve seconds make the shares whole: a proof is good for four, a touch is
// passed on within three, and the lease ends eleven after the newest touch known.
const term = 12 * time.Second

// trial is a lease under a clock of its own.
type trial struct {
	*Lease
	t     *testing.T
	start time.Time
}

func newTrial(t *testing.T) trial { return trial{&Lease{session: 1}, t, time.Now()} }

func (tr trial) at(seconds float64) time.Time {
	return tr.start.Add(time.Duration(seconds * float64(time.Second)))
}

func (tr trial) handshake(at float64)      { tr.opened(tr.at(at)) }
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
	tr.proof(1, 3.5) // a slow answer does not make it longer
	tr.endsAt(5)
	require.Equal(t, time.Second, tr.Remaining(tr.at(4)))
}

func TestALateProofIsCutToElevenTwelfthsAfterTheLastTouch(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(9, 9.1)
	tr.endsAt(11)
}

func TestATouchCountsOnceALaterWriteHasPassedItOn(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(5, 5.1)
	tr.proof(8.3, 8.4) // 21/80 or more after the contact: the leader knows of it when this is answered
	tr.endsAt(11)      // but this proof itself was sent before that
	tr.proof(9, 9.1)
	tr.endsAt(13)
}

// A follower's answer to the leader's ping comes every half tick, of a clock that may be 5 % slow: 3.15 s here.
func TestATouchIsNotPassedOnByAWriteThatComesSooner(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(5, 5.1)
	tr.proof(8.2, 8.3)
	tr.proof(9, 9.1)
	tr.endsAt(11)
}

func TestAProofSentBeforeTheRelayWasAnsweredDoesNotCountTheTouch(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(5, 5.1)
	tr.proof(8.3, 8.9)
	tr.proof(8.5, 9)
	tr.endsAt(11)
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
	tr.endsAt(4.1)
	// 0.95 of the timeout later it wakes up, and a quorum still commits what it sends: the session may end any moment.
	for _, sent := range []float64{11.4, 11.6, 12.5, 14.6} {
		tr.proof(sent, sent+0.1)
		require.False(t, tr.Live(tr.at(sent+0.1)), "proof at %v", sent)
	}
	tr.proof(14.7, 14.8) // passes on what was seen at 11.4
	require.False(t, tr.Live(tr.at(14.8)))
	tr.proof(14.9, 15)
	tr.endsAt(18.9)
}

func TestAReconnectForgetsWhatTheOldServerSaw(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.contact(3, 3.1)
	tr.proof(6.5, 6.6) // would have passed it on
	tr.handshake(7)
	tr.proof(16, 16.1)
	tr.endsAt(18) // 11 s after the handshake, which the leader itself has seen
}

func TestAResumedSessionIsNoOlderThanItsFirstHandshake(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(5)
	tr.handshake(2) // told late
	tr.proof(12, 12.1)
	tr.endsAt(16)
}

func TestTheLeaseNeverMovesBack(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(2, 2.1)
	tr.proof(1, 2.2) // overtaken on its way
	tr.endsAt(6)
	last := tr.End()
	for _, sent := range []float64{8, 7, 9, 8.5, 3, 10.9, 20, 19, 21} {
		tr.proof(sent, 22)
		require.False(t, tr.End().Before(last), "proof at %v", sent)
		last = tr.End()
	}
}

func TestAWallClockThatRanAheadEndsTheLease(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	e := *tr.end.Load()
	e.wall -= int64(time.Hour) // as after an hour's sleep, in which the monotonic clock stood still
	tr.end.Store(&e)
	require.False(t, tr.Live(tr.at(2)))
}

func TestAWallClockSetBackDoesNotLengthenTheLease(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(1, 1.1)
	e := *tr.end.Load()
	e.wall += int64(time.Hour)
	tr.end.Store(&e)
	require.True(t, tr.Live(tr.at(4.9)))
	require.False(t, tr.Live(tr.at(5.1)))
}

func TestEvidenceOfALongLifeStaysSmall(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	for s := 0.5; s < 2000; s += 0.5 {
		tr.contact(s, s+0.01)
		tr.proof(s+0.1, s+0.2)
		require.True(t, tr.Live(tr.at(s+0.3)))
	}
	require.LessOrEqual(t, len(tr.touches), 40)
	require.LessOrEqual(t, len(tr.relays), 40)
}

func TestAskingTheLeaseAllocatesNothing(t *testing.T) {
	tr := newTrial(t)
	tr.handshake(0)
	tr.proof(0, 0.1)
	require.Zero(t, testing.AllocsPerRun(1000, func() { tr.Live(time.Now()) }))
}
