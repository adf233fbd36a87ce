package election_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// G1: one leader.

func TestG1OneLeader_TwentySessionsLeadInTurnAsEachLeaderIsKilled(t *testing.T) {
	t.Parallel()
	const n = 20
	path := newPath(t)
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = newPeer(t, path, brief, election.WithID(strconv.Itoa(i))).start()
	}
	noOverlap(t, peers...)
	tokens := map[int64]bool{}
	for i, p := range peers {
		term := p.leads()
		require.False(t, tokens[term.Token()], "each leads once")
		tokens[term.Token()] = true
		rest := peers[i+1:]
		eventually(t, func() bool { return settledBehind(rest) }, "a line at rest behind %d", i)
		before := notifications(rest...)
		kill(t, p, i%5 == 0)
		if len(rest) > 0 {
			rest[0].leads()
			require.EqualValues(t, 1, notifications(rest...)-before, "an end wakes one")
			for _, other := range rest[1:] {
				require.False(t, other.HasLeadership())
			}
		}
		_ = p.client.Close() // its session is gone: nobody answers
	}
	require.Len(t, tokens, n)
}

// settledBehind: everybody behind the leader follows, so whatever moves next has a new reason.
func settledBehind(rest []*peer) bool {
	for _, p := range rest {
		if p.Status().State != election.StateFollowing || p.Status().Ahead == nil {
			return false
		}
	}
	return true
}

// kill takes a leader's link away, for good. With patiently, the server ends the session in its own time.
func kill(t *testing.T, p *peer, patiently bool) {
	t.Helper()
	if !patiently {
		p.expire()
		return
	}
	p.proxy.Cut()
}

func TestG1OneLeader_PausedProcessBelievesNoMoreAtItsFirstLook(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	child, says := startChild(t, path)
	first := number(t, says("leads"))
	b := newPeer(t, path, steady).start()
	require.NoError(t, child.Pause())
	term := b.leads()
	took := time.Now()
	require.Greater(t, term.Token(), first)
	require.NoError(t, child.Resume())

	require.Less(t, number(t, says("believed")), took.UnixNano(), "the child believed until after the other led")
	// The session was over, but nothing had told the child yet: its own clock had to.
	require.Equal(t, []string{"false", `"election: lease expired" "context canceled"`}, says("woke"))
	require.Contains(t, strings.Join(says("done"), " "), "election: lease expired")
	require.Greater(t, number(t, says("stands")), term.Token(), "stands again, behind the one who leads")
	require.NoError(t, term.Err())
	closes(t, b)
	require.Greater(t, number(t, says("leads")), term.Token())
}

// G2: belief has a deadline.

func TestG2BeliefHasADeadline_NobodyBelievesPastItWhenTheServerFallsSilent(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newPath(t), brief)
	term := p.leads()
	p.proxy.Blackhole()
	silence := time.Now()
	for {
		now := time.Now()
		has, err := p.HasLeadership(), term.Context().Err()
		if !has {
			require.ErrorIs(t, term.Err(), election.ErrLeaseExpired)
			require.Nil(t, p.Term())
			break
		}
		require.True(t, err == nil || errors.Is(err, context.Canceled))
		require.False(t, now.After(term.Deadline()), "believed past the lease")
	}
	require.LessOrEqual(t, time.Since(silence), brief/3+brief/9, "the lease is a third of the session from its last proof")
	require.ErrorIs(t, p.ends(term), election.ErrLeaseExpired)
	require.False(t, time.Now().Before(term.Deadline()))
}

// Not parallel: testing.AllocsPerRun counts the whole process.
func TestG2BeliefHasADeadline_AskingAllocatesNothing(t *testing.T) {
	p := newPeer(t, newPath(t), steady)
	follower := newPeer(t, p.path, steady)
	term := p.leads()
	follower.start()
	require.Zero(t, testing.AllocsPerRun(100_000, func() { p.HasLeadership() }))
	require.Zero(t, testing.AllocsPerRun(100_000, func() { follower.HasLeadership() }))
	require.Zero(t, testing.AllocsPerRun(100_000, func() { _ = term.Context().Err() }))
	require.True(t, p.HasLeadership())
}

// G3: work stops before leadership is handed on.

func TestG3WorkStopsFirst_ShutdownHandsOnWhenWorkOfTwoSecondsHasStopped(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a := newPeer(t, path, steady)
	w := runWork(a, func() { <-time.After(2 * time.Second) }) // the work's own slowness: nothing is waited for
	term := receive(t, w.began, "work")
	stillRan := make(chan bool, 1)
	b := newPeer(t, path, steady, election.WithListener(election.ListenerFuncs{
		OnIsLeader: func(*election.Term) { stillRan <- w.runs() }})).start()
	noOverlap(t, a, b)
	asked := time.Now()
	require.NoError(t, a.Shutdown(testContext(t)))
	stopped := receive(t, w.stopped, "the work's end")
	require.ErrorIs(t, term.Err(), election.ErrClosed)
	require.Same(t, term, receive(t, a.log.lost, "NotLeader"))
	next := receive(t, b.log.gained, "IsLeader")
	require.Greater(t, next.Token(), term.Token())
	require.GreaterOrEqual(t, stopped.Sub(asked), 2*time.Second)
	require.False(t, receive(t, stillRan, "IsLeader"), "the successor led while the work ran")
	require.ErrorIs(t, receive(t, w.result, "Run's end"), election.ErrClosed)
}

