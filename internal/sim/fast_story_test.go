package sim

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

const silent = time.Second // for how long a candidate may be silent in these stories

// paper is what a log is written on. It may be read while that goes on.
type paper struct {
	mu   sync.Mutex // guards the following
	text strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// crash cuts a client off from the server for good.
func (s story) crash(name string) { s.e.Cut(name, zksim.ServerName(1)) }

// leads waits until the candidate leads, and returns how long that took.
func (s story) leads(c *election.Candidate, limit time.Duration) time.Duration {
	s.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.Context(), limit)
	defer cancel()
	_, err := c.Await(ctx)
	require.NoError(s, err)
	return time.Since(began)
}

// fast starts candidates with fast failover, each on its own client, in line by name.
func (s story) fast(names ...string) (all []*election.Candidate) {
	for _, name := range names {
		all = append(all, s.start(s.client(name), election.WithID(name), election.WithFastFailover(silent)))
	}
	s.leads(all[0], silent)
	time.Sleep(2 * silent)
	synctest.Wait()
	return all
}

func TestACrashedLeaderIsReplacedWithinItsOwnTime(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b", "c")
		s.crash("a")
		took := s.leads(all[1], 10*time.Second)
		require.GreaterOrEqual(s, took, silent*9/10)
		require.LessOrEqual(s, took, silent*11/10+300*time.Millisecond)
		require.False(s, all[0].HasLeadership())
		require.Len(s, s.e.Children(job), 2, "its znode is gone")
	})
}

func TestTwoThatCrashAtOnceAreReplacedOneAfterTheOther(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b", "c", "d")
		s.crash("a")
		s.crash("b")
		took := s.leads(all[2], 10*time.Second)
		require.LessOrEqual(s, took, 2*silent*11/10+600*time.Millisecond)
		time.Sleep(2 * silent)
		s.crash("c")
		s.leads(all[3], silent*11/10+300*time.Millisecond)
	})
}

// Nobody tells the third in line that the first has gone.
func TestTheSecondBeatsAlsoIfNobodyToldItThatItIsSecond(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b", "c", "d", "e", "f")
		for i := range 3 {
			require.NoError(s, all[i].Shutdown(s.Context()))
			s.leads(all[i+1], silent)
		}
		time.Sleep(2 * silent)
		s.crash("d")
		s.crash("e")
		s.leads(all[5], 2*silent*11/10+600*time.Millisecond)
	})
}

func TestAFrozenLeaderIsReplacedAndKnowsWhenItComesBack(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b")
		term := all[0].Term()
		s.crash("a")
		s.leads(all[1], 10*time.Second)
		require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
		s.e.Heal("a", zksim.ServerName(1))
		require.Eventually(s, func() bool { return all[0].Status().Place == 2 }, 30*time.Second, 10*time.Millisecond, "it stands again")
		require.True(s, all[1].HasLeadership())
	})
}

// All that is not a beat leaves the short lease as it is.
func TestOnlyBeatsExtendTheShortLease(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		cand := s.start(a, election.WithFastFailover(silent))
		s.leads(cand, silent)
		term := cand.Term()
		defer s.e.Refuse(func(r zksim.Asked) jute.Code {
			if r.Op == jute.OpSetData {
				return jute.CodeThrottled
			}
			return jute.CodeOK
		})()
		end := time.Now().Add(silent)
		for time.Now().Before(end) {
			_ = a.Do(s.Context(), func(c *zk.Conn) error {
				_, err := c.Create(job+"-x", nil, zk.FlagSequence, zk.WorldACL(zk.PermAll))
				return err
			})
			time.Sleep(silent / 20)
		}
		require.ErrorIs(s, term.Err(), election.ErrLeaseExpired)
	})
}

func TestAQuietLeaderWithFastFailoverKeepsItsTerm(t *testing.T) {
	tell(t, func(s story) {
		all := s.fast("a", "b", "c")
		term := all[0].Term()
		writes := s.countWrites()
		time.Sleep(time.Minute)
		require.NoError(s, term.Err())
		require.InDelta(s, 2*5*60, writes(), 40, "two candidates beat, five times in the time of silence")
	})
}

// countWrites counts the answered writes of znodes from now on.
func (s story) countWrites() func() int {
	var mu sync.Mutex
	n := 0
	stop := s.e.OnReply(func(r zksim.Reply) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Op == jute.OpSetData && r.Code == jute.CodeOK {
			n++
		}
		return false
	})
	s.Cleanup(stop)
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func TestACandidateWithoutFastFailoverIsNeverEvicted(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithID("a"))
		s.leads(a, silent)
		var logged paper
		log := slog.New(slog.NewTextHandler(&logged, nil))
		b := s.start(s.client("b"), election.WithFastFailover(silent), election.WithLogger(log))
		c := s.start(s.client("c"), election.WithFastFailover(silent))
		time.Sleep(silent)
		s.crash("a")
		took := s.leads(b, 30*time.Second)
		require.Greater(s, took, 5*time.Second, "its session expires")
		time.Sleep(2 * silent)
		s.crash("b")
		s.leads(c, silent*11/10+300*time.Millisecond)
		assert.Equal(s, 1, strings.Count(logged.String(), "level=WARN"), logged.String())
		assert.Contains(s, logged.String(), "has no fast failover")
	})
}

