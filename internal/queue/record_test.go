package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

// recorded is an entry with strict hand-over, with a znode of its own.
func recorded(t *testing.T, s *session.Session, claims *queue.Claims, prefix string, unique bool) (e *queue.Entry, own string) {
	e = entry(s, claims, prefix, unique)
	e.Strict = true
	own, _, err := e.Create()
	require.NoError(t, err)
	return e, own
}

// has requires the path's data to be this record, in this version.
func has(t *testing.T, e *zksim.Ensemble, r reign.Record, version int32) {
	t.Helper()
	n, ok := e.Get(path)
	require.True(t, ok)
	assert.Equal(t, r, reign.Decode(n.Data))
	assert.Equal(t, version, n.Stat.Version)
}

func TestAReignBeginsAndEndsInTheRecord(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		mine, own := recorded(t, s, queue.NewClaims(), "x-", true)
		n, _ := e.Get(path)
		assert.Zero(t, n.Stat.EphemeralOwner, "a container has the lowest number of all as its owner")
		r, err := mine.Records().Read(true)
		require.NoError(t, err)
		assert.Zero(t, r.Record)
		assert.Zero(t, r.Version)

		begun := reign.Record{Reign: 7, Lasts: time.Second}
		assert.ErrorIs(t, mine.Records().Begin(own, begun, 1), zk.ErrBadVersion)
		assert.ErrorIs(t, mine.Records().Begin("x-0000000009", begun, 0), zk.ErrNoNode, "its znode has to stand")
		has(t, e, reign.Record{}, 0)
		require.NoError(t, mine.Records().Begin(own, begun, 0))
		has(t, e, begun, 1)
		assert.Equal(t, zk.EventNodeDataChanged, (<-r.Watch).Type)

		assert.ErrorIs(t, mine.Leave(queue.Leaving{Name: own, Mark: true, Reign: begun, Version: 0}), zk.ErrBadVersion)
		assert.Equal(t, []string{own}, e.Children(path), "both or neither")
		require.NoError(t, mine.Leave(queue.Leaving{Name: own, Mark: true, Reign: begun, Version: 1}))
		has(t, e, reign.Record{Reign: 7, Lasts: time.Second, Left: true}, 2)
		assert.Empty(t, e.Children(path))
		assert.ErrorIs(t, mine.Leave(queue.Leaving{Name: own, Mark: true, Reign: begun, Version: 2}), zk.ErrNoNode)
		has(t, e, reign.Record{Reign: 7, Lasts: time.Second, Left: true}, 2)

		r, err = mine.Records().Read(false)
		require.NoError(t, err)
		assert.Nil(t, r.Watch)
		assert.True(t, r.Left)
		assert.EqualValues(t, 2, r.Version)
		require.NoError(t, e.DeleteTree("/app"))
		_, err = mine.Records().Read(false)
		assert.ErrorIs(t, err, zk.ErrNoNode)
	})
}

// A name without a UUID may be another candidate's once the whole path was deleted. Whoever
// leaves must not take that one's znode along, nor say that its reign is over.
func TestNobodyLeavesWithAnothersZnode(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		mine, own := recorded(t, s, queue.NewClaims(), "n_", false)
		require.NoError(t, mine.Records().Begin(own, reign.Record{Reign: 7, Lasts: time.Second}, 0))
		require.NoError(t, e.DeleteTree("/app"))

		other := dial(t, e)
		defer other.Close()
		theirs, same := recorded(t, other, queue.NewClaims(), "n_", false)
		require.Equal(t, own, same)
		begun := reign.Record{Reign: 9, Lasts: time.Second}
		require.NoError(t, theirs.Records().Begin(same, begun, 0))

		assert.ErrorIs(t, mine.Leave(queue.Leaving{Name: own, Mark: true, Reign: reign.Record{Reign: 7, Lasts: time.Second}, Version: 1}), zk.ErrNoNode)
		has(t, e, begun, 1)
		assert.Equal(t, []string{same}, e.Children(path))
		require.NoError(t, theirs.Leave(queue.Leaving{Name: same, Mark: true, Reign: begun, Version: 1}))
	})
}

// ahead has a candidate ahead that has beaten, with a reign if so, and one behind it.
func ahead(t *testing.T, e *zksim.Ensemble, s *session.Session, reigns bool) (first string, token int64, second *queue.Entry, own string) {
	claims := queue.NewClaims()
	a, first := recorded(t, s, claims, "a-", true)
	b, own := recorded(t, s, claims, "b-", true)
	require.NoError(t, e.Set(a.Node(first), []byte("beat")))
	n, _ := e.Get(a.Node(first))
	if reigns {
		require.NoError(t, a.Records().Begin(first, reign.Record{Reign: n.Stat.Czxid, Lasts: time.Second}, 0))
	}
	return first, n.Stat.Czxid, b, own
}

func TestAnEvictionSaysThatTheReignIsOver(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		first, token, b, own := ahead(t, e, s, true)
		assert.ErrorIs(t, b.Evict(own, first, 2), queue.ErrChanged)
		has(t, e, reign.Record{Reign: token, Lasts: time.Second}, 1)
		require.NoError(t, b.Evict(own, first, 1))
		has(t, e, reign.Record{Reign: token, Lasts: time.Second, Left: true}, 2)
		assert.Equal(t, []string{own}, e.Children(path))
		require.NoError(t, b.Evict(own, first, 1), "it is gone")
		has(t, e, reign.Record{Reign: token, Lasts: time.Second, Left: true}, 2)
	})
}

func TestTheEvictionOfOneThatHasNotBegunLeavesTheRecordAlone(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		first, _, b, own := ahead(t, e, s, false)
		require.NoError(t, b.Evict(own, first, 1))
		has(t, e, reign.Record{}, 0)
	})
}

// Between the reading and the transaction the one ahead may beat, leave or write the
// record. Then nothing is done at all.
func TestAnEvictionWritesAllOrNothing(t *testing.T) {
	for what, change := range map[string]func(e *zksim.Ensemble, first string) error{
		"a beat":   func(e *zksim.Ensemble, first string) error { return e.Set(path+"/"+first, nil) },
		"a record": func(e *zksim.Ensemble, _ string) error { return e.Set(path, []byte("x")) },
	} {
		t.Run(what, func(t *testing.T) {
			try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
				first, _, b, own := ahead(t, e, s, true)
				e.Delay("zk1", "client", 100*time.Millisecond, 100*time.Millisecond)
				outcome := make(chan error)
				go func() { outcome <- b.Evict(own, first, 1) }()
				time.Sleep(250 * time.Millisecond) // the check and the reading are answered, that of the record is on its way
				synctest.Wait()
				require.NoError(t, change(e, first))
				n, _ := e.Get(path)
				assert.ErrorIs(t, <-outcome, queue.ErrChanged)
				after, _ := e.Get(path)
				assert.Equal(t, n.Stat.Version, after.Stat.Version)
				assert.Len(t, e.Children(path), 2)
			})
		})
	}
}

func TestWhoMayNotWriteTheRecordIsTold(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		mine, own := recorded(t, s, queue.NewClaims(), "x-", true)
		require.NoError(t, mine.TryWrites(own))
		has(t, e, reign.Record{}, 0)
		require.NoError(t, e.SetACL(path, zk.WorldACL(zk.PermAll&^zk.PermWrite)))
		err := mine.TryWrites(own)
		assert.ErrorIs(t, err, zk.ErrNoAuth)
		assert.True(t, queue.Final(err))
	})
}
