package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Stories about ensembles that lose their data, and about clients that servers greet and
// never serve.

// tellOf plays a story on an ensemble with the given config.
func tellOf(t *testing.T, cfg zksim.Config, f func(s story)) {
	synctest.Test(t, func(t *testing.T) {
		s := story{t, zksim.New(cfg)}
		defer s.e.Close()
		f(s)
	})
}

// until waits for a condition and returns how long that took.
func (s story) until(limit time.Duration, what string, is func() bool) time.Duration {
	s.Helper()
	began := time.Now()
	for !is() {
		require.Less(s, time.Since(began), limit, what)
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// lines is a log handler that keeps what is logged at Warn.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "")
}

func (l *lines) with(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

func warningsTo(w io.Writer) election.ClientOption {
	return election.WithClientLogger(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

const sessionTimeout = election.DefaultSessionTimeout

// losses are the ways in which an ensemble can lose what its clients have seen, after it
// was down for a while.
var losses = map[string]func(s story, away time.Duration){
	"wiped": func(s story, away time.Duration) {
		s.down(away)
		s.e.Wipe()
	},
	"rolled back": func(s story, away time.Duration) {
		b := s.e.Backup()
		// More epochs, or the new one would be later than what clients have seen.
		for id := s.servers(); s.servers() > 1 && id > 1; id-- {
			s.e.Crash(id)
			time.Sleep(sessionTimeout)
			s.e.Restart(id)
			time.Sleep(sessionTimeout)
		}
		for range 20 {
			require.NoError(s, s.e.Set(job, nil))
		}
		time.Sleep(sessionTimeout)
		s.down(away)
		s.e.Rollback(b)
	},
}

func (s story) servers() int { return strings.Count(s.e.ConnectString(), ",") + 1 }

// down stops all servers for a time.
func (s story) down(away time.Duration) {
	if away == 0 {
		return
	}
	for id := 1; id <= s.servers(); id++ {
		s.e.Crash(id)
	}
	time.Sleep(away)
}

func TestCandidatesAreBackAfterTheEnsembleHasLostItsData(t *testing.T) {
	for what, lose := range losses {
		for _, servers := range []int{1, 3} {
			for _, away := range []time.Duration{0, 3 * time.Second, time.Minute} {
				t.Run(fmt.Sprintf("%s, of %d, away for %v", what, servers, away), func(t *testing.T) {
					tellOf(t, zksim.Config{Servers: servers}, func(s story) {
						var log lines
						x, y := s.start(s.client("a", warningsTo(&log))), s.start(s.client("b"))
						s.until(time.Second, "a leader", x.HasLeadership)
						time.Sleep(time.Minute)

						old := []int64{x.Status().SessionID, y.Status().SessionID}
						lose(s, away)
						s.until(sessionTimeout+2*time.Second, "both are back", func() bool {
							stands := func(c *election.Candidate) bool {
								_, ok := s.e.Get(c.Status().Znode)
								return ok && !slices.Contains(old, c.Status().SessionID)
							}
							return stands(x) && stands(y) && (x.HasLeadership() || y.HasLeadership())
						})
						time.Sleep(3 * sessionTimeout)
						require.NotEqual(s, x.HasLeadership(), y.HasLeadership())
						require.Len(s, s.e.Children(job), 2)
						require.Equal(s, 1, log.with("refuses this one, which has seen later transactions"), "%v",
							log.String())
					})
				})
			}
		}
	}
}

// Servers without a quorum end connections as servers do that refuse a zxid. The session
// survives, however long that lasts, because a new leader starts every session's timer
// again.
func TestAnOutageEndsNoSession(t *testing.T) {
	tellOf(t, zksim.Config{Servers: 3}, func(s story) {
		x := s.start(s.client("a"))
		s.until(time.Second, "a leader", x.HasLeadership)
		before := x.Status()
		for range 3 {
			leader := s.e.Leader()
			for id := 1; id <= 3; id++ {
				if id != leader {
					s.e.Crash(id)
				}
			}
			time.Sleep(20 * time.Minute)
			require.Positive(s, s.e.Stats().Connections)
			for id := 1; id <= 3; id++ {
				s.e.Restart(id)
			}
			s.until(sessionTimeout+2*time.Second, "it leads again", x.HasLeadership)
			require.Equal(s, before.SessionID, x.Status().SessionID)
			require.Equal(s, before.Znode, x.Status().Znode)
		}
	})
}

func TestAClientThatIsGreetedAndNeverServedMakesRoomForTheNext(t *testing.T) {
	tellOf(t, zksim.Config{Servers: 3}, func(s story) {
		var log lines
		x := s.start(s.client("a", warningsTo(&log)))
		s.until(time.Second, "a leader", x.HasLeadership)
		y := s.start(s.client("b"))
		time.Sleep(time.Minute)

		s.e.Mute("a")
		// 2T until the session is given up, T until the ensemble ends it, and one tick.
		s.until(3*sessionTimeout+2*time.Second+2*time.Second, "the next leads", y.HasLeadership)
		require.False(s, x.HasLeadership())
		require.Equal(s, 1, log.with("session given up"), "%s", log.String())
		time.Sleep(5 * time.Minute)
		require.True(s, y.HasLeadership())
		require.Len(s, s.e.Children(job), 1)

		s.e.Unmute("a")
		s.until(sessionTimeout+2*time.Second, "it stands again", func() bool { return len(s.e.Children(job)) == 2 })
		require.NoError(s, y.Resign(context.Background()))
		s.until(time.Second, "and leads", x.HasLeadership)
	})
}

// A session is kept if it is served again in time.
func TestASessionThatIsNotServedForAWhileIsKept(t *testing.T) {
	tellOf(t, zksim.Config{Servers: 3}, func(s story) {
		x := s.start(s.client("a"))
		s.until(time.Second, "a leader", x.HasLeadership)
		before := x.Status().SessionID
		for range 10 {
			s.e.Mute("a")
			time.Sleep(2*sessionTimeout - 2*time.Second)
			s.e.Unmute("a")
			s.until(sessionTimeout+2*time.Second, "it leads again", x.HasLeadership)
			require.Equal(s, before, x.Status().SessionID)
			time.Sleep(time.Second)
		}
		require.Len(s, s.e.Children(job), 1)
		require.NoError(s, x.Close())
		require.Empty(s, s.e.Children(job))
	})
}
