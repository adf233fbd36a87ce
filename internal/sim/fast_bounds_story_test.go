package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// These stories show the figures that docs/failover.md and the README give for fast
// failover.

// silences are values of S for the session timeout T of 10 s: the shortest, a common one,
// the last for which the short lease is S/1.2 and not T/3, and the longest.
var silences = []time.Duration{100 * time.Millisecond, time.Second, 4 * time.Second, 5 * time.Second}

// forEachSilence tells a story for each S.
func forEachSilence(t *testing.T, f func(s story, within time.Duration)) {
	for _, within := range silences {
		t.Run(within.String(), func(t *testing.T) { tell(t, func(s story) { f(s, within) }) })
	}
}

// pair starts a leader a and a candidate b behind it, and counts the terms that end.
func (s story) pair(within time.Duration) (a, b *election.Candidate, ended *atomic.Int64) {
	ended = new(atomic.Int64)
	count := election.WithListener(election.ListenerFuncs{OnNotLeader: func(*election.Term) { ended.Add(1) }})
	a = s.start(s.client("a"), election.WithFastFailover(within), count)
	s.leads(a, within)
	b = s.start(s.client("b"), election.WithFastFailover(within), count)
	time.Sleep(2 * within)
	return a, b, ended
}

// phases calls f at moments that are spread over the time between two beats.
func phases(within time.Duration, f func()) {
	const all = 8
	for phase := range time.Duration(all) {
		time.Sleep(3*within + phase*within/5/all)
		f()
	}
}

func TestALeaderRidesOutHalfOfTheTimeOfSilence(t *testing.T) {
	forEachSilence(t, func(s story, within time.Duration) {
		a, _, ended := s.pair(within)
		phases(within, func() {
			s.e.Unplug("a")
			time.Sleep(within/2 - time.Millisecond)
			s.e.Plug("a")
		})
		synctest.Wait()
		require.Zero(s, ended.Load(), "terms that ended")
		require.True(s, a.HasLeadership())
	})
}

func TestAShortLeaseRidesOutAConstantLatencyOfAThird(t *testing.T) {
	forEachSilence(t, func(s story, within time.Duration) {
		a, _, ended := s.pair(within)
		phases(within, func() {
			s.delay("a", within/6-time.Millisecond)
			time.Sleep(20 * within)
			s.delay("a", 0)
		})
		synctest.Wait()
		require.Zero(s, ended.Load(), "terms that ended")
		require.True(s, a.HasLeadership())
	})
}

// A leader that is silent for longer than its short lease loses its term. It keeps its
// place if it is silent for less than 4S/5.
func TestALeaderThatIsSilentForLessThanItsTimeKeepsItsPlace(t *testing.T) {
	forEachSilence(t, func(s story, within time.Duration) {
		a, b, _ := s.pair(within)
		token := a.Term().Token()
		phases(within, func() {
			s.e.Unplug("a")
			time.Sleep(within*4/5 - time.Millisecond)
			s.e.Plug("a")
			s.leads(a, within)
			require.Equal(s, token, a.Term().Token())
			require.False(s, b.HasLeadership())
		})
	})
}

func TestACrashedLeaderStopsBeforeItIsReplacedAboutItsTimeLater(t *testing.T) {
	for phase := range time.Duration(8) { // of the crash between two beats
		t.Run(fmt.Sprint(int64(phase)), func(t *testing.T) {
			forEachSilence(t, func(s story, within time.Duration) {
				a, b, _ := s.pair(within)
				time.Sleep(phase * within / 5 / 8)
				term := a.Term()
				s.e.Unplug("a")
				cut := time.Now()
				<-term.Done()
				require.LessOrEqual(s, time.Since(cut), within*10/12)
				require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)

				s.leads(b, 10*time.Second)
				took := time.Since(cut)
				require.GreaterOrEqual(s, took, within*4/5)
				require.LessOrEqual(s, took, within+100*time.Millisecond, "requests take next to no time here")
			})
		})
	}
}

