package election_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// G9: cancel works.

// cancelBound is G9's 100 ms and what a machine whose two cores are busy may add until the caller's goroutine runs
// again: a timer and two goroutine switches, each of which has been seen to take some 30 ms there under -race.
const cancelBound = 100*time.Millisecond + 150*time.Millisecond

// cancelled calls f with a context that ends, and requires that f ends with it.
func cancelled(t *testing.T, name string, f func(context.Context) error) {
	t.Helper()
	const patient = 100 * time.Millisecond
	began := time.Now() // before the context does
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	err := f(ctx)
	over := time.Since(began) - patient
	require.ErrorIs(t, err, context.DeadlineExceeded, name)
	require.Less(t, over, cancelBound, "%s went on after its context", name)
	require.GreaterOrEqual(t, over, time.Duration(0), name)
}

// Not parallel: it measures time.
func TestG9CancelWorks_WhileTheServerIsABlackHole(t *testing.T) {
	leader, other := newPeer(t, newPath(t), steady), newPeer(t, newPath(t), steady)
	term := leader.leads()
	for _, p := range []*peer{leader, other} {
		p.proxy.Blackhole()
	}
	for name, f := range blocking(other.client, other.Candidate, other.path) {
		cancelled(t, name, f)
	}
	cancelled(t, "Guard", func(ctx context.Context) error { _, err := term.Guard(ctx); return err })
	cancelled(t, "Resign", leader.Resign)
	cancelled(t, "Shutdown", leader.Shutdown)
	cancelled(t, "Connect", func(ctx context.Context) error {
		_, err := election.Connect(ctx, other.proxy.Addr(), election.WithClientLogger(silent))
		return err
	})
	began := time.Now()
	require.ErrorIs(t, leader.client.Close(), election.ErrDisconnected)
	require.Less(t, time.Since(began), closeBound)
}

// blocking are the calls that wait for ZooKeeper on behalf of somebody who does not stand.
func blocking(c *election.Client, cand *election.Candidate, path string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Start": cand.Start,
		"Await": func(ctx context.Context) error { _, err := cand.Await(ctx); return err },
		"Run": func(ctx context.Context) error {
			return cand.Run(ctx, func(context.Context, *election.Term) error { return nil })
		},
		"Leader":       func(ctx context.Context) error { _, err := c.Leader(ctx, path); return err },
		"Participants": func(ctx context.Context) error { _, err := c.Participants(ctx, path); return err },
		"Observe": func(ctx context.Context) error {
			for range c.Observe(ctx, path) {
			}
			return ctx.Err()
		},
	}
}

// Not parallel: it measures time.
func TestG9CancelWorks_WithAServerThatAcceptsAndNeverAnswers(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, up to its backlog; nobody reads
	require.NoError(t, err)
	defer mute.Close()
	cancelled(t, "Connect", func(ctx context.Context) error {
		_, err := election.Connect(ctx, mute.Addr().String(), election.WithClientLogger(silent))
		return err
	})
	conn, _, err := zk.Connect([]string{mute.Addr().String()}, steady, zk.WithLogger(noLog{}))
	require.NoError(t, err)
	c, err := election.NewClient(conn, steady, election.WithClientLogger(silent))
	require.NoError(t, err)
	for name, f := range blocking(c, newCandidate(t, c, "/mute"), "/mute") {
		cancelled(t, name, f)
	}
	early, started := newCandidate(t, c, "/mute"), make(chan error, 1)
	go func() { started <- early.Start(testContext(t)) }()
	eventually(t, func() bool { return early.Status().State == election.StateJoining }, "its waiting for the session")
	require.NoError(t, early.Close(), "before the session stands there is nothing to remove")
	require.ErrorIs(t, receive(t, started, "Start"), election.ErrClosed)
	began := time.Now()
	_ = c.Close()
	require.Less(t, time.Since(began), closeBound)
	mute.Close()
	conn.Close()
}

