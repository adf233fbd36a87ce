package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/zksim"
)

// believed is for how long a leader with strict hand-over may consider itself leader after
// its last proof, in these stories: a third of 10 s.
const believed = 10 * time.Second / 3

// record is the record of the last reign at the job's path.
func (s story) record() (r reign.Record, version int32) {
	n, ok := s.e.Get(job)
	require.True(s, ok)
	return reign.Decode(n.Data), n.Stat.Version
}

// strict starts candidates with strict hand-over, each on its own client, in line.
func (s story) strict(names ...string) (all []*election.Candidate) {
	for _, name := range names {
		all = append(all, s.start(s.client(name), election.WithID(name), election.WithStrictHandover()))
	}
	return all
}

// meet has the candidates' listeners note whenever two lead at once.
func (s story) meet(all []*election.Candidate) (overlaps *int) {
	overlaps = new(int)
	for _, c := range all {
		c.AddListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) {
			for _, other := range all {
				if other != c && other.HasLeadership() {
					*overlaps++
				}
			}
		}})
	}
	return overlaps
}

func TestTheFirstOnANewPathWaitsForWhomThereIsNoRecord(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		took := s.leads(all[0], 10*time.Second)
		require.InDelta(s, reign.Wait(believed).Seconds(), took.Seconds(), .1)
		r, _ := s.record()
		require.Equal(s, all[0].Term().Token(), r.Reign)
		require.False(s, r.Left)
		n, _ := s.e.Get(job)
		require.Zero(s, n.Stat.EphemeralOwner, "the path is persistent")

		for _, c := range all {
			require.NoError(s, c.Shutdown(s.Context()))
		}
		r, _ = s.record()
		require.True(s, r.Left)
		time.Sleep(time.Hour)
		c := s.strict("c")[0]
		require.Less(s, s.leads(c, 10*time.Second), time.Second, "the record says that the last one has left")
	})
}

func TestALeaderThatLeavesInOrderIsNotWaitedFor(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b", "c")
		s.leads(all[0], 10*time.Second)
		for i := range 2 {
			time.Sleep(time.Minute)
			synctest.Wait()
			var writes, reads int
			remove := s.e.OnReply(func(r zksim.Reply) bool {
				if r.Client == string(rune('b'+i)) {
					switch r.Op {
					case jute.OpMulti:
						writes++
					case jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2, jute.OpExists:
						reads++
					}
				}
				return false
			})
			require.NoError(s, all[i].Shutdown(s.Context()))
			require.Less(s, s.leads(all[i+1], 10*time.Second), 100*time.Millisecond)
			remove()
			s.Logf("hand-over %d: the next one sent %d transactions and %d reads until it led", i+1, writes, reads)
		}
	})
}

func TestACrashedLeaderIsWaitedFor(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		s.leads(all[0], 10*time.Second)
		time.Sleep(time.Minute)
		s.crash("a")
		var gone time.Time
		for began := time.Now(); gone.IsZero(); time.Sleep(10 * time.Millisecond) {
			require.Less(s, time.Since(began), time.Minute)
			if len(s.e.Children(job)) == 1 {
				gone = time.Now()
			}
		}
		s.leads(all[1], 10*time.Second)
		require.InDelta(s, reign.Wait(believed).Seconds(), time.Since(gone).Seconds(), .1)
	})
}

// Without the option, the one whose znode is deleted by hand may learn of it last.
func TestADeletedZnodeMakesNoTwoLeaders(t *testing.T) {
	for _, opts := range [][]election.Option{{election.WithStrictHandover()},
		{election.WithStrictHandover(), election.WithFastFailover(silent)}} {
		t.Run(fmt.Sprint(len(opts)), func(t *testing.T) {
			tell(t, func(s story) {
				a, b := s.start(s.client("a"), opts...), s.start(s.client("b"), opts...)
				overlaps := s.meet([]*election.Candidate{a, b})
				s.leads(a, 10*time.Second)
				for range 20 {
					time.Sleep(20 * time.Second)
					leader := a
					if b.HasLeadership() {
						leader = b
					}
					s.e.Delay("zk1", map[*election.Candidate]string{a: "a", b: "b"}[leader], 300*time.Millisecond, 300*time.Millisecond)
					require.NoError(s, s.e.Delete(leader.Status().Znode))
					time.Sleep(time.Second)
					s.e.HealAll()
				}
				require.Zero(s, *overlaps)
			})
		})
	}
}

func TestASecondTermOnOneZnodeWritesNoRecord(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		s.leads(all[0], 10*time.Second)
		_, before := s.record()
		term := all[0].Term()
		s.crash("a")
		require.Eventually(s, func() bool { return term.Err() != nil }, 10*time.Second, time.Millisecond)
		s.e.Heal("a", zksim.ServerName(1))
		s.leads(all[0], 20*time.Second)
		require.Equal(s, term.Token(), all[0].Term().Token())
		_, after := s.record()
		require.Equal(s, before, after)
		require.NoError(s, all[0].Shutdown(s.Context()))
		require.Less(s, s.leads(all[1], 10*time.Second), time.Second)
	})
}

func TestABeginningWhoseAnswerIsLostCounts(t *testing.T) {
	tell(t, func(s story) {
		all := s.strict("a", "b")
		lost, began := false, time.Now()
		defer s.e.OnReply(func(r zksim.Reply) bool {
			// Nobody is ahead, and no lease is to be proved before the beginning is answered.
			lose := !lost && r.Client == "a" && r.Op == jute.OpMulti && r.Code == jute.CodeOK && time.Since(began) > believed
			lost = lost || lose
			return lose
		})()
		s.leads(all[0], 20*time.Second)
		_, version := s.record()
		require.EqualValues(s, 1, version)
		require.NoError(s, all[0].Shutdown(s.Context()))
		s.leads(all[1], 10*time.Second)
	})
}

func TestStrictHandoverNeedsToWriteThePath(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.CreateFor(job, nil, zk.WorldACL(zk.PermAll&^zk.PermWrite)))
		c := s.candidate(s.client("a"), election.WithStrictHandover())
		err := c.Start(s.Context())
		require.ErrorIs(s, err, zk.ErrNoAuth)
		assert.ErrorContains(s, err, "strict hand-over")
	})
}