// Whoever comes after the crash counts from when it has first seen the znode.
func TestANewcomerReplacesACrashedLeaderToo(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithFastFailover(silent))
		s.leads(a, silent)
		s.crash("a")
		time.Sleep(3 * silent)
		b := s.start(s.client("b"), election.WithFastFailover(silent))
		took := s.leads(b, 10*time.Second)
		require.LessOrEqual(s, took, silent*11/10+300*time.Millisecond)
		require.GreaterOrEqual(s, took, silent*9/10)
	})
}

// A stall of the ensemble ends the term, and evicts nobody: an eviction needs a write that
// is committed.
func TestAStallOfTheEnsembleEvictsNobody(t *testing.T) {
	stalls := map[string]func(e *zksim.Ensemble, stalled bool){
		"disk": func(e *zksim.Ensemble, stalled bool) {
			if stalled {
				e.SlowDisk(1, 3*silent, 3*silent)
			} else {
				e.SlowDisk(1, 0, 0)
			}
		},
		"server": func(e *zksim.Ensemble, stalled bool) {
			if stalled {
				e.Freeze(1)
			} else {
				e.Thaw(1)
			}
		},
	}
	for what, stall := range stalls {
		t.Run(what, func(t *testing.T) {
			tell(t, func(s story) {
				a, b, _ := s.pair(silent)
				phases(silent, func() {
					term := a.Term()
					stall(s.e, true)
					time.Sleep(3 * silent)
					require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
					stall(s.e, false)
					s.leads(a, 10*silent)
					require.Equal(s, term.Token(), a.Term().Token())
					require.False(s, b.HasLeadership())
				})
			})
		})
	}
}

// With S = 1 s each of the first two writes five times a second, and the one behind it
// hears of that and reads it.
func TestWhatFastFailoverCosts(t *testing.T) {
	for _, n := range []int{2, 3, 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			tell(t, func(s story) {
				names := make([]string, n)
				for i := range names {
					names[i] = fmt.Sprintf("c%02d", i)
				}
				s.fast(names...)
				time.Sleep(10 * silent)
				var mu sync.Mutex
				asked := map[jute.Op]int{}
				stop := s.e.OnReply(func(r zksim.Reply) bool {
					mu.Lock()
					defer mu.Unlock()
					asked[r.Op]++
					return false
				})
				time.Sleep(time.Minute)
				stop()
				s.Log(n, asked)
				readers := min(n-1, 2)
				assert.InDelta(s, 2*5*60, asked[jute.OpSetData], 20)
				assert.InDelta(s, readers*5*60, asked[jute.OpGetData], 100)
			})
		})
	}
}

// What "What is not promised" says of writes by hand: many in a row end the term of the
// leader, and delay the take-over from a dead one.
func TestManyWritesByHandEndATermAndDelayTheTakeOver(t *testing.T) {
	tell(t, func(s story) {
		a, b, _ := s.pair(silent)
		term, node := a.Term(), a.Status().Znode
		written, ok := s.e.Get(node)
		require.True(s, ok)
		write := func(long time.Duration) {
			for range long / (silent / 50) {
				require.NoError(s, s.e.Set(node, written.Data))
				time.Sleep(silent / 50)
			}
		}
		write(2 * silent)
		require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
		require.False(s, b.HasLeadership())
		s.leads(a, silent)

		s.crash("a")
		write(3 * silent)
		require.False(s, b.HasLeadership())
		s.leads(b, silent*11/10+300*time.Millisecond)
	})
}

// The next candidate goes by the time that it reads in the znode ahead, whoever wrote it.
// So a time written by hand makes it lead too early. That is not promised.
func TestATimeWrittenByHandIsGoneBy(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithID("a"))
		s.leads(a, silent)
		b := s.start(s.client("b"), election.WithFastFailover(silent))
		time.Sleep(2 * silent)
		require.False(s, b.HasLeadership())
		require.NoError(s, s.e.Set(a.Status().Znode, []byte("a?election.failover-ms=100")))
		require.LessOrEqual(s, s.leads(b, silent), silent/2)
	})
}