// Not parallel: it counts the goroutines of the process.
func TestG9NoGoroutineOutlivesClose_TwoThousandElectionsOnOneClient(t *testing.T) {
	const n = 2000
	path, addr := newPath(t), zktest.Shared(t).Addr()
	before := goleak.IgnoreCurrent()
	c := connect(t, addr, 5*steady)
	all := make([]*election.Candidate, n)
	for i := range all {
		all[i] = newCandidate(t, c, fmt.Sprintf("%s/%d", path, i))
	}
	errs := each(all, func(cand *election.Candidate) error { _, err := cand.Await(testContext(t)); return err })
	require.NoError(t, errs)
	eventually(t, func() bool {
		for _, cand := range all {
			if !cand.HasLeadership() {
				return false
			}
		}
		return true
	}, "all of them leading at once")
	began := time.Now()
	if err := c.Close(); err != nil { // a busy machine may take longer for so many than Close waits
		require.ErrorIs(t, err, election.ErrDisconnected)
		require.GreaterOrEqual(t, time.Since(began), time.Second, "it gave up before its time")
	}
	for _, cand := range all {
		require.False(t, cand.HasLeadership())
	}
	goleak.VerifyNone(t, before)
}

// each calls f for all candidates at the same time.
func each(all []*election.Candidate, f func(*election.Candidate) error) error {
	errs := make([]error, len(all))
	var work sync.WaitGroup
	for i, cand := range all {
		work.Go(func() { errs[i] = f(cand) })
	}
	work.Wait()
	return errors.Join(errs...)
}

// Not parallel: it counts the goroutines of the process.
func TestG9NoGoroutineOutlivesClose_AThousandCandidatesInOneElectionLeadInTurn(t *testing.T) {
	const n = 1000
	path, addr := newPath(t), zktest.Shared(t).Addr()
	before := goleak.IgnoreCurrent()
	c := connect(t, addr, 5*steady)
	all := make([]*election.Candidate, n)
	for i := range all {
		all[i] = newCandidate(t, c, path)
	}
	var mu sync.Mutex // guards the following
	tokens := map[int64]bool{}
	require.NoError(t, each(all, func(cand *election.Candidate) error {
		term, err := cand.Await(testContext(t))
		if err != nil {
			return err
		}
		mu.Lock()
		tokens[term.Token()] = true
		mu.Unlock()
		if err := cand.Close(); !errors.Is(err, election.ErrDisconnected) {
			return err
		}
		return cand.Shutdown(testContext(t)) // the server is busy with so many: one second was not enough
	}))
	require.Len(t, tokens, n, "each led once")
	closes(t, c)
	goleak.VerifyNone(t, before)
}

// What the client shows of an election.

func TestParticipants_AreShownInLineAndWhatIsNoCandidateIsIgnored(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	watcher := connect(t, zktest.Shared(t).Addr(), steady)
	_, err := watcher.Leader(testContext(t), path)
	require.ErrorIs(t, err, election.ErrNoLeader)
	none, err := watcher.Participants(testContext(t), path)
	require.NoError(t, err)
	require.Empty(t, none)
	by.make(path, "")
	for _, junk := range []string{"_c_x", "0-note", "x"} {
		by.make(path+"/"+junk, "junk")
	}
	a := newPeer(t, path, steady, election.WithID("a?"), election.WithMetadata(map[string]string{"zone": "eu west", "address": "10.0.0.7:8080"})).start()
	b := newPeer(t, path, steady, election.WithID("b")).start()
	term := a.leads()
	all, err := watcher.Participants(testContext(t), path)
	require.NoError(t, err)
	for i := range all {
		_, stat, err := by.Get(all[i].Path)
		require.NoError(t, err)
		require.Equal(t, time.UnixMilli(stat.Ctime).UTC(), all[i].Since)
		all[i].Since = time.Time{}
	}
	sa, sb := a.Status(), b.Status()
	require.Equal(t, []election.Participant{
		{ID: "a?", Path: sa.Znode, Token: term.Token(), SessionID: sa.SessionID, Leader: true,
			Metadata: map[string]string{"zone": "eu west", "address": "10.0.0.7:8080"}},
		{ID: "b", Path: sb.Znode, Token: sb.Token, SessionID: sb.SessionID},
	}, all)
	leader, err := watcher.Leader(testContext(t), path)
	require.NoError(t, err)
	leader.Since = time.Time{}
	require.Equal(t, all[0], leader)
	require.NoError(t, a.Resign(testContext(t)))
	b.leads()
	closes(t, b)
	closes(t, a)
	eventually(t, func() bool { return len(by.line(path)) == 3 }, "an end of both, and junk left alone")
}

