package election_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// Await, Run, Resign, Shutdown and Close beyond the table.

func TestRun_ReturnsWhatTheWorkReturnsAndLeavesTheLine(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	p := newPeer(t, path, steady)
	trouble := errors.New("trouble")
	require.ErrorIs(t, p.Run(testContext(t), func(context.Context, *election.Term) error { return trouble }), trouble)
	require.Empty(t, by.line(path))
	require.PanicsWithValue(t, "work's panic", func() {
		_ = p.Run(testContext(t), func(context.Context, *election.Term) error { panic("work's panic") })
	})
	require.Empty(t, by.line(path))
	require.Error(t, p.Run(testContext(t), nil))

	ctx, cancel := context.WithCancel(context.WithValue(testContext(t), valueKey{}, "value"))
	err := p.Run(ctx, func(inner context.Context, term *election.Term) error {
		require.Equal(t, "value", inner.Value(valueKey{}))
		require.ErrorContains(t, p.Run(ctx, func(context.Context, *election.Term) error { return nil }), "already")
		cancel()
		<-inner.Done()
		require.NoError(t, term.Err(), "the caller's context has ended, not the term")
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	eventually(t, func() bool { return len(by.line(path)) == 0 }, "its leaving, for which Run waits a moment only")
}

type valueKey struct{}

func TestRun_LeadsAgainAfterEveryLossAndTheContextEndsWithTheTerm(t *testing.T) {
	t.Parallel()
	path, by := newPath(t), sharedAdmin(t)
	p := newPeer(t, path, steady)
	var rounds, last = 0, int64(0)
	require.NoError(t, p.Run(testContext(t), func(ctx context.Context, term *election.Term) error {
		require.Greater(t, term.Token(), last)
		last = term.Token()
		if rounds++; rounds == 4 {
			return nil
		}
		switch rounds {
		case 1:
			require.NoError(t, p.Resign(ctx), "from inside the work it does not wait for the work")
		case 2:
			require.NoError(t, p.Resign(term.Context()), "nor with the context that it ends")
		default:
			by.remove(p.Status().Znode)
		}
		<-ctx.Done()
		require.Error(t, ctx.Err())
		return errors.New("of no interest: the term was lost")
	}))
	require.Equal(t, 4, rounds)
}

func TestListeners_CallbacksMayCallEverything(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(*peer) error{
		"Close":        func(p *peer) error { return p.Close() },
		"Client.Close": func(p *peer) error { return p.client.Close() },
		"Resign":       func(p *peer) error { return p.Resign(testContext(t)) },
		"Shutdown":     func(p *peer) error { return p.Shutdown(testContext(t)) },
	} {
		for _, when := range []string{"IsLeader", "NotLeader"} {
			t.Run(name+" in "+when, func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, newPath(t), steady)
				result := make(chan error, 10)
				f := func(*election.Term) { result <- call(p) }
				l := election.ListenerFuncs{OnIsLeader: f}
				if when == "NotLeader" {
					l = election.ListenerFuncs{OnNotLeader: f}
				}
				p.AddListener(l)
				_, _ = p.Await(testContext(t)) // the callback may be quicker, and close the candidate
				if when == "NotLeader" {
					_ = p.Resign(testContext(t)) // what the callback does may cut it short
				}
				require.NoError(t, receive(t, result, name))
			})
		}
	}
}

// closeBound is what Close may take when the server does not answer, with room for a busy machine.
const closeBound = 2 * time.Second

func TestClose_InEveryStateLeavesForGoodAndOnceMoreDoesNoHarm(t *testing.T) {
	t.Parallel()
	for state, reach := range closing {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			path, by := newPath(t), sharedAdmin(t)
			sick := &atomic.Bool{}
			p := newPeer(t, path, steady/2, election.WithHealthCheck(5*time.Second, func(context.Context) error {
				if sick.Load() {
					return errors.New("sick")
				}
				return nil
			}))
			undo := reach(t, p, sick)
			p.inState(state)
			began := time.Now()
			err := p.Close()
			require.Less(t, time.Since(began), closeBound)
			if err != nil {
				require.ErrorIs(t, err, election.ErrDisconnected)
			}
			require.False(t, p.HasLeadership())
			require.Nil(t, p.Term())
			require.ErrorIs(t, p.Start(testContext(t)), election.ErrClosed)
			undo()
			require.NoError(t, p.Shutdown(testContext(t)))
			require.NoError(t, p.Close())
			require.Equal(t, election.StateClosed, p.Status().State)
			eventually(t, func() bool { return len(by.line(path)) == len(p.others()) }, "the znode's end")
			_, err = p.Await(testContext(t))
			require.ErrorIs(t, err, election.ErrClosed)
		})
	}
}

