package beat

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

const (
	quiet   = time.Second // for how long the znodes of these tests may be silent
	timeout = 10 * time.Second
)

// site is a Pool on an ensemble of one server, in virtual time.
type site struct {
	*testing.T
	e *zksim.Ensemble
	p *Pool

	mu      sync.Mutex // guards the following
	answers []zksim.Reply
}

func on(t *testing.T, test func(s *site)) {
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{})
		defer e.Close()
		conn, err := session.Dial(session.Config{Servers: strings.Split(e.ConnectString(), ","), Timeout: timeout,
			Dialer: func(context.Context) zk.Dialer { return e.Dialer() }, Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.Wait(t.Context()))
		s := &site{T: t, e: e, p: NewPool(conn)}
		e.OnReply(func(r zksim.Reply) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if r.Op == jute.OpSetData || r.Op == jute.OpMulti {
				s.answers = append(s.answers, r)
			}
			return false
		})
		test(s)
	})
}

// taken returns the answers to beats since the last call.
func (s *site) taken() (alone, together int) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.answers {
		if r.Op == jute.OpMulti {
			together++
		} else {
			alone++
		}
	}
	s.answers = nil
	return alone, together
}

func (s *site) version(b *Beat) int32 {
	node, found := s.e.Get(b.Path)
	require.True(s, found)
	return node.Stat.Version
}

// every returns the time between two beats with a session timeout of t.
func every(s, t time.Duration) time.Duration { return pause(s, Lease(s, t)) }

// begin makes a znode and begins to beat with it.
func (s *site) begin(i int, data string) (*Beat, *heard) {
	path, h := fmt.Sprintf("/n%d", i), new(heard)
	require.NoError(s, s.e.Create(path, []byte(data)))
	b := s.p.Begin(Config{Path: path, Data: []byte(data), Within: quiet, Lease: new(session.Expiry), Listener: h})
	s.Cleanup(b.End)
	b.Known(0)
	return b, h
}

// heard notes what a Listener is told.
type heard struct {
	mu  sync.Mutex // guards all
	all []string
}

func (h *heard) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, what)
}

func (h *heard) Good()               { h.note("good") }
func (h *heard) Missed(foreign bool) { h.note(fmt.Sprint("missed ", foreign)) }
func (h *heard) Gone()               { h.note("gone") }
func (h *heard) Refused(err error)   { h.note(err.Error()) }

func (h *heard) String() string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, ", ")
}

func TestALeaseEndsBeforeTheSilenceByTheSlowerClock(t *testing.T) {
	const slower = 0.91 // package session
	for _, s := range []time.Duration{100 * time.Millisecond, quiet, 1234 * time.Millisecond, timeout / 2, timeout, time.Hour} {
		for _, t0 := range []time.Duration{100 * time.Millisecond, 4 * time.Second, timeout, time.Hour} {
			l, p := Lease(s, t0), every(s, t0)
			assert.LessOrEqual(t, l, time.Duration(float64(s)*slower), "S %v, T %v", s, t0)
			assert.LessOrEqual(t, l, t0/3)
			assert.Positive(t, l)
			assert.LessOrEqual(t, p, s/5)
			assert.LessOrEqual(t, 4*p, l, "beats may be late")
		}
	}
	assert.Equal(t, 2500*time.Millisecond, Lease(3*time.Second, timeout))
	assert.Equal(t, 200*time.Millisecond, every(quiet, timeout))
	assert.Equal(t, timeout/3, Lease(timeout/2, timeout), "all of T/2 could be as long as the session's lease")
	assert.Equal(t, timeout/12, every(timeout/2, timeout))
}

func TestABeatIsWrittenAndMakesTheLeaseGood(t *testing.T) {
	on(t, func(s *site) {
		b, h := s.begin(0, "data")
		sent := time.Now()
		time.Sleep(time.Minute)
		alone, together := s.taken()
		assert.InDelta(t, time.Minute/every(quiet, timeout), alone, 1)
		assert.Zero(t, together)
		assert.EqualValues(t, alone, s.version(b))
		assert.True(t, b.Lease.Live(time.Now()))
		assert.WithinDuration(t, sent.Add(time.Minute+Lease(quiet, timeout)), b.Lease.End(), every(quiet, timeout))
		assert.Equal(t, "good", h.String())
		node, _ := s.e.Get(b.Path)
		assert.Equal(t, "data", string(node.Data))
	})
}