// seen is what Observe yields.
type seen struct {
	election.Participant
	err error
}

// observe follows path until stop is called; the channel is closed when the sequence has ended.
func observe(t *testing.T, c *election.Client, path string) (states <-chan seen, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ch := make(chan seen, 1000)
	go func() {
		defer close(ch)
		for p, err := range c.Observe(ctx, path) {
			ch <- seen{p, err}
		}
	}()
	return ch, cancel
}

func TestObserve_TellsThePresentStateAtOnceAndThenEveryChange(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	eye := newPeer(t, path, steady)
	states, stop := observe(t, eye.client, path)
	next := func(what string) seen { t.Helper(); return receive(t, states, what) }
	require.ErrorIs(t, next("nobody").err, election.ErrNoLeader)

	a := newPeer(t, path, steady, election.WithID("a")).start()
	require.Equal(t, a.Status().Token, next("a").Token)
	b := newPeer(t, path, steady, election.WithID("b")).start()
	late, _ := observe(t, eye.client, path)
	require.Equal(t, "a", receive(t, late, "a").ID, "one that comes later is told at once too")
	closes(t, a)
	got := next("b")
	require.Equal(t, "b", got.ID)
	require.True(t, got.Leader)

	eye.proxy.Cut()
	require.ErrorIs(t, next("the loss of the connection").err, election.ErrDisconnected)
	eye.proxy.Heal()
	require.Equal(t, "b", next("b again").ID)

	eye.proxy.Cut()
	require.ErrorIs(t, next("the loss of the connection").err, election.ErrDisconnected)
	closes(t, b)
	eye.proxy.Heal()
	require.ErrorIs(t, next("nobody").err, election.ErrNoLeader)

	by.removeAll(path)
	c := newPeer(t, path, steady, election.WithID("c")).start()
	require.Equal(t, "c", next("c, where the path was made anew").ID)
	require.NotNil(t, c)
	stop()
	_, open := <-states
	require.False(t, open)
}

func TestObserve_WatchesOneZnodeAndEndsWithItsClient(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	eye := newPeer(t, path, steady)
	crowd := connect(t, zktest.Shared(t).Addr(), steady)
	line := make([]*election.Candidate, 10)
	for i := range line {
		line[i] = newCandidate(t, crowd, path)
		require.NoError(t, line[i].Start(testContext(t)))
	}
	states, _ := observe(t, eye.client, path)
	first := receive(t, states, "the leader")
	for _, cand := range line[1:9] {
		closes(t, cand)
	}
	_, err := eye.client.Leader(testContext(t), path) // behind any notification on the same connection
	require.NoError(t, err)
	require.Zero(t, notifications(eye))
	closes(t, line[0])
	require.NotEqual(t, first.Token, receive(t, states, "the next").Token)
	require.EqualValues(t, 1, notifications(eye))
	closes(t, eye.client)
	require.ErrorIs(t, receive(t, states, "the end").err, election.ErrClosed)
	for _, bad := range []string{"", "x", "/x/", "/a//b"} {
		for _, err := range crowd.Observe(testContext(t), bad) {
			require.ErrorContains(t, err, fmt.Sprintf("%q", bad))
		}
	}
}

