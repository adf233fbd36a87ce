package election

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

func TestATermEndsNoLaterThanItsLease(t *testing.T) {
	began := time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	for name, c := range map[string]struct {
		now, leaseEnd time.Time
		ends          time.Time
	}{
		"ended by something else":           {at(5), time.Time{}, at(5)},
		"noticed after a pause":             {at(50), at(7), at(7)},
		"the lease was good until just now": {at(5), at(5), at(5)},
		"the lease goes on":                 {at(5), at(8), at(5)},
		"it had never been good":            {at(5), at(-1), at(-1)},
	} {
		r := reignUntil(began, c.now, c.leaseEnd)
		assert.True(t, c.ends.Equal(r.ended), "%s: %v", name, r)
		assert.Equal(t, max(c.ends.Sub(began), 0), r.lasted, name)
	}
}

// No goroutine runs while a process is paused. That a term's timer is stopped has the same
// effect: the end of the lease is noticed only later.
func TestATermThatAPauseEndsIsReportedUpToItsLeasesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{})
		defer e.Close()
		var told []TermEndedInfo
		client, err := Connect(t.Context(), e.ConnectString(), WithDialer(e.DialerFor("a")), WithClientLogger(slog.New(slog.DiscardHandler)),
			WithTrace(&Trace{TermEnded: func(info TermEndedInfo) { told = append(told, info) }}))
		require.NoError(t, err)
		defer client.Close()
		candidate, err := NewCandidate(client, "/job", WithID("x"))
		require.NoError(t, err)
		term, err := candidate.Await(t.Context())
		require.NoError(t, err)
		began := term.began
		time.Sleep(time.Minute)

		e.Freeze(1)
		time.Sleep(time.Second) // no answer extends the lease from now on
		term.mu.Lock()
		term.timer.Stop()
		term.mu.Unlock()
		end := term.Deadline()
		time.Sleep(time.Until(end) + time.Millisecond)
		require.Error(t, term.Context().Err(), "it is noticed now")
		synctest.Wait()
		assert.Equal(t, []TermEndedInfo{{Path: "/job", ID: "x", Token: term.Token(), Began: began, Ended: end.Round(0),
			Lasted: end.Sub(began), Cause: ErrLeaseExpired}}, told)
		e.Thaw(1)
	})
}
