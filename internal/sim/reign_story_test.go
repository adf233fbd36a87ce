package sim

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// dozing is a log handler that holds up a candidate's owner goroutine when it is asked
// whether to log. The effect is that of a pause of the process.
type dozing struct {
	slog.Handler
	doze *atomic.Bool
}

func (d dozing) WithAttrs(more []slog.Attr) slog.Handler {
	return dozing{d.Handler.WithAttrs(more), d.doze}
}
func (d dozing) Enabled(ctx context.Context, level slog.Level) bool {
	if level == slog.LevelDebug && d.doze.Swap(false) {
		time.Sleep(time.Minute)
	}
	return d.Handler.Enabled(ctx, level)
}

// A term ends with its lease, and not when the candidate notices that.
func TestALeaderThatNoticesLateTellsTheLeasesEnd(t *testing.T) {
	tell(t, func(s story) {
		var doze atomic.Bool
		said, log := listen(slog.LevelInfo)
		p := &plug{dial: s.e.DialerFor("a")}
		var ended collected[election.TermEndedInfo]
		trace := &election.Trace{TermEnded: ended.add}
		x := s.candidate(s.client("a", election.WithDialer(p.Dial), election.WithTrace(trace)),
			election.WithLogger(slog.New(dozing{log.Handler(), &doze})))
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		began := time.Now()
		time.Sleep(time.Minute)
		said.take()
		p.pull()
		time.Sleep(time.Second)
		end := term.Deadline()
		doze.Store(true)
		time.Sleep(2 * time.Minute)

		var lost []heard
		for _, l := range said.take() {
			if l.what == "leadership lost" {
				lost = append(lost, l)
			}
		}
		require.Len(s, lost, 1)
		assert.Greater(s, lost[0].at-said.since(end), 30*time.Second, "it notices late")
		assert.Equal(s, election.ErrLeaseExpired, lost[0].with["cause"])
		assert.WithinDuration(s, end, lost[0].with["ended"].(time.Time), 0)
		assert.Equal(s, end.Sub(began), lost[0].with["lasted"])
		status := x.Status()
		assert.Equal(s, []election.TermEndedInfo{{Path: status.Path, ID: status.ID, Token: term.Token(), Began: began,
			Ended: end.Round(0), Lasted: end.Sub(began), Cause: election.ErrLeaseExpired}}, ended.take())
	})
}

func TestTheLongestMaximumTermIsLong(t *testing.T) {
	tell(t, func(s story) {
		x := s.start(s.client("a"), election.WithMaxTerm(math.MaxInt64))
		s.start(s.client("b"))
		time.Sleep(time.Hour)
		assert.True(s, x.HasLeadership())
	})
}

// A term ends within 10 % of the maximum, and only if another candidate waits.
func TestAMaximumTermEndsWithinATenthOfIt(t *testing.T) {
	tell(t, func(s story) {
		const term = time.Hour
		x := s.start(s.client("a"), election.WithMaxTerm(term))
		began, err := x.Await(s.Context())
		require.NoError(s, err)
		time.Sleep(3 * term)
		require.True(s, x.HasLeadership(), "nobody waits")
		require.NoError(s, began.Err())

		y := s.start(s.client("b"), election.WithMaxTerm(term))
		first, err := y.Await(s.Context())
		require.NoError(s, err)
		since := time.Now()
		assert.ErrorIs(s, began.Err(), election.ErrResigned)
		<-first.Done()
		assert.GreaterOrEqual(s, time.Since(since), term*9/10)
		assert.LessOrEqual(s, time.Since(since), term*11/10)
	})
}
