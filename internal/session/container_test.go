package session

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// lateContainers makes a session with a server that answers a request for a container
// after a while, and all others at once.
func lateContainers(t *testing.T, after time.Duration) *Session {
	var talks sync.WaitGroup
	t.Cleanup(talks.Wait)
	talk := func(c net.Conn) {
		defer c.Close()
		if _, err := readFrame(c); err != nil {
			return
		}
		c.Write(granting(30*time.Second, 7))
		for {
			b, err := readFrame(c)
			if err != nil {
				return
			}
			xid, op := headerOf(b)
			if op != jute.OpCreateContainer {
				c.Write(answering(xid, 0))
				continue
			}
			e := jute.NewEncoder()
			e.ReplyHeader(xid, 1, jute.CodeOK)
			e.Text("/a")
			talks.Go(func() {
				time.Sleep(after)
				c.Write(e.Frame())
			})
		}
	}
	s := dial(t, Config{Servers: []string{"server:1"}, Dialer: func(context.Context) zk.Dialer {
		return func(string, string, time.Duration) (net.Conn, error) {
			ours, theirs := net.Pipe()
			talks.Go(func() { talk(theirs) })
			return ours, nil
		}
	}})
	require.NoError(t, s.Wait(t.Context()))
	return s
}

func TestCloseWaitsForTheAnswerToACreateContainer(t *testing.T) {
	for name, c := range map[string]struct {
		after, most time.Duration
		answered    bool
	}{
		"soon":  {300 * time.Millisecond, 300 * time.Millisecond, true},
		"never": {time.Minute, workWait, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, made := lateContainers(t, c.after), make(chan error, 1)
				require.True(t, s.Go(func() { made <- CreateContainer(s, "/a", nil) }))
				synctest.Wait()
				began := time.Now()
				s.Close()
				require.LessOrEqual(t, time.Since(began), c.most)
				require.Equal(t, c.answered, <-made == nil)
				require.Error(t, CreateContainer(s, "/a", nil), "the session is closed")
			})
		})
	}
}
