package zksim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election/internal/zksim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet drops the client library's log.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// inOrder offers its servers in order. By default zk.Connect shuffles them.
type inOrder struct {
	servers []string
	next    int
	tried   int
}

func (p *inOrder) Init([]string) error { return nil }
func (p *inOrder) Len() int            { return len(p.servers) }
func (p *inOrder) Connected()          { p.tried = 0 }

func (p *inOrder) Next() (string, bool) {
	s := p.servers[p.next%len(p.servers)]
	p.next++
	p.tried++
	return s, p.tried > len(p.servers)
}

// inBubble runs f in virtual time with an ensemble that is closed at the end. A goroutine
// that outlives it fails the test.
func inBubble(t *testing.T, cfg zksim.Config, f func(t *testing.T, e *zksim.Ensemble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(cfg)
		t.Cleanup(e.Close)
		f(t, e)
	})
}

// client connects the real client library to the servers named, in their order, or to
// all, and waits for a session. Its session is closed with the test.
func client(t *testing.T, e *zksim.Ensemble, name string, timeout time.Duration, servers ...string) *zk.Conn {
	t.Helper()
	c, _ := watchedClient(t, e, name, timeout, servers...)
	return c
}

// watchedClient also returns the states of the session since it was made.
func watchedClient(t *testing.T, e *zksim.Ensemble, name string, timeout time.Duration, servers ...string) (*zk.Conn,
	<-chan zk.State) {
	t.Helper()
	if len(servers) == 0 {
		servers = strings.Split(e.ConnectString(), ",")
	}
	states := make(chan zk.State, 10_000)
	c, _, err := zk.Connect(servers, timeout, zk.WithDialer(e.DialerFor(name)), zk.WithLogger(quiet{}),
		zk.WithLogInfo(false),
		zk.WithHostProvider(&inOrder{servers: servers}), zk.WithEventCallback(func(ev zk.Event) {
			if ev.Type == zk.EventSession {
				states <- ev.State
			}
		}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	await(t, states, zk.StateHasSession)
	return c, states
}

// await waits for a state of the session, for up to a minute.
func await(t *testing.T, states <-chan zk.State, want zk.State) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case s := <-states:
			if s == want {
				return
			}
		case <-late:
			t.Fatalf("never %v", want)
		}
	}
}

// mustCreate makes a node that is open to all.
func mustCreate(t *testing.T, c *zk.Conn, path string, flags int32) string {
	t.Helper()
	p, err := c.Create(path, nil, flags, open)
	require.NoError(t, err)
	return p
}

// goneAfter returns how long after start c is notified that the node was deleted.
func goneAfter(t *testing.T, c *zk.Conn, path string, start time.Time) time.Duration {
	t.Helper()
	_, _, w, err := c.GetW(path)
	require.NoError(t, err)
	select {
	case ev := <-w:
		require.Equal(t, zk.EventNodeDeleted, ev.Type)
		return time.Since(start)
	case <-time.After(10 * time.Minute):
		t.Fatal("the node stays")
		return 0
	}
}
