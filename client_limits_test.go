package election_test

import (
	"context"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// nameBytes is what one candidate of the default naming takes at a path: a length of 4 bytes, the path and a slash,
// "_c_", a UUID, "-latch-", and a counter of 11 characters at most.
func nameBytes(path string) int { return 4 + len(path) + 1 + len("_c_") + 36 + len("-latch-") + 11 }

// roomFor connects a client that has room for so many candidates at a path, and less or more bytes.
func roomFor(t *testing.T, path string, n, more int) *election.Client {
	zk := electiontest.New(t)
	c, err := election.Connect(testContext(t), zk.ConnectString()+"/app", election.WithDialer(zk.Dialer("a")),
		election.WithClientLogger(silent), election.WithMaxEphemeralBytes(n*nameBytes("/app"+path)+more))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestErrTooMany_AtTheLimitAndOneByteBelow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ more, room int }{{0, 3}, {-1, 2}, {nameBytes("/app/job") - 1, 3}, {nameBytes("/app/job"), 4}} {
		client := roomFor(t, "/job", 3, c.more)
		for i := range 5 {
			err := newCandidate(t, client, "/job").Start(testContext(t))
			if i < c.room {
				require.NoError(t, err, "number %d", i)
				continue
			}
			require.ErrorIs(t, err, election.ErrTooMany)
		}
	}
}

// A candidate that was refused is not closed: it stands when another has left, by whichever method it is asked to.
func TestErrTooMany_GivesWayWhenAnotherHasLeft(t *testing.T) {
	t.Parallel()
	client := roomFor(t, "/job", 2, 0)
	a, b, c := newCandidate(t, client, "/job"), newCandidate(t, client, "/job"), newCandidate(t, client, "/job")
	ctx := testContext(t)
	require.NoError(t, a.Start(ctx))
	require.NoError(t, b.Start(ctx))
	require.NoError(t, b.Start(ctx), "one that stands is counted once")
	for range 3 {
		require.ErrorIs(t, c.Start(ctx), election.ErrTooMany)
		_, err := c.Await(ctx)
		require.ErrorIs(t, err, election.ErrTooMany)
		require.ErrorIs(t, c.Run(ctx, func(context.Context, *election.Term) error { return nil }), election.ErrTooMany)
	}
	require.Equal(t, election.StateIdle, c.Status().State)
	require.NoError(t, a.Close())
	eventually(t, func() bool { return c.Start(ctx) == nil }, "room for the third")
	require.ErrorIs(t, newCandidate(t, client, "/job").Start(ctx), election.ErrTooMany)
	require.NoError(t, b.Shutdown(ctx))
	require.NoError(t, c.Shutdown(ctx))
	require.ErrorIs(t, c.Start(ctx), election.ErrClosed)
	eventually(t, func() bool { return newCandidate(t, client, "/job").Start(ctx) == nil }, "room again")
}

// One that is closed before there was room takes none.
func TestErrTooMany_ClosedWhileRefused(t *testing.T) {
	t.Parallel()
	client := roomFor(t, "/job", 1, 0)
	a, b := newCandidate(t, client, "/job"), newCandidate(t, client, "/job")
	ctx := testContext(t)
	require.NoError(t, a.Start(ctx))
	require.ErrorIs(t, b.Start(ctx), election.ErrTooMany)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Start(ctx), election.ErrClosed)
	require.NoError(t, a.Close())
	eventually(t, func() bool { return newCandidate(t, client, "/job").Start(ctx) == nil }, "room for another")
}

func TestErrTooMany_NeverMoreThanFitWhenAllComeAtOnce(t *testing.T) {
	t.Parallel()
	const room, all = 10, 40
	client := roomFor(t, "/job", room, 0)
	ctx := testContext(t)
	for range 3 {
		var mu sync.Mutex
		var standing []*election.Candidate
		var done sync.WaitGroup
		for range all {
			cand := newCandidate(t, client, "/job")
			for range 2 {
				done.Go(func() {
					if err := cand.Start(ctx); err == nil {
						mu.Lock()
						defer mu.Unlock()
						standing = append(standing, cand)
					}
				})
			}
		}
		done.Wait()
		participants, err := client.Participants(ctx, "/job")
		require.NoError(t, err)
		require.Len(t, participants, room)
		for _, cand := range standing {
			require.NoError(t, cand.Close())
		}
	}
}

func TestWithMaxEphemeralBytes_RefusesWhatCouldDoHarm(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{0, -1, 512<<10 + 1, math.MaxInt} {
		_, err := election.Connect(testContext(t), "h:1", election.WithMaxEphemeralBytes(bad))
		names(t, err, "WithMaxEphemeralBytes")
		_, err = election.NewClient(nil, 0, election.WithMaxEphemeralBytes(bad))
		names(t, err, "WithMaxEphemeralBytes")
	}
	_, err := election.Connect(testContext(t), "", election.WithMaxEphemeralBytes(512<<10))
	require.NotContains(t, err.Error(), "WithMaxEphemeralBytes")
}