// work is a function under Run that stops when stop has returned.
type work struct {
	began   chan *election.Term
	stopped chan time.Time
	result  chan error
	running sync.RWMutex // held for reading while the work runs
}

func runWork(p *peer, stop func()) *work {
	w := &work{began: make(chan *election.Term, 10), stopped: make(chan time.Time, 10), result: make(chan error, 1)}
	go func() {
		w.result <- p.Run(context.Background(), func(ctx context.Context, term *election.Term) error {
			w.running.RLock()
			defer w.running.RUnlock()
			w.began <- term
			<-ctx.Done()
			stop()
			w.stopped <- time.Now()
			return nil
		})
	}()
	return w
}

func (w *work) runs() bool {
	if !w.running.TryLock() {
		return true
	}
	w.running.Unlock()
	return false
}

func TestG3WorkStopsFirst_SuccessorIsToldNothingWhileTheWorkRuns(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*peer) error{
		"Resign":   func(p *peer) error { return p.Resign(testContext(t)) },
		"Shutdown": func(p *peer) error { return p.Shutdown(testContext(t)) },
		"Close":    func(p *peer) error { return p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			let := make(chan struct{})
			a, b := newPeer(t, path, steady), newPeer(t, path, steady)
			atWork := make(chan struct{}, 2)
			go a.Run(testContext(t), func(ctx context.Context, _ *election.Term) error {
				atWork <- struct{}{}
				<-ctx.Done()
				<-let
				return nil
			})
			receive(t, atWork, "work")
			b.start()
			ended := make(chan error, 1)
			go func() { ended <- end(a) }()
			receive(t, a.log.lost, "NotLeader")
			a.inState(election.StateStopping)
			require.Len(t, sharedAdmin(t).line(path), 2, "the znode stays")
			require.Empty(t, b.log.gained)
			close(let)
			receive(t, b.log.gained, "IsLeader")
			require.NoError(t, receive(t, ended, name))
		})
	}
}

func TestG3WorkStopsFirst_ShutdownEndsWithItsContextAndTheZnodeStays(t *testing.T) {
	t.Parallel()
	path, let := newPath(t), make(chan struct{})
	a, b := newPeer(t, path, steady), newPeer(t, path, steady)
	atWork := make(chan struct{}, 1)
	go a.Run(testContext(t), func(context.Context, *election.Term) error {
		atWork <- struct{}{}
		<-let
		return nil
	})
	receive(t, atWork, "work")
	b.start()
	err := a.Shutdown(shortContext(t, 300*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, a.HasLeadership())
	require.Len(t, sharedAdmin(t).line(path), 2)
	require.False(t, b.HasLeadership())
	close(let)
	b.leads()
	require.NoError(t, a.Shutdown(testContext(t)), "a second call waits for the same")
	require.Len(t, sharedAdmin(t).line(path), 1)
}

// G4: fencing.

func TestG4Fencing_TokensGrowWhateverHappensToTheLine(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	p := newPeer(t, path, steady)
	last := p.leads().Token()
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"requeue", func() { require.NoError(t, p.Resign(testContext(t))) }},
		{"new session", p.expireByHand},
		{"znode deleted", func() { by.remove(p.Status().Znode) }},
		{"path deleted and made anew", func() { by.removeAll(path) }},
		{"another sibling in between", func() { by.make(path+"/x", ""); by.removeAll(path) }},
	} {
		before := p.leads()
		step.do()
		eventually(t, func() bool { term := p.Term(); return term != nil && term != before }, "a term after %s", step.what)
		token := p.leads().Token()
		require.Greater(t, token, last, step.what)
		last = token
	}
	all, err := p.client.Participants(testContext(t), path)
	require.NoError(t, err)
	require.Equal(t, last, all[0].Token, "others see the same token")
}

// G7: callbacks are ordered.

func TestG7Callbacks_AlternateAndNoneIsLostThoughOthersPanicOrNeverReturn(t *testing.T) {
	t.Parallel()
	const terms = 10
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	logger, lines := newLog()
	slow := newSequence(time.Millisecond)
	p := newPeer(t, newPath(t), steady, election.WithLogger(logger),
		election.WithListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) { panic("listener trouble") }}),
		election.WithListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) { <-stuck }}),
		election.WithListener(election.ListenerFuncs{}), election.WithListener(slow))
	for range terms {
		p.leads()
		require.NoError(t, p.Resign(testContext(t)))
	}
	p.leads()
	eventually(t, func() bool { return len(p.log.terms()) == terms+1 }, "the callbacks, which have a goroutine of their own")
	began := p.log.terms()
	for i, term := range began {
		require.Same(t, term, receive(t, p.log.gained, "IsLeader"))
		if i < terms {
			require.Same(t, term, receive(t, p.log.lost, "NotLeader"))
			require.ErrorIs(t, term.Err(), election.ErrResigned)
		}
	}
	eventually(t, func() bool { return slow.calls() == 2*terms+1 }, "the slow listener's calls, it has %d", slow.calls())
	require.Equal(t, began, slow.inOrder(t))
	eventually(t, func() bool { return strings.Count(lines.String(), "listener trouble") == terms+1 }, "all panics in the log")
	require.Contains(t, lines.String(), "election_test.go", "with their stack")
	closed := time.Now()
	closes(t, p)
	closes(t, p.client)
	require.Less(t, time.Since(closed), steady/3, "nobody waited for the one that never returns")
	require.Same(t, began[terms], receive(t, p.log.lost, "NotLeader"))
}

