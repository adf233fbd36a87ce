package election_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// G5: no candidate is lost, none is left behind.

// Replies and requests get lost at every step of standing and leaving.
func TestG5NoneIsLost_TwoHundredRoundsOfLostMessages(t *testing.T) {
	zktest.SkipIfShort(t, "a real ZooKeeper, in a container") // here: a goroutine below cannot
	t.Parallel()
	const lanes, rounds = 8, 25
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	path := newPath(t)
	struck := make([]map[jute.Op]int, lanes)
	open := make([]*peer, lanes)
	var all sync.WaitGroup
	for lane := range lanes {
		r := rand.New(rand.NewPCG(seed, uint64(lane)))
		all.Go(func() { open[lane], struck[lane] = lossyLane(t, path, r, rounds) })
	}
	all.Wait()
	total := map[jute.Op]int{}
	var rest []*peer
	for lane, p := range open {
		require.NotNil(t, p, "lane %d failed", lane)
		p.proxy.Heal()
		rest = append(rest, p)
		for op, n := range struck[lane] {
			total[op] += n
		}
	}
	t.Logf("lost: %v", total)
	for _, op := range []jute.Op{jute.OpCreate, jute.OpDelete, jute.OpGetData, jute.OpGetChildren2, jute.OpMulti} {
		require.NotZero(t, total[op], "no %v was ever lost: the test does not test", op)
	}
	by := sharedAdmin(t)
	eventually(t, func() bool { return len(by.line(path)) == len(rest) }, "as many znodes as candidates")
	eventually(t, func() bool { return leaders(rest) == 1 }, "exactly one leader")
	for _, p := range rest {
		require.Contains(t, by.line(path), strings.TrimPrefix(p.Status().Znode, path+"/"))
	}
}

// lossyLane has candidates of one session come, resign and go, losing messages meanwhile, and returns the last one,
// which stays.
func lossyLane(t *testing.T, path string, r *rand.Rand, rounds int) (*peer, map[jute.Op]int) {
	p := newPeer(t, path, steady)
	struck := map[jute.Op]int{}
	for i := range rounds {
		rules := map[*zktest.Rule]jute.Op{}
		ops := []jute.Op{lossy[r.IntN(len(lossy))], lossy[r.IntN(len(lossy))]}
		if r.IntN(2) == 0 { // what is lost while looking for what was lost
			ops = []jute.Op{jute.OpCreate, lookFor[r.IntN(len(lookFor))]}
		}
		for _, op := range ops {
			lose := p.proxy.DropReply
			if r.IntN(4) == 0 {
				lose = p.proxy.DropRequest
			}
			rules[lose(onceAfter(r.IntN(2), zktest.IsKind(zktest.Request, zktest.IsOp(op))))] = op
		}
		err := lossyRound(t, p, r, i == rounds-1)
		for rule, op := range rules {
			rule.Remove()
			struck[op] += rule.Count()
		}
		if !assert.NoError(t, err, "loss of %v; %v", rules, p.Status()) {
			return nil, struck
		}
		if i < rounds-1 {
			p = &peer{t: t, path: path, proxy: p.proxy, client: p.client, log: p.log,
				Candidate: newCandidate(t, p.client, path)}
		}
	}
	return p, struck
}

// lossy are the operations that standing and leaving are made of.
var lossy = []jute.Op{jute.OpCreate, jute.OpCreate, jute.OpDelete, jute.OpDelete, jute.OpGetData,
	jute.OpGetChildren2}

// lookFor are the operations with which a candidate looks for a znode that it may have made.
var lookFor = []jute.Op{jute.OpMulti, jute.OpGetChildren2}

// onceAfter lets n frames of a kind pass and takes the next.
func onceAfter(n int, m zktest.Match) zktest.Match {
	var seen atomic.Int32
	return func(f zktest.Frame) bool { return m(f) && int(seen.Add(1)) == n+1 }
}

// lossyRound stands and, unless it is the last round, leaves in one of the ways there are.
func lossyRound(t *testing.T, p *peer, r *rand.Rand, last bool) error {
	if err := p.Start(testContext(t)); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if r.IntN(3) == 0 {
		if err := p.Resign(testContext(t)); err != nil {
			return fmt.Errorf("resign: %w", err)
		}
	}
	if last {
		return nil
	}
	if r.IntN(2) == 0 { // Close does not wait long; what it leaves undone is done in the background
		_ = p.Close()
	}
	return p.Shutdown(testContext(t))
}

func leaders(peers []*peer) (n int) {
	for _, p := range peers {
		if p.HasLeadership() {
			n++
		}
	}
	return n
}