func TestALateAnswerIsGoodFromTheSendingOfTheBeat(t *testing.T) {
	on(t, func(s *site) {
		const late = quiet / 2
		s.e.Delay(zksim.ServerName(1), "client", late, late)
		sent := time.Now()
		b, _ := s.begin(0, "")
		time.Sleep(late + quiet/100)
		assert.Equal(t, sent.Add(Lease(quiet, timeout)), b.Lease.End())
	})
}

// many begins to beat with n znodes that hold data, all at once.
func (s *site) many(n int, data string) (all []*Beat, told []*heard) {
	for i := range n {
		b, h := s.begin(i, data)
		all, told = append(all, b), append(told, h)
	}
	return all, told
}

// rounds lets so many beats of each znode go by, and returns the answers to them.
func (s *site) rounds(n int) (alone, together int) {
	s.taken()
	time.Sleep(time.Duration(n) * every(quiet, timeout))
	return s.taken()
}

func TestBeatsThatFallTogetherGoOutInOneTransaction(t *testing.T) {
	on(t, func(s *site) {
		all, told := s.many(10, "")
		time.Sleep(every(quiet, timeout) / 5)
		late, _ := s.begin(10, "") // soon enough to go out with them from the next time on
		s.rounds(3)
		before := s.version(late)
		alone, together := s.rounds(20)
		assert.Equal(t, 20, together)
		assert.Zero(t, alone)
		assert.EqualValues(t, 20, s.version(late)-before)
		for i, b := range all {
			assert.True(t, b.Lease.Live(time.Now()))
			assert.Equal(t, "good", told[i].String())
		}
	})
}

func TestBeatsThatDoNotFallTogetherWaitForNone(t *testing.T) {
	on(t, func(s *site) {
		s.begin(0, "")
		time.Sleep(every(quiet, timeout) / 2)
		s.begin(1, "")
		s.rounds(3)
		alone, together := s.rounds(20)
		assert.Equal(t, 40, alone)
		assert.Zero(t, together)
	})
}

// One of them is to blame. The others go on, and together again when it has gone.
func TestARefusedTransactionIsRepeatedOneByOne(t *testing.T) {
	for what, c := range map[string]struct {
		harm func(e *zksim.Ensemble, path string) error
		told string
		then func(b *Beat)
	}{
		"its znode is gone":    {(*zksim.Ensemble).Delete, "good, gone", func(*Beat) {}},
		"somebody has written": {func(e *zksim.Ensemble, path string) error { return e.Set(path, nil) }, "good, missed true", func(*Beat) {}},
		"it may not be written": {func(e *zksim.Ensemble, path string) error { return e.SetACL(path, zk.WorldACL(zk.PermRead)) },
			"good, zk: not authenticated, zk: not authenticated", (*Beat).End},
	} {
		t.Run(what, func(t *testing.T) {
			on(t, func(s *site) {
				all, told := s.many(5, "")
				s.rounds(3)
				require.NoError(t, c.harm(s.e, all[2].Path))
				alone, together := s.rounds(2)
				assert.Equal(t, 2, together)
				assert.LessOrEqual(t, alone, 5+1, "one by one, and the one to blame perhaps once more")
				assert.Equal(t, c.told, told[2].String())
				c.then(all[2])
				s.rounds(3)
				alone, together = s.rounds(20)
				assert.Equal(t, 20, together)
				assert.Zero(t, alone)
				for i, b := range all {
					if i != 2 {
						assert.True(t, b.Lease.Live(time.Now()))
						assert.Equal(t, "good", told[i].String(), "its lease has been good all the time")
					}
				}
			})
		})
	}
}

func TestABeatWithoutAnAnswerStopsTheBeatsUntilTheVersionIsKnown(t *testing.T) {
	for what, c := range map[string]struct {
		match  func(zksim.Reply) bool
		commit bool
	}{
		"it was committed": {func(r zksim.Reply) bool { return r.Op == jute.OpSetData }, true},
		"it was not":       {nil, false},
	} {
		t.Run(what, func(t *testing.T) {
			on(t, func(s *site) {
				b, h := s.begin(0, "")
				s.rounds(3)
				was := s.version(b)
				if c.commit {
					defer s.e.LoseReply(c.match)()
				} else {
					s.e.Cut("client", zksim.ServerName(1))
				}
				time.Sleep(timeout)
				s.e.Heal("client", zksim.ServerName(1))
				time.Sleep(timeout / 2)
				require.Equal(t, "good, missed false", h.String())
				now := s.version(b)
				if c.commit {
					assert.Equal(t, was+1, now)
				}
				alone, together := s.rounds(20)
				assert.Zero(t, alone+together, "nothing is written with a version that is not known")
				assert.False(t, b.Lease.Live(time.Now()))

				b.Known(now)
				alone, _ = s.rounds(20)
				assert.InDelta(t, 20, alone, 1)
				assert.Equal(t, "good, missed false, good", h.String())
				assert.True(t, b.Lease.Live(time.Now()))
			})
		})
	}
}