// Another library's candidate is further ahead. It is warned of once, whatever comes and goes.
func TestAnotherLibrarysCandidateInLineIsWarnedOfOnce(t *testing.T) {
	tell(t, func(s story) {
		first := s.start(s.client("first")) // which makes the path
		foreign := "0123456789abcdef0123456789abcdef__lock__0000000001"
		require.NoError(s, s.e.Create(job+"/"+foreign, []byte("kazoo")))
		s.e.SetCversion(job, 5)
		a := s.start(s.client("a"), election.WithFastFailover(silent))
		var logged paper
		b := s.start(s.client("b"), election.WithFastFailover(silent), election.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		require.NoError(s, first.Close())
		time.Sleep(time.Hour)
		require.NoError(s, a.Close())
		time.Sleep(time.Minute)
		require.Equal(s, 2, b.Status().Place, "behind the foreign one")
		assert.Equal(s, 1, strings.Count(logged.String(), "level=WARN"), logged.String())
		assert.Contains(s, logged.String(), "another library's candidate is in line")
		assert.Contains(s, logged.String(), "znode="+foreign)
	})
}

func TestWhoWaitsBehindWithoutTheOptionWaitsForTheSession(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithFastFailover(silent))
		s.leads(a, silent)
		b := s.start(s.client("b"))
		time.Sleep(silent)
		s.crash("a")
		require.Greater(s, s.leads(b, 30*time.Second), 5*time.Second)
	})
}

func TestWritesByHandDelayBeatsAndAreToldOf(t *testing.T) {
	tell(t, func(s story) {
		var logged paper
		a := s.start(s.client("a"), election.WithFastFailover(silent), election.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		s.leads(a, silent)
		term := a.Term()
		b := s.client("b")
		node := a.Status().Znode
		for range 3 {
			time.Sleep(silent)
			require.NoError(s, b.Do(s.Context(), func(c *zk.Conn) error {
				_, err := c.Set(node, []byte("x"), -1)
				return err
			}))
		}
		time.Sleep(silent)
		synctest.Wait()
		require.NoError(s, term.Err())
		assert.Contains(s, logged.String(), "somebody else has written")
		time.Sleep(time.Second)
		at, err := b.Leader(s.Context(), job)
		require.NoError(s, err)
		require.NotEqual(s, "x", at.ID, "the next beat has put it right")
	})
}

func TestStartSaysThatFastFailoverNeedsToWriteTheOwnZnode(t *testing.T) {
	tell(t, func(s story) {
		const others = zk.PermAll &^ zk.PermWrite
		refused := s.candidate(s.client("a"), election.WithFastFailover(silent), election.WithACL(zk.WorldACL(others)))
		err := refused.Start(s.Context())
		require.ErrorIs(s, err, zk.ErrNoAuth)
		require.ErrorContains(s, err, "fast failover")
		synctest.Wait()
		require.Empty(s, s.e.Children(job), "nothing is left of it")

		may := s.start(s.client("b"), election.WithFastFailover(silent), election.WithACL(zk.WorldACL(zk.PermAll)))
		s.leads(may, silent)
		time.Sleep(silent)
		require.True(s, may.HasLeadership())
	})
}

// Whether the candidate may write is tried once for each znode, and not at each reading.
func TestThePermissionToWriteIsTriedOnce(t *testing.T) {
	tell(t, func(s story) {
		var tries, lost atomic.Int32
		defer s.e.Refuse(func(r zksim.Asked) jute.Code {
			if r.Op == jute.OpMulti && r.Path == job { // every other one begins with the own znode
				tries.Add(1)
			}
			return jute.CodeOK
		})()
		defer s.e.OnReply(func(r zksim.Reply) bool {
			return r.Op == jute.OpSetData && lost.CompareAndSwap(1, 0)
		})()
		a := s.start(s.client("a"), election.WithFastFailover(silent), election.WithACL(zk.WorldACL(zk.PermAll)),
			election.WithStrictHandover())
		s.leads(a, 20*time.Second)
		require.EqualValues(s, 1, tries.Load())
		for range 5 {
			lost.Store(1) // the version of the own znode is not known then, so it is read again
			time.Sleep(10 * silent)
			synctest.Wait()
			require.Zero(s, lost.Load())
			require.True(s, a.HasLeadership())
		}
		require.EqualValues(s, 1, tries.Load())
	})
}

func TestWhatFastFailoverDoesNotTakeIsNamed(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a") // asks for 10 s
		for text, opts := range map[string][]election.Option{
			"WithFastFailover: 99ms is less than 100ms":                           {election.WithFastFailover(99 * time.Millisecond)},
			"WithFastFailover: -1s is less than 100ms":                            {election.WithFastFailover(-time.Second)},
			"WithFastFailover: 5.001s is over half of the session timeout of 10s": {election.WithFastFailover(5001 * time.Millisecond)},
			`WithFastFailover: naming "n_" has no UUID`:                           {election.WithFastFailover(silent), election.WithNaming(election.ZooKeeperRecipe)},
			`WithMetadata: key "election.failover-ms" begins with "election."`:    {election.WithMetadata(map[string]string{"election.failover-ms": "1"})},
		} {
			_, err := election.NewCandidate(c, job, opts...)
			assert.ErrorContains(s, err, text)
		}
		_, err := election.NewCandidate(c, job, election.WithFastFailover(5*time.Second))
		require.NoError(s, err)
	})
}

// The server grants a quarter of the session timeout that the client asks for.
func TestAShortGrantedTimeoutShortensFastFailoverWithAWarning(t *testing.T) {
	tell(t, func(s story) {
		s.e.Grant(4 * time.Second)
		var logged paper
		a := s.start(s.client("a", election.WithSessionTimeout(16*time.Second)), election.WithFastFailover(8*time.Second),
			election.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		s.leads(a, 4*time.Second)
		time.Sleep(time.Minute)
		require.True(s, a.HasLeadership())
		require.Equal(s, 1, strings.Count(logged.String(), "level=WARN"), logged.String())
		require.Contains(s, logged.String(), "asked=8s timeout=4s within=2s")
	})
}
