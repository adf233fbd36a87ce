package election_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
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
	require.NoError(t, child.Signal(syscall.SIGSTOP))
	term := b.leads()
	took := time.Now()
	require.Greater(t, term.Token(), first)
	require.NoError(t, child.Signal(syscall.SIGCONT))

	require.Less(t, number(t, says("believed")), took.UnixNano(), "the child believed until after the other led")
	// The session was over, but nothing had told the child yet: its own clock had to.
	require.Equal(t, []string{"false", `"election: lease expired" "context canceled"`}, says("woke"))
	require.Contains(t, strings.Join(says("done"), " "), "election: lease expired")
	require.Greater(t, number(t, says("stands")), term.Token(), "stands again, behind the one who leads")
	require.NoError(t, term.Err())
	require.NoError(t, b.Close())
	require.Greater(t, number(t, says("leads")), term.Token())
}

// startChild runs this binary as a candidate at path. says returns the words of the child's next line, which must
// begin with the given one: the second word, and the rest.
func startChild(t *testing.T, path string) (*os.Process, func(string) []string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+zktest.Shared(t).Addr()+" "+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		for range lines {
		}
		_ = cmd.Wait()
	})
	return cmd.Process, func(want string) []string {
		t.Helper()
		word, rest, _ := strings.Cut(receive(t, lines, "the child's "+want), " ")
		require.Equal(t, want, word, rest)
		return strings.SplitN(rest, " ", 2)
	}
}

func number(t *testing.T, words []string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(words[0], 10, 64)
	require.NoError(t, err)
	return n
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

func TestG4Fencing_GuardOfATermWhoseZnodeWasDeletedAppliesNothing(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path+"-data", "old")
	p := newPeer(t, path, steady)
	term := p.leads()
	write := &zk.SetDataRequest{Path: path + "-data", Data: []byte("new"), Version: -1}

	responses, err := term.Guard(testContext(t), write)
	require.NoError(t, err)
	require.Len(t, responses, 1)
	require.EqualValues(t, 1, responses[0].Stat.Version)

	responses, err = term.Guard(testContext(t), write, &zk.SetDataRequest{Path: path + "-data", Version: 77})
	require.ErrorIs(t, err, zk.ErrBadVersion, "the caller's operation failed")
	require.NotErrorIs(t, err, election.ErrTermOver)
	require.Len(t, responses, 2, "one for each operation")
	require.NoError(t, term.Err(), "and the term lasts")

	quiet := p.proxy.DropNotification(zktest.Any) // the leader does not hear of it
	by.make(path+"/x", "")                        // the path stays
	by.remove(p.Status().Znode)
	_, err = term.Guard(testContext(t), &zk.SetDataRequest{Path: path + "-data", Data: []byte("late"), Version: -1})
	require.ErrorIs(t, err, election.ErrTermOver)
	require.NotErrorIs(t, err, zk.ErrBadVersion)
	require.Equal(t, "new", by.read(path+"-data"))
	quiet.Remove()
	require.ErrorIs(t, p.ends(term), election.ErrNodeDeleted)
	_, err = term.Guard(testContext(t))
	require.ErrorIs(t, err, election.ErrTermOver)
	require.ErrorIs(t, err, election.ErrNodeDeleted)
}

func TestG4Fencing_GuardSaysThatTheOutcomeIsUnknownWhenTheReplyIsLost(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path+"-data", "old")
	p := newPeer(t, path, steady)
	term := p.leads()
	// The proofs of the lease are transactions too, but small ones.
	lost := p.proxy.DropReply(zktest.Once(func(f zktest.Frame) bool { return f.Op == zktest.OpMulti && f.Size > 1000 }))
	data := strings.Repeat("x", 1000)
	_, err := term.Guard(testContext(t), &zk.SetDataRequest{Path: path + "-data", Data: []byte(data), Version: -1})
	require.ErrorIs(t, err, election.ErrDisconnected)
	require.NotErrorIs(t, err, election.ErrTermOver)
	require.ErrorContains(t, err, "unknown")
	require.Equal(t, 1, lost.Count())
	require.Equal(t, data, by.read(path+"-data"))
	require.NoError(t, term.Err())
}

