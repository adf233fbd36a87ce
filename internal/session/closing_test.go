package session

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// event returns a watch's event: a znode was deleted.
func event(path string) []byte {
	const deleted, connected, zxid = 2, 3, -1
	e := jute.NewEncoder()
	e.ReplyHeader(-1, zxid, jute.CodeOK)
	e.Int32(deleted)
	e.Int32(connected)
	e.Text(path)
	return e.Frame()
}

// readsCounted counts the reads from its connection.
type readsCounted struct {
	net.Conn
	reads *atomic.Int64
}

func (c readsCounted) Read(b []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(b)
}

// piped makes a session with a server in virtual time. The server answers every request.
// When it is asked to end the session, it calls last. If deaf is not zero, the server
// reads nothing before that time and never answers. reads counts the client's reads.
func piped(t *testing.T, deaf time.Duration, last func(c net.Conn, xid int32)) (s *Session, reads *atomic.Int64) {
	reads = new(atomic.Int64)
	var talks sync.WaitGroup
	t.Cleanup(talks.Wait)
	talk := func(c net.Conn) {
		defer c.Close()
		if _, err := readFrame(c); err != nil {
			return
		}
		c.Write(granting(30*time.Second, 7))
		time.Sleep(deaf)
		for {
			b, err := readFrame(c)
			if err != nil {
				return
			}
			xid, op := headerOf(b)
			switch {
			case deaf > 0:
			case op == jute.OpCloseSession:
				last(c, xid)
			default:
				c.Write(answering(xid, 0))
			}
		}
	}
	s = dial(t, Config{Servers: []string{"server:1"}, Dialer: func(context.Context) zk.Dialer {
		return func(string, string, time.Duration) (net.Conn, error) {
			ours, theirs := net.Pipe()
			talks.Go(func() { talk(theirs) })
			return readsCounted{ours, reads}, nil
		}
	}})
	require.NoError(t, s.Wait(t.Context()))
	return s, reads
}

func TestThousandsOfEventsBeforeTheLastReplyAreReadInLargePieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		s, reads := piped(t, 0, func(c net.Conn, xid int32) {
			var all []byte
			for range n {
				all = append(all, event("/election/number/candidate-0000000000")...)
			}
			c.Write(append(all, answering(xid, 0)...))
		})
		before := reads.Load()
		require.True(t, s.Close())
		require.Less(t, reads.Load()-before, int64(n/100))
	})
}

func TestCloseWaitsLongerForAServerThatWorksOnIt(t *testing.T) {
	for name, c := range map[string]struct {
		last  func(c net.Conn, xid int32)
		ended bool
		took  time.Duration
	}{
		"it answers in the end": {func(c net.Conn, xid int32) {
			c.Write(event("/a"))
			time.Sleep(1700 * time.Millisecond)
			c.Write(event("/b"))
			c.Write(answering(xid, 0))
		}, true, 1700 * time.Millisecond},
		"it does not": {func(c net.Conn, xid int32) {
			c.Write(event("/a"))
		}, false, workWait},
		"it says nothing": {func(c net.Conn, xid int32) {}, false, silentWait},
		"it answers at once": {func(c net.Conn, xid int32) {
			c.Write(answering(xid, 0))
		}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := piped(t, 0, c.last)
				began := time.Now()
				require.Equal(t, c.ended, s.Close())
				require.Equal(t, c.took, time.Since(began))
			})
		})
	}
}

func TestCloseIsBoundedWhileNothingMoreCanBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := piped(t, silentWait+silentWait/2, nil)
		for range 100 { // more than the driver queues
			s.Go(func() { s.Conn().Get("/") })
		}
		synctest.Wait()
		began := time.Now()
		require.False(t, s.Close())
		require.LessOrEqual(t, time.Since(began), workWait)
	})
}