// sequence is a listener that takes its time and notes what it is told, and whether calls overlap.
type sequence struct {
	slow time.Duration
	in   atomic.Int32

	mu     sync.Mutex
	told   []*election.Term
	is     []bool
	faults int
}

func newSequence(slow time.Duration) *sequence { return &sequence{slow: slow} }

func (s *sequence) IsLeader(t *election.Term) { s.call(t, true) }

func (s *sequence) NotLeader(t *election.Term) { s.call(t, false) }

func (s *sequence) call(t *election.Term, is bool) {
	overlapped := s.in.Add(1) > 1
	<-time.After(s.slow) // this is the listener's own slowness, nothing is waited for
	s.mu.Lock()
	if overlapped {
		s.faults++
	}
	s.told, s.is = append(s.told, t), append(s.is, is)
	s.mu.Unlock()
	s.in.Add(-1)
}

func (s *sequence) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.told)
}

// inOrder returns the terms told of, having required that they came in pairs.
func (s *sequence) inOrder(t *testing.T) (terms []*election.Term) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Zero(t, s.faults, "calls overlapped")
	for i, term := range s.told {
		require.Equal(t, i%2 == 0, s.is[i], "IsLeader and NotLeader alternate")
		if i%2 == 1 {
			require.Same(t, s.told[i-1], term, "pairs carry the same term")
			continue
		}
		terms = append(terms, term)
	}
	return terms
}

// G8: one wakes.

func TestG8OneWakes_HandoffCostsTheSameWhateverTheLengthOfTheLine(t *testing.T) {
	t.Parallel()
	short, long := handoff(t, 10), handoff(t, 300)
	require.Equal(t, short.requests, long.requests)
	require.EqualValues(t, 1, short.notified)
	require.EqualValues(t, 1, long.notified)
	require.InEpsilon(t, short.bytes, long.bytes, 0.1, "%v against %v", short, long)
	require.Zero(t, long.listings)
}

// cost is what a handoff took of those who did not hand on.
type cost struct{ requests, notified, bytes, listings int64 }

// handoff has the first of n candidates leave, all others being on one session, and counts what the others needed.
func handoff(t *testing.T, n int) cost {
	t.Helper()
	const long = 10 * time.Minute // the slow ticks, one for each candidate, are not to begin meanwhile
	path := newPath(t)
	first := newPeer(t, path, long).start()
	first.leads()
	second := newPeer(t, path, long).start()
	sharedAdmin(t).make(path+"-last", "")
	rest := make([]*election.Candidate, n-2)
	for i := range rest {
		rest[i] = newCandidate(t, second.client, path)
		require.NoError(t, rest[i].Start(testContext(t)))
	}
	eventually(t, func() bool {
		return rest[n-3].Status().Ahead != nil && rest[n-3].Status().State == election.StateFollowing
	},
		"everybody's watch")
	before, asked := second.proxy.Stats(), requests(second.proxy)
	closes(t, first)
	second.leads()
	last := newCandidate(t, second.client, path+"-last") // what the handoff caused came before this
	require.NoError(t, last.Start(testContext(t)))
	after := second.proxy.Stats()
	return cost{requests: requests(second.proxy) - asked,
		notified: after.Notifications.Frames - before.Notifications.Frames,
		bytes:    electionBytes(after) - electionBytes(before),
		listings: after.Requests[jute.OpGetChildren2].Frames - before.Requests[jute.OpGetChildren2].Frames - 1}
}

// electionBytes leaves out what keeps session and lease alive, which goes by the clock.
func electionBytes(s zktest.Stats) int64 {
	n := s.ToServer.Bytes + s.ToClient.Bytes
	for _, op := range []jute.Op{jute.OpPing, jute.OpMulti} {
		n -= s.Requests[op].Bytes + s.Replies[op].Bytes
	}
	return n
}

func TestG8OneWakes_TheNextTakesOverWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a := newPeer(t, path, steady).start()
	b := newPeer(t, path, steady).start()
	eventually(t, func() bool { return !b.Status().LeaseEnd.IsZero() && settledBehind([]*peer{b}) }, "b's lease and watch")
	b.proxy.Hold(zktest.IsKind(zktest.Request, zktest.Any)) // b hears, and is not heard
	closes(t, a)
	term := b.leads()
	require.NoError(t, term.Err())
}