func TestG4Fencing_GuardWritesBelowTheChroot(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	by.make(path, "")
	by.make(path+"/gone", "")
	c := connect(t, zktest.Shared(t).Addr()+path, steady)
	term, err := newCandidate(t, c, "/e").Await(testContext(t))
	require.NoError(t, err)
	request := &zk.CreateRequest{Path: "/made", Data: []byte("1"), Acl: zk.WorldACL(zk.PermAll)}
	responses, err := term.Guard(testContext(t), request, &zk.SetDataRequest{Path: "/made", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/made", Version: 1}, &zk.DeleteRequest{Path: "/gone", Version: -1})
	require.NoError(t, err)
	require.Len(t, responses, 4)
	require.Equal(t, "/made", responses[0].String)
	require.Equal(t, "/made", request.Path, "the caller's request is left alone")
	require.Equal(t, "2", by.read(path+"/made"))
	found, _, err := by.Exists(path + "/gone")
	require.NoError(t, err)
	require.False(t, found)
	_, err = term.Guard(testContext(t), &zk.SetDataRequest{Path: "relative"}, "no operation", (*zk.DeleteRequest)(nil))
	for _, what := range []string{`"relative"`, "operation 1: type string", "*zk.DeleteRequest is nil"} {
		require.ErrorContains(t, err, what)
	}
	for _, flags := range []int32{zk.FlagContainer, zk.FlagTTL, zk.FlagPersistentSequentialWithTTL, -1} {
		_, err = term.Guard(testContext(t), &zk.CreateRequest{Path: "/other", Acl: zk.WorldACL(zk.PermAll), Flags: flags})
		require.ErrorContains(t, err, fmt.Sprintf("operation 0: flags %d", flags))
	}
	found, _, err = by.Exists(path + "/other")
	require.NoError(t, err)
	require.False(t, found)
	leader, err := c.Leader(testContext(t), "/e")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(leader.Path, "/e/"), leader.Path)
}

// G5: no candidate is lost, none is left behind.

// Replies and requests get lost at every step of standing and leaving.
func TestG5NoneIsLost_TwoHundredRoundsOfLostMessages(t *testing.T) {
	t.Parallel()
	const lanes, rounds = 8, 25
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	path := newPath(t)
	struck := make([]map[zktest.Op]int, lanes)
	open := make([]*peer, lanes)
	var all sync.WaitGroup
	for lane := range lanes {
		r := rand.New(rand.NewPCG(seed, uint64(lane)))
		all.Go(func() { open[lane], struck[lane] = lossyLane(t, path, r, rounds) })
	}
	all.Wait()
	total := map[zktest.Op]int{}
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
	for _, op := range []zktest.Op{zktest.OpCreate, zktest.OpDelete, zktest.OpGetData, zktest.OpGetChildren2, zktest.OpMulti} {
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
func lossyLane(t *testing.T, path string, r *rand.Rand, rounds int) (*peer, map[zktest.Op]int) {
	p := newPeer(t, path, steady)
	struck := map[zktest.Op]int{}
	for i := range rounds {
		rules := map[*zktest.Rule]zktest.Op{}
		ops := []zktest.Op{lossy[r.IntN(len(lossy))], lossy[r.IntN(len(lossy))]}
		if r.IntN(2) == 0 { // what is lost while looking for what was lost
			ops = []zktest.Op{zktest.OpCreate, lookFor[r.IntN(len(lookFor))]}
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
var lossy = []zktest.Op{zktest.OpCreate, zktest.OpCreate, zktest.OpDelete, zktest.OpDelete, zktest.OpGetData,
	zktest.OpGetChildren2}

// lookFor are the operations with which a candidate looks for a znode that it may have made.
var lookFor = []zktest.Op{zktest.OpMulti, zktest.OpGetChildren2}

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
			return p.Hold(zktest.IsKind(zktest.Reply, zktest.IsOp(zktest.OpCreate)))
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
	return func(f zktest.Frame) bool { return f.Op == zktest.OpCreate && strings.Contains(f.Path, name) }
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
	require.NoError(t, a.Close())
	gone := time.Now()
	b.leads()
	require.Equal(t, 1, lost.Count())
	require.Less(t, time.Since(gone), brief+2*time.Second)
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
	require.NoError(t, p.Close())
	require.NoError(t, p.client.Close())
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

func (s *sequence) IsLeader(t *election.Term)  { s.call(t, true) }
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
	rest := make([]*election.Candidate, n-2)
	for i := range rest {
		rest[i] = newCandidate(t, second.client, path)
		require.NoError(t, rest[i].Start(testContext(t)))
	}
	eventually(t, func() bool { return rest[n-3].Status().Ahead != nil }, "everybody's watch")
	before, asked := second.proxy.Stats(), requests(second.proxy)
	require.NoError(t, first.Close())
	second.leads()
	last := newCandidate(t, second.client, path+"-last") // what the handoff caused came before this
	require.NoError(t, last.Start(testContext(t)))
	after := second.proxy.Stats()
	return cost{requests: requests(second.proxy) - asked,
		notified: after.Notifications.Frames - before.Notifications.Frames,
		bytes:    electionBytes(after) - electionBytes(before),
		listings: after.Requests[zktest.OpGetChildren2].Frames - before.Requests[zktest.OpGetChildren2].Frames - 1}
}

// electionBytes leaves out what keeps session and lease alive, which goes by the clock.
func electionBytes(s zktest.Stats) int64 {
	n := s.ToServer.Bytes + s.ToClient.Bytes
	for _, op := range []zktest.Op{zktest.OpPing, zktest.OpMulti} {
		n -= s.Requests[op].Bytes + s.Replies[op].Bytes
	}
	return n
}

func TestG8OneWakes_TheNextTakesOverWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a := newPeer(t, path, steady).start()
	b := newPeer(t, path, steady).start()
	eventually(t, func() bool { return !b.Status().LeaseEnd.IsZero() && b.Status().Ahead != nil }, "b's lease and watch")
	b.proxy.Hold(zktest.IsKind(zktest.Request, zktest.Any)) // b hears, and is not heard
	require.NoError(t, a.Close())
	term := b.leads()
	require.NoError(t, term.Err())
}