// others are those who stand and are not the peer.
func (p *peer) others() (rest []election.Participant) {
	p.t.Helper()
	all, err := p.client.Participants(testContext(p.t), p.path)
	require.NoError(p.t, err)
	for _, o := range all {
		if o.ID != p.Status().ID {
			rest = append(rest, o)
		}
	}
	return rest
}

// closing leads a peer into each state. What it returns undoes what keeps it there.
var closing = map[election.State]func(*testing.T, *peer, *atomic.Bool) func(){
	election.StateIdle: func(*testing.T, *peer, *atomic.Bool) func() { return func() {} },
	election.StateUnhealthy: func(t *testing.T, p *peer, sick *atomic.Bool) func() {
		sick.Store(true)
		go p.Start(testContext(t))
		return func() {}
	},
	election.StateJoining: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		p.proxy.Blackhole()
		go p.Start(testContext(t))
		return p.proxy.Heal
	},
	election.StateFollowing: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		newPeer(t, p.path, steady, election.WithID("other")).leads()
		p.start()
		return func() {}
	},
	election.StateElected: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		term := p.leads()
		p.proxy.Blackhole()
		require.ErrorIs(t, p.ends(term), election.ErrLeaseExpired)
		return p.proxy.Heal
	},
	election.StateLeading: func(_ *testing.T, p *peer, _ *atomic.Bool) func() {
		p.leads()
		return func() {}
	},
	election.StateStopping: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		began, let := make(chan struct{}, 1), make(chan struct{})
		go p.Run(testContext(t), func(context.Context, *election.Term) error {
			began <- struct{}{}
			<-let
			return nil
		})
		receive(t, began, "work")
		go p.Resign(testContext(t))
		return func() { close(let) }
	},
	election.StateLeaving: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		p.leads()
		p.proxy.Hold(zktest.IsKind(zktest.Request, zktest.IsOp(jute.OpDelete)))
		go p.Resign(testContext(t))
		return p.proxy.Heal
	},
	election.StateClosed: func(t *testing.T, p *peer, _ *atomic.Bool) func() {
		p.leads()
		closes(t, p)
		return func() {}
	},
}

func TestClose_OfTheClientEndsEverything(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	p := newPeer(t, path, steady)
	term := p.leads()
	other := newCandidate(t, p.client, path)
	require.NoError(t, other.Start(testContext(t)))
	waits := make(chan error, 2)
	go func() { _, err := other.Await(context.Background()); waits <- err }()
	go func() {
		waits <- newCandidate(t, p.client, path).Run(context.Background(), func(context.Context, *election.Term) error { return nil })
	}()
	closes(t, p.client)
	require.NoError(t, p.client.Close(), "a second one does no harm")
	require.ErrorIs(t, p.ends(term), election.ErrClosed)
	require.Same(t, term, receive(t, p.log.lost, "NotLeader"))
	for range 2 {
		require.ErrorIs(t, receive(t, waits, "the end of a wait"), election.ErrClosed)
	}
	require.Empty(t, sharedAdmin(t).line(path), "the session took the znodes along")
	_, err := p.client.Leader(testContext(t), path)
	require.ErrorIs(t, err, election.ErrClosed)
	require.ErrorIs(t, p.Start(testContext(t)), election.ErrClosed)
	require.ErrorIs(t, newCandidate(t, p.client, path).Start(testContext(t)), election.ErrClosed)
}

// The answers about the own znode and about the line come in any order, and in none may the candidate overlook that its
// lease is good already. The session timeout is so long that the slow tick, which would make good what was overlooked,
// comes too late to hide it.
func TestFirstInLineLeadsWithoutWaitingForATick(t *testing.T) {
	client, err := election.Connect(testContext(t), zktest.Shared(t).Addr(), election.WithSessionTimeout(2*time.Minute),
		election.WithClientLogger(silent))
	require.NoError(t, err)
	defer client.Close()
	ctx := shortContext(t, 50*time.Second)
	for i := range 60 {
		candidate, err := election.NewCandidate(client, fmt.Sprintf("%s-%d", newPath(t), i))
		require.NoError(t, err)
		_, err = candidate.Await(ctx)
		require.NoError(t, err, "%v", candidate.Status())
		closes(t, candidate)
	}
}
