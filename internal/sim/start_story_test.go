package sim

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "unsafe" // for linkname

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// sendSetWatches is the driver's look for watches to set again. It looks once on each
// connection, while its other goroutines already send requests and read replies. How late
// it looks is up to the scheduler.
//
//go:linkname sendSetWatches github.com/go-zookeeper/zk.(*Conn).sendSetWatches
func sendSetWatches(*zk.Conn)

// onConn runs f with the client's connection.
func (s story) onConn(c *election.Client, f func(*zk.Conn) error) {
	require.NoError(s, c.Do(s.Context(), f))
}

// watch leaves a watch on a znode.
func (s story) watch(c *election.Client, path string) (fired <-chan zk.Event) {
	s.onConn(c, func(conn *zk.Conn) (err error) {
		_, _, fired, err = conn.GetW(path)
		return err
	})
	return fired
}

// lookLate makes the driver look for watches while replies come in.
func (s story) lookLate(c *election.Client) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() {
			s.onConn(c, func(conn *zk.Conn) error { _, _, err := conn.Exists("/"); return err })
		})
		wg.Go(func() {
			s.onConn(c, func(conn *zk.Conn) error { sendSetWatches(conn); return nil })
		})
	}
}

// However late the driver looks on the first connection, no watch fires for what came
// before it was set, and with -race there is no data race. So nothing needs to wait for
// the look.
func TestALateLookForWatchesOnTheFirstConnectionDoesNoHarm(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		require.NoError(s, s.e.Create("/x", nil))
		require.NoError(s, s.e.Set("/x", []byte("before")))
		fired := s.watch(c, "/x")
		s.lookLate(c)
		synctest.Wait()
		require.Empty(s, fired)

		require.NoError(s, s.e.Set("/x", []byte("after")))
		synctest.Wait()
		require.Equal(s, zk.EventNodeDataChanged, (<-fired).Type)
	})
}

// However late the driver looks on a later connection, what happened in between is
// reported, and nothing else.
func TestALateLookForWatchesAfterAReconnectMissesNothing(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		c := s.client("a", election.WithDialer(p.Dial))
		require.NoError(s, s.e.Create("/x", nil))
		require.NoError(s, s.e.Create("/y", nil))
		changed, same := s.watch(c, "/x"), s.watch(c, "/y")

		p.pull()
		synctest.Wait()
		require.NoError(s, s.e.Set("/x", []byte("meanwhile")))
		p.putBack()
		s.until(timeout, "connected again", func() bool { return c.Status().Connected })
		s.lookLate(c)
		synctest.Wait()
		require.Len(s, changed, 1)
		require.Empty(s, same)
	})
}

const oneWay, roundTrip = 10 * time.Millisecond, 2 * oneWay

// roundTrips plays f with a client to whose server every message takes oneWay, and returns
// how many round trips it took.
func (s story) roundTrips(f func()) int {
	s.delay("a", oneWay)
	defer s.delay("a", 0)
	began := time.Now()
	f()
	took := time.Since(began)
	require.Less(s, took%roundTrip, time.Millisecond)
	return int(took / roundTrip)
}

// A process that has just connected leads after four round trips: TCP's, the greeting, its
// znode, and a look at it.
func TestFromConnectingToLeadingTakesFourRoundTrips(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		require.Equal(s, 4, s.roundTrips(func() {
			_, err := s.candidate(s.client("a")).Await(s.Context())
			require.NoError(s, err)
		}))
	})
}

// The line is listed right behind the create, and the znode ahead is watched at once with
// the own one.
func TestAFollowerWatchesTheOneAheadAfterTwoRoundTrips(t *testing.T) {
	tell(t, func(s story) {
		s.start(s.client("b"))
		s.start(s.client("c"))
		c := s.client("a")
		require.Equal(s, 2, s.roundTrips(func() {
			cand := s.start(c)
			for cand.Status().State != election.StateFollowing || cand.Status().Ahead == nil {
				time.Sleep(100 * time.Microsecond)
			}
		}))
	})
}