func TestStatus_SaysWhyACandidateDoesOrDoesNotLead(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a := newPeer(t, path, steady, election.WithID("a"))
	b := newPeer(t, path, steady, election.WithID("b"))
	require.Contains(t, b.Status().String(), "b at "+path+": does not lead: it does not stand: not started")
	term := a.leads()
	b.start()
	eventually(t, func() bool { return settledBehind([]*peer{b}) }, "who is ahead")
	require.Contains(t, a.Status().String(), fmt.Sprintf("leads with token %#x", term.Token()))
	require.Contains(t, b.Status().String(), "number 2 in line, behind a ("+a.Status().Znode)

	var fields map[string]any
	text, err := json.Marshal(b.Status())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &fields))
	require.Equal(t, "following", fields["state"])
	require.EqualValues(t, 2, fields["place"])
	require.Equal(t, "a", fields["ahead"].(map[string]any)["id"])
	require.Equal(t, true, fields["connected"])
	require.Equal(t, false, fields["leading"])
	require.EqualValues(t, steady, fields["timeout"])
	require.NotContains(t, fields, "lastError")
	var back election.Status
	require.NoError(t, json.Unmarshal(text, &back))
	ahead := *b.Status().Ahead
	require.NotZero(t, ahead.SessionID)
	ahead.SessionID = 0 // is not published
	require.Equal(t, &ahead, back.Ahead)

	b.proxy.Cut()
	eventually(t, func() bool { return !b.Status().Connected }, "the loss of the connection")
	require.Contains(t, b.Status().String(), "not connected")
	closes(t, a)
	require.Contains(t, a.Status().String(), "is closed")
	text, err = json.Marshal(a.Status())
	require.NoError(t, err)
	require.NotContains(t, string(text), "0001-01-01")
}

func TestStatus_IsOfOneMoment(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a, b := newPeer(t, path, steady), newPeer(t, path, steady)
	startAll(a, b)
	var looked sync.WaitGroup
	defer looked.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for _, p := range []*peer{a, b} {
		looked.Go(func() {
			looks := time.NewTicker(50 * time.Microsecond) // without a pause it would keep the terms from beginning
			defer looks.Stop()
			for {
				s := p.Status()
				if s.Leading && !assert.Equal(t, []any{election.StateLeading, 1, (*election.Participant)(nil)},
					[]any{s.State, s.Place, s.Ahead}) {
					return
				}
				select {
				case <-stop:
					return
				case <-looks.C:
				}
			}
		})
	}
	for range 100 {
		for _, p := range []*peer{a, b} {
			p.leads()
			require.NoError(t, p.Resign(testContext(t)))
		}
	}
}

// Arguments.