func TestG5NoneIsLeftBehind_ZnodeMadeAfterStartGaveUpIsRemoved(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*zktest.Proxy) *zktest.Rule{
		"reply late": func(p *zktest.Proxy) *zktest.Rule {
			return p.Hold(zktest.IsKind(zktest.Reply, zktest.IsOp(jute.OpCreate)))
		},
		"reply lost": func(p *zktest.Proxy) *zktest.Rule {
			p.DropReply(zktest.IsOp(lookFor...))
			return p.DropReply(createsOf("-latch-"))
		},
		"request late": func(p *zktest.Proxy) *zktest.Rule {
			return p.Hold(zktest.IsKind(zktest.Request, createsOf("-latch-")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, by := newPath(t), sharedAdmin(t)
			by.make(path, "")
			p := newPeer(t, path, steady)
			rule := fault(p.proxy)
			err := p.Start(shortContext(t, 500*time.Millisecond))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotZero(t, rule.Count())
			p.proxy.Heal()
			p.inState(election.StateIdle)
			require.Empty(t, by.line(path))
			p.leads() // and it can begin again
			require.Len(t, by.line(path), 1)
		})
	}
}

// createsOf matches the making of candidates' znodes, not that of paths.
func createsOf(name string) zktest.Match {
	return func(f zktest.Frame) bool { return f.Op == jute.OpCreate && strings.Contains(f.Path, name) }
}

// A process that was killed and started again finds its own old znode ahead of it, which nobody holds any more.
func TestG5NoneIsLeftBehind_RestartedProcessWaitsBehindItsOwnOldZnodeAndLeadsWhenItGoes(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	old := newPeer(t, path, brief, election.WithID("me"))
	term := old.leads()
	session := old.Status().SessionID
	old.proxy.Cut() // as kill -9: nothing is said to the server
	died := time.Now()
	_ = old.client.Close()
	anew := newPeer(t, path, brief, election.WithID("me")).start()
	eventually(t, func() bool { return anew.Status().Ahead != nil }, "somebody ahead")
	st := anew.Status()
	require.Equal(t, election.StateFollowing, st.State)
	require.Equal(t, session, st.Ahead.SessionID, "the status names the session that is to blame")
	require.Equal(t, "me", st.Ahead.ID)
	require.Greater(t, anew.leads().Token(), term.Token())
	require.Less(t, time.Since(died), brief+2*time.Second)
}

// G6: somebody leads.

func TestG6SomebodyLeads_WithinASessionAndTwoSecondsAfterEveryFault(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*zktest.Proxy){
		"cut": (*zktest.Proxy).Cut, "black hole": (*zktest.Proxy).Blackhole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			peers := []*peer{newPeer(t, path, brief), newPeer(t, path, brief), newPeer(t, path, brief)}
			startAll(peers...)
			noOverlap(t, peers...)
			peers[0].leads()
			by := sharedAdmin(t)
			for _, p := range peers {
				fault(p.proxy)
			}
			eventually(t, func() bool { return len(by.line(path)) == 0 }, "the end of all sessions")
			require.Zero(t, leaders(peers))
			for _, p := range peers {
				p.proxy.Heal()
			}
			healed := time.Now()
			eventually(t, func() bool { return leaders(peers) == 1 }, "a leader")
			require.Less(t, time.Since(healed), brief+2*time.Second)
			eventually(t, func() bool { return len(by.line(path)) == len(peers) }, "everybody")
		})
	}
}

func TestG6SomebodyLeads_AfterTheServerWasKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := zktest.Start(t)
	path := newPath(t)
	a := newPeerAt(t, server.Addr(), path, steady).start()
	b := newPeerAt(t, server.Addr(), path, steady).start()
	noOverlap(t, a, b)
	term := a.leads()
	require.NoError(t, server.Kill(testContext(t)))
	require.NoError(t, server.Restart(testContext(t)))
	up := time.Now()
	eventually(t, func() bool { return leaders([]*peer{a, b}) == 1 }, "a leader")
	require.Less(t, time.Since(up), steady+2*time.Second)
	require.True(t, a.HasLeadership(), "the sessions outlive the server, and so does the line")
	require.Equal(t, term.Token(), a.Term().Token())
	require.Len(t, newAdmin(t, server.Addr()).line(path), 2)
}

// A notification that is lost holds nobody up for ever: each candidate looks again by itself.
func TestG6SomebodyLeads_EvenWhenTheNotificationIsLost(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a, b := newPeer(t, path, brief).start(), newPeer(t, path, brief).start()
	eventually(t, func() bool { return b.Status().Ahead != nil }, "b's watch")
	lost := b.proxy.DropNotification(zktest.Any)
	closes(t, a)
	gone := time.Now()
	b.leads()
	require.Equal(t, 1, lost.Count())
	require.Less(t, time.Since(gone), brief+2*time.Second)
}