// A look ahead of the create finds that the path is missing. Then all its levels and the
// znode are made at once, and the znode is read right behind, since the first one at a path
// has a name that is known. A client that does not know yet whether the servers make
// containers waits for the first level.
func TestAMissingPathCostsNoRoundTripMoreAndTheFirstOneOne(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		for i, path := range []string{"/first/of/all", "/second/of/all", "/second/of/more", "/and/many/levels/deep/down"} {
			cand, err := election.NewCandidate(c, path)
			require.NoError(s, err)
			expected := 2
			if i == 0 {
				expected = 3
			}
			require.Equal(s, expected, s.roundTrips(func() {
				_, err = cand.Await(s.Context())
				require.NoError(s, err)
			}), path)
		}
		require.NoError(s, c.Close())
		time.Sleep(time.Hour)
		require.Equal(s, []string{"zookeeper"}, s.e.Children("/"), "all were containers")
	})
}

// The servers write a create that fails to their disks, too. Nobody waits for that: a look
// ahead of it has found that the path is missing.
func TestAMissingPathIsMadeBeforeTheFirstCreateHasFailed(t *testing.T) {
	const disk = 30 * time.Millisecond
	tell(t, func(s story) {
		c := s.client("a")
		require.NoError(s, s.startAt(c, "/the/first")) // finds out whether the servers make containers
		time.Sleep(100 * time.Millisecond)             // its own writes would hold up the look
		s.delay("a", oneWay)
		s.e.SlowDisk(1, disk, disk)
		var asked, askedBefore atomic.Int32
		defer s.e.Refuse(func(r zksim.Asked) jute.Code {
			if r.Op == jute.OpCreate {
				asked.Add(1)
			}
			return jute.CodeOK
		})()
		s.e.OnReply(func(r zksim.Reply) bool {
			if r.Op == jute.OpCreate && r.Code == jute.CodeNoNode {
				askedBefore.Store(asked.Load())
			}
			return false
		})
		for _, path := range []string{"/the/second", "/and/many/levels/deep/down"} {
			cand, err := election.NewCandidate(c, path)
			require.NoError(s, err)
			asked.Store(0)
			_, err = cand.Await(s.Context())
			require.NoError(s, err)
			assert.EqualValues(s, 2, askedBefore.Swap(0), path)
		}
	})
}

// A server that lags behind says that the path is missing, but the create that goes out
// right behind the question succeeds. So the candidate has two znodes for a moment.
func TestG5NoCandidateIsLost_APathThatHasJustComeLeavesOneZnode(t *testing.T) {
	for name, lost := range map[string]jute.Op{"no answer": 0, "that to the create": jute.OpCreate, "that to the delete": jute.OpDelete} {
		t.Run(name+" is lost", func(t *testing.T) {
			tellAt(t, zksim.Config{Servers: 3}, func(s story) {
				const lag = time.Second
				at := 1 + s.e.Leader()%3
				c, err := election.Connect(s.Context(), zksim.ServerName(at)+":2181",
					election.WithDialer(s.e.DialerFor("a")), election.WithClientLogger(quiet))
				require.NoError(s, err)
				s.closeLater(c)
				s.e.Lag(at, lag, lag)
				require.NoError(s, s.e.Create(job, nil))

				var made atomic.Int32
				s.e.OnReply(func(r zksim.Reply) bool {
					if r.Op == jute.OpCreate && r.Code == jute.CodeOK {
						made.Add(1)
					}
					return false
				})
				if lost != 0 {
					s.e.LoseReply(func(r zksim.Reply) bool { return r.Op == lost })
				}
				cand := s.start(c)
				_, err = cand.Await(s.Context())
				require.NoError(s, err)
				if lost != jute.OpCreate { // the answer to the second is lost with that to the first
					require.EqualValues(s, 2, made.Load())
				}
				time.Sleep(2 * lag)
				require.Len(s, s.e.Children(job), 1)
				require.Equal(s, job+"/"+s.e.Children(job)[0], cand.Status().Znode)
			})
		})
	}
}