// A reading may be older than the beats that have been answered since.
func TestAStaleReadingDoesNotSetTheVersionBack(t *testing.T) {
	on(t, func(s *site) {
		b, h := s.begin(0, "")
		for range 20 {
			s.rounds(3)
			b.Known(s.version(b) - 2)
		}
		assert.Equal(t, "good", h.String())
	})
}

func TestAStaleReadingAfterALostAnswerIsFoundOut(t *testing.T) {
	on(t, func(s *site) {
		b, h := s.begin(0, "")
		s.rounds(3)
		stale := s.version(b)
		s.e.LoseReply(func(r zksim.Reply) bool { return r.Op == jute.OpSetData })
		time.Sleep(timeout / 2)
		b.Known(stale)
		assert.Equal(t, "good, missed false, missed false", h.String(), "nobody else has written")
		b.Known(s.version(b))
		s.rounds(3)
		require.NoError(t, s.e.Set(b.Path, nil))
		time.Sleep(every(quiet, timeout))
		assert.Equal(t, "good, missed false, missed false, good, missed true", h.String(), "somebody else has")
	})
}

func TestATransactionHasBounds(t *testing.T) {
	for data, most := range map[int]int{0: mostTogether, 1 << 10: mostBytes >> 10, mostBytes: 1, 2 * mostBytes: 1} {
		t.Run(fmt.Sprint(data, " bytes"), func(t *testing.T) {
			on(t, func(s *site) {
				all, _ := s.many(most+1, strings.Repeat("x", data))
				s.rounds(3)
				alone, together := s.rounds(4)
				if most == 1 {
					assert.Equal(t, []int{2 * 4, 0}, []int{alone, together})
				} else {
					assert.Equal(t, []int{4, 4}, []int{alone, together}, "there is one too many")
				}
				for _, b := range all {
					assert.True(t, b.Lease.Live(time.Now()))
				}
			})
		})
	}
}

func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	on(t, func(s *site) {
		b, h := s.begin(0, "")
		other, _ := s.begin(1, "")
		s.rounds(3)
		b.End()
		was, wasOther := s.version(b), s.version(other)
		b.Known(was + 1)
		s.rounds(20)
		assert.Equal(t, was, s.version(b))
		assert.EqualValues(t, 20, s.version(other)-wasOther)
		assert.Equal(t, "good", h.String())
		b.End()
	})
}

// A beat that is under way at the end is good, and is told to nobody.
func TestAnAnswerAfterTheEndStillCounts(t *testing.T) {
	on(t, func(s *site) {
		const late = quiet / 4
		s.e.Delay(zksim.ServerName(1), "client", late, late)
		b, h := s.begin(0, "")
		time.Sleep(late / 2)
		b.End()
		time.Sleep(late)
		assert.True(t, b.Lease.Live(time.Now()))
		assert.Empty(t, h.String())
		time.Sleep(timeout)
		assert.EqualValues(t, 1, s.version(b))
	})
}

// The process is held up between the answer and its use. Meanwhile the lease runs out, and
// somebody finds that it has.
func TestALeaseThatRanOutBeforeTheAnswerWasTakenIsGoodAgain(t *testing.T) {
	on(t, func(s *site) {
		b, h := s.begin(0, "")
		s.rounds(1)
		b.End()
		s.taken()
		b = &Beat{Config: Config{Path: b.Path, Within: quiet, Lease: new(session.Expiry), Listener: h}, pool: s.p, timer: time.NewTimer(time.Hour)}
		defer b.End()
		answered := time.Now()
		b.Lease.Extend(answered, quiet/10)
		time.Sleep(quiet / 2)
		require.False(t, b.Lease.Live(time.Now()))
		tell := b.answered(answered, answered, false, nil)
		require.True(t, b.Lease.Live(time.Now()))
		require.NotNil(t, tell, "nobody else tells of it")
		tell()
		assert.Equal(t, "good, good", h.String())
	})
}
