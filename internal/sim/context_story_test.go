package sim

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// A host provider may look names up before it allows a dial, and it takes no context.
func TestConnectObeysItsContextWhileNamesAreLookedUp(t *testing.T) {
	tell(t, func(s story) {
		ctx, cancel := context.WithTimeout(s.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(s.e.Dialer()),
			election.WithHostProvider(&asGiven{init: 2 * time.Second}), election.WithClientLogger(quiet))
		require.ErrorIs(s, err, context.DeadlineExceeded)
		assert.LessOrEqual(s, time.Since(began), 150*time.Millisecond)
		time.Sleep(10 * time.Second) // the late session is closed, or the bubble would not end
	})
}

// Every waiting call returns within 100 ms of the end of its context, even while no
// server answers.
func TestEveryCallEndsWithItsContext(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		leader, waiting := s.start(a), s.start(s.client("b"))
		term, err := leader.Await(s.Context())
		require.NoError(s, err)
		s.e.Freeze(1)
		idle := s.candidate(a)
		for _, call := range []struct {
			name string
			f    func(context.Context) error
		}{
			{"Guard", func(ctx context.Context) error { _, err := term.Guard(ctx); return err }},
			{"Connect", func(ctx context.Context) error {
				_, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(s.e.Dialer()),
					election.WithClientLogger(quiet))
				return err
			}},
			{"Start", idle.Start},
			{"Await", func(ctx context.Context) error { _, err := waiting.Await(ctx); return err }},
			{"Run", func(ctx context.Context) error {
				return waiting.Run(ctx, func(context.Context, *election.Term) error { return nil })
			}},
			{"Leader", func(ctx context.Context) error { _, err := a.Leader(ctx, job); return err }},
			{"Participants", func(ctx context.Context) error { _, err := a.Participants(ctx, job); return err }},
			{"Do", func(ctx context.Context) error {
				return a.Do(ctx, func(conn *zk.Conn) error { _, err := conn.Sync("/"); return err })
			}},
			{"Resign", leader.Resign},
			{"Shutdown", leader.Shutdown},
		} {
			ctx, cancel := context.WithTimeout(s.Context(), 200*time.Millisecond)
			began := time.Now()
			assert.ErrorIs(s, call.f(ctx), context.DeadlineExceeded, call.name)
			assert.LessOrEqual(s, time.Since(began), 300*time.Millisecond, call.name)
			cancel()
		}
		s.e.Thaw(1)
		time.Sleep(time.Minute)
	})
}

func TestAMissingContextIsAnErrorThatNamesIt(t *testing.T) {
	tell(t, func(s story) {
		var none context.Context
		a := s.client("a")
		cand := s.candidate(a)
		term, err := cand.Await(s.Context())
		require.NoError(s, err)
		_, connect := election.Connect(none, s.e.ConnectString())
		_, leader := a.Leader(none, job)
		_, participants := a.Participants(none, job)
		_, await := cand.Await(none)
		_, guard := term.Guard(none)
		all := []error{connect, leader, participants, await, guard, cand.Start(none), cand.Resign(none),
			cand.Shutdown(none),
			cand.Run(none, func(context.Context, *election.Term) error { return nil })}
		for _, observed := range a.Observe(none, job) {
			all = append(all, observed)
		}
		require.Len(s, all, 10)
		for _, err := range all {
			assert.ErrorContains(s, err, "ctx is nil")
		}
		assert.True(s, cand.HasLeadership())
		_, err = election.NewCandidate(new(election.Client), job)
		assert.ErrorContains(s, err, "client")
	})
}

func TestGuardWithAContextThatHasEndedSendsNothing(t *testing.T) {
	tell(t, func(s story) {
		term, err := s.candidate(s.client("a")).Await(s.Context())
		require.NoError(s, err)
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		_, err = term.Guard(ctx, &zk.CreateRequest{Path: "/made", Acl: zk.WorldACL(zk.PermAll)})
		require.ErrorIs(s, err, context.Canceled)
		require.ErrorContains(s, err, "nothing was sent")
		time.Sleep(time.Second)
		_, made := s.e.Get("/made")
		require.False(s, made)
	})
}
