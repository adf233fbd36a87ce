package queue_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

const path = "/app/job"

// dial opens a session with an ensemble, for the length of a bubble.
func dial(t *testing.T, e *zksim.Ensemble) *session.Session {
	s, err := session.Dial(session.Config{Servers: strings.Split(e.ConnectString(), ","), Timeout: 10 * time.Second,
		Dialer: func(ctx context.Context) zk.Dialer { return e.Dialer() },
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	require.NoError(t, s.Wait(t.Context()))
	return s
}

// try calls test with an ensemble and a session, in virtual time.
func try(t *testing.T, test func(t *testing.T, e *zksim.Ensemble, s *session.Session)) {
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{})
		defer e.Close()
		s := dial(t, e)
		defer s.Close()
		test(t, e, s)
	})
}

// entry is a candidate's, with names that only this candidate uses, if unique.
func entry(s *session.Session, claims *queue.Claims, prefix string, unique bool) *queue.Entry {
	return &queue.Entry{Session: s, Path: path, Prefix: prefix, Unique: unique, Data: []byte("worker"),
		ACL: zk.WorldACL(zk.PermAll), Claims: claims}
}

// Whether the znode ahead is there may be a secret; that it is gone is none.
func TestMissingTakesARefusalForASignOfLife(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		require.NoError(t, e.Create("/app", nil))
		require.NoError(t, e.Create(path, nil))
		require.NoError(t, e.CreateFor(path+"/n-0000000000", nil, []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "a:b"}}))
		mine := entry(s, queue.NewClaims(), "x-", true)
		own, _, err := mine.Create()
		require.NoError(t, err)
		gone, err := mine.Missing([]string{own, "n-0000000000", "n-0000000007"})
		require.NoError(t, err)
		assert.Equal(t, []string{"n-0000000007"}, gone)
	})
}

func TestAnEntryIsMadeReadAndRemoved(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		mine := entry(s, queue.NewClaims(), "x-", true)
		name, _, err := mine.Create()
		require.NoError(t, err)
		assert.Equal(t, "x-0000000000", name, "the path was made as well")

		own, err := mine.ReadOwn(name)
		require.NoError(t, err)
		node, _ := e.Get(mine.Node(name))
		assert.Equal(t, s.Status().ID, own.Owner)
		assert.Equal(t, own.Owner, own.Session)
		assert.Equal(t, node.Stat.Czxid, own.Token)

		require.NoError(t, mine.Delete(name))
		assert.Equal(t, zk.EventNodeDeleted, (<-own.Watch).Type)
		assert.Equal(t, machine.NoNode, queue.Fault(mine.Delete(name)))
	})
}

// A create whose reply was lost is found again by its name, and a second znode of the
// same candidate is removed.
func TestRecoverKeepsOneZnodeAndRemovesTheOthers(t *testing.T) {
	for name, unique := range map[string]bool{"by its name": true, "by its session and data": false} {
		t.Run(name, func(t *testing.T) {
			try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
				claims := queue.NewClaims()
				mine := entry(s, claims, "x-", unique)
				none, err := mine.Recover()
				require.NoError(t, err)
				assert.Empty(t, none, "there is not even a path")

				for range 2 {
					_, _, err = entry(s, queue.NewClaims(), "x-", unique).Create() // as if the answer had been lost
					require.NoError(t, err)
				}
				found, err := mine.Recover()
				require.NoError(t, err)
				assert.Equal(t, "x-0000000000", found)
				assert.Equal(t, []string{found}, e.Children(path))
			})
		})
	}
}

// Names without a UUID do not tell the candidates of one client apart: what is confirmed
// to one is not another's.
func TestAClaimedZnodeIsNobodyElses(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		claims := queue.NewClaims()
		first, second := entry(s, claims, "n_", false), entry(s, claims, "n_", false)
		name, _, err := first.Create()
		require.NoError(t, err)

		found, err := second.Recover()
		require.NoError(t, err)
		assert.Empty(t, found)
		assert.ErrorIs(t, second.Delete(name), zk.ErrNoNode)
		assert.Equal(t, []string{name}, e.Children(path))

		first.Disclaim()
		found, err = second.Recover()
		require.NoError(t, err)
		assert.Equal(t, name, found)
	})
}