func TestArguments_WrongOnesAreNamedWithTheirValuesAllAtOnce(t *testing.T) {
	t.Parallel()
	c := connect(t, zktest.Shared(t).Addr(), steady)
	ctx := testContext(t)
	_, err := election.Connect(ctx, "a:x,:1,/c//d", election.WithSessionTimeout(-time.Second), election.WithTLS(nil),
		election.WithClientLogger(nil), election.WithDialer(nil), election.WithHostProvider(nil), election.WithAuth("", nil), nil)
	names(t, err, `"x"`, `":1"`, `"/c//d"`, "-1s", "WithTLS", "WithClientLogger", "WithDialer", "WithHostProvider", "WithAuth", "option 6")
	for _, bad := range []string{"", "/c", "h:0", "h:65536", "h:1,,h:2", "h:1/", "h:1/a/", "h:1/../x",
		"two hosts:1", "h\x00:1", "h:1/😀"} {
		_, err := election.Connect(shortContext(t, time.Millisecond), bad, election.WithClientLogger(silent))
		if bad == "h:1/" { // the root is a chroot like none
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		names(t, err, "connectString")
		require.NotErrorIs(t, err, context.DeadlineExceeded, bad)
	}
	_, err = election.Connect(ctx, "h", election.WithHostProvider((*zk.DNSHostProvider)(nil)))
	names(t, err, "WithHostProvider")
	_, err = election.NewClient(nil, 0, election.WithTLS(nil), election.WithSessionTimeout(time.Second), election.WithTrace(nil))
	names(t, err, "conn is nil", "0s", "WithTLS", "WithSessionTimeout", "WithTrace")
	_, err = election.NewCandidate(nil, "a//b/", election.WithID(strings.Repeat("x", 1<<20+1)), election.WithACL(nil),
		election.WithListener(nil), election.WithLogger(nil), election.WithMaxTerm(0), nil,
		election.WithNaming("a/b"), election.WithHealthCheck(0, nil), election.WithOverrun(-1, nil))
	names(t, err, "client is nil", `"a//b/"`, "1048577", "WithACL", "WithListener", "WithLogger", "WithMaxTerm",
		"option 5", `"a/b"`, "WithHealthCheck: interval 0s", "WithHealthCheck: check", "WithOverrun: grace -1ns", "WithOverrun: function")
	_, err = election.NewCandidate(c, "/a", election.WithMetadata(map[string]string{"": "x", "zone": "y"}))
	names(t, err, `WithMetadata: a key is empty, with the value "x"`)
	_, err = election.NewCandidate(c, "/a", election.WithID("a"), election.WithMetadata(map[string]string{"k": strings.Repeat("?", 1<<20/3)}))
	names(t, err, "WithMetadata: with the id, metadata takes 1048579 bytes")
	for _, bad := range []election.Naming{"", "job--", "{uuid}_-", "-", ".", "..", "😀"} {
		_, err := election.NewCandidate(c, "/a", election.WithNaming(bad))
		names(t, err, fmt.Sprintf("WithNaming: naming %q", bad))
	}
	long := strings.Repeat("x", 1<<18+1)
	_, err = election.NewCandidate(c, "/"+long, election.WithNaming(election.Naming(long)))
	names(t, err, "path", "262146 bytes", "WithNaming", "262145 bytes")
	require.Less(t, len(err.Error()), 1000)
	for _, bad := range []string{"", "a", "/a/", "/a//b", "/a/./b", "/a\x00b", "/😀"} {
		_, err := election.NewCandidate(c, bad)
		names(t, err, fmt.Sprintf("%q", bad))
		_, err = c.Leader(ctx, bad)
		names(t, err, fmt.Sprintf("%q", bad))
		_, err = c.Participants(ctx, bad)
		names(t, err, fmt.Sprintf("%q", bad))
	}
}

func names(t *testing.T, err error, all ...string) {
	t.Helper()
	require.Error(t, err)
	for _, what := range all {
		require.ErrorContains(t, err, what)
	}
}

// NewClient.

func TestNewClient_NeedsNobodyToReadTheConnectionsEvents(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	proxy := zktest.NewProxy(t, zktest.Shared(t).Addr())
	conn, _, err := zk.Connect([]string{proxy.Addr()}, brief, zk.WithLogger(noLog{})) // the channel overflows
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	c, err := election.NewClient(conn, brief, election.WithClientLogger(silent))
	require.NoError(t, err)
	a, b := newCandidate(t, c, path), newCandidate(t, c, path)
	term, err := a.Await(testContext(t))
	require.NoError(t, err)
	require.NoError(t, b.Start(testContext(t)))

	proxy.Cut()
	eventually(t, func() bool { return len(by.line(path)) == 0 }, "the session's end")
	require.False(t, a.HasLeadership())
	proxy.Heal()
	eventually(t, func() bool { return a.HasLeadership() != b.HasLeadership() }, "one of them") // either may be first
	for _, cand := range []*election.Candidate{a, b} {
		eventually(t, func() bool { return cand.Status().Token > term.Token() }, "a newer znode")
	}
	eventually(t, func() bool { return len(by.line(path)) == 2 }, "both in line")
	closes(t, c)
	eventually(t, func() bool { return len(by.line(path)) == 0 }, "an end of its znodes, one by one")
	_, _, err = conn.Exists("/")
	require.NoError(t, err, "the connection is the caller's, and stays")
}
