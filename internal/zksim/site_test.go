package zksim_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/session"
)

// site is where a scenario is played: real or simulated servers, and how to reach them.
type site struct {
	servers []string
	dial    zk.Dialer
	settle  func(t *testing.T) // waits until all servers have applied everything; nil: no wait is needed
}

// client connects through g to the first server and waits for a session.
func (at site) client(t *testing.T, g *gate, timeout time.Duration) *zk.Conn {
	t.Helper()
	g.states = make(chan zk.State, 10_000)
	dial := session.SafeDialer(g.Dial) // the driver has a data race at reconnects
	c, _, err := zk.Connect(at.servers[:1], timeout, zk.WithDialer(dial), zk.WithLogger(quiet{}), zk.WithLogInfo(false),
		zk.WithHostProvider(&inOrder{servers: at.servers[:1]}),
		zk.WithEventCallback(func(ev zk.Event) {
			if ev.Type == zk.EventSession {
				g.states <- ev.State
			}
		}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	await(t, g.states, zk.StateHasSession)
	return c
}

// gate is a client's way to its server, which a scenario can shut. It works on any
// connection, so the comparison does not depend on how each side makes faults.
type gate struct {
	dial   zk.Dialer
	states chan zk.State

	mu   sync.Mutex // guards the following
	shut bool
	nc   net.Conn // the latest
}

var errShut = errors.New("the gate is shut")

func (g *gate) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	if g.isShut() {
		return nil, errShut
	}
	nc, err := g.dial(network, address, timeout)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nc = nc
	return nc, err
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

func (g *gate) set(shut bool) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	return g.nc
}

// cut breaks the connection and returns once the client knows.
func (g *gate) cut(t *testing.T) {
	_ = g.set(true).Close()
	await(t, g.states, zk.StateDisconnected)
}

// heal opens the gate and returns once the client has a session: the old one, or a new
// one after Expired.
func (g *gate) heal(t *testing.T) {
	g.set(false)
	await(t, g.states, zk.StateHasSession)
}