func TestTheQueueIsListedFrontFirstAndTheOneAheadIsWatched(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		claims := queue.NewClaims()
		var names []string
		for _, prefix := range []string{"z-", "a-"} { // the order is that of the counters, not of the names
			name, _, err := entry(s, claims, prefix, true).Create()
			require.NoError(t, err)
			names = append(names, name)
		}
		require.NoError(t, e.Create(path+"/config", nil))
		mine := entry(s, claims, "a-", true)
		all, err := mine.List()
		require.NoError(t, err)
		assert.Equal(t, names, all)

		found, err := mine.WatchAhead([]string{"n-0000000007", names[1], names[0]})
		require.NoError(t, err)
		assert.Equal(t, []string{"n-0000000007"}, found.Gone)
		assert.Equal(t, "worker", found.Nearest.Data)
		assert.Equal(t, mine.Node(names[0]), found.Nearest.Path)
		require.NoError(t, e.Delete(found.Nearest.Path))
		assert.Equal(t, zk.EventNodeDeleted, (<-found.Watch).Type)

		found, err = mine.WatchAhead(names[:1])
		require.NoError(t, err)
		assert.Equal(t, names[:1], found.Gone)
		require.NoError(t, e.Delete(mine.Node(names[1])))
		found, err = mine.WatchAhead(names)
		require.NoError(t, err)
		assert.ElementsMatch(t, names, found.Gone)
		assert.Nil(t, found.Watch)
		assert.Zero(t, e.Stats().Watches, "what is gone is not watched")
	})
}

// What one request has found out counts, also if another failed.
func TestALookAheadThatFailsInPartTellsTheRest(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		mine := entry(s, queue.NewClaims(), "x-", true)
		_, _, err := mine.Create()
		require.NoError(t, err)
		require.NoError(t, e.CreateFor(path+"/n-0000000001", nil, []zk.ACL{{Perms: zk.PermAll, Scheme: "digest", ID: "a:b"}}))
		found, err := mine.WatchAhead([]string{"n-0000000000", "n-0000000001"})
		assert.Equal(t, machine.Denied, queue.Fault(err), "%v", err)
		assert.Equal(t, []string{"n-0000000000"}, found.Gone)
		assert.Nil(t, found.Watch)
	})
}

// All requests are on their way before the first answer comes.
func TestManyZnodesAreLookedAtInOneRoundTrip(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		claims := queue.NewClaims()
		var names []string
		for range 20 {
			name, _, err := entry(s, claims, "n-", true).Create()
			require.NoError(t, err)
			names = append(names, name)
		}
		mine := entry(s, claims, "n-", true)
		e.Delay("client", zksim.ServerName(1), 10*time.Millisecond, 10*time.Millisecond)
		ahead := func(names []string) error { _, err := mine.WatchAhead(names); return err }
		missing := func(names []string) error { _, err := mine.Missing(names); return err }
		require.NoError(t, ahead(names[:1])) // the first watch of a connection waits for the driver
		for _, look := range []func([]string) error{ahead, missing} {
			began := time.Now()
			require.NoError(t, look(names))
			assert.Equal(t, 10*time.Millisecond, time.Since(began))
		}
	})
}

func TestAFaultIsWhatTheElectionMakesOfAnError(t *testing.T) {
	for err, want := range map[error]machine.Fault{
		nil:                    machine.OK,
		zk.ErrNoNode:           machine.NoNode,
		zk.ErrSessionExpired:   machine.Failed,
		zk.ErrConnectionClosed: machine.Lost,
		zk.ErrNoServer:         machine.Lost,
		zk.ErrNoAuth:           machine.Denied,
		zk.ErrNodeExists:       machine.Denied,
		zk.ErrBadVersion:       machine.Failed,
		session.Unimplemented:  machine.Denied,
		io.ErrUnexpectedEOF:    machine.Lost,
	} {
		assert.Equal(t, want, queue.Fault(err), "%v", err)
	}
}
