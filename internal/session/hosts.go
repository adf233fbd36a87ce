package session

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// hosts is a host provider that hands out names, not addresses: the dialer looks a name up each time it
// connects, so a server that has moved is found again. The driver's own looks names up once (dnshostprovider.go).
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last success
}

func (h *hosts) Init(servers []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers = slices.Clone(servers)
	rand.Shuffle(len(h.servers), func(i, j int) { h.servers[i], h.servers[j] = h.servers[j], h.servers[i] })
	return nil
}

func (h *hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.servers)
}

// Next says retryStart once every server has been tried without success; the driver then pauses for a second.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next%len(h.servers)]
	retryStart = h.tried >= len(h.servers)
	if retryStart {
		h.tried = 0
	}
	h.next, h.tried = h.next+1, h.tried+1
	return server, retryStart
}

// Connected leaves one attempt more than there are servers before the next pause: one may be spent on hearing that the
// session has expired, or on a server that is about to end it, and the next one brings a new session.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = -1
}

// paced asks the driver for its pause of a second more often than a provider may: when servers greet us and are gone
// again, whether they flap or refuse us, and when the session is closed, since the driver looks for that in the
// pause alone (conn.go, connect).
type paced struct {
	zk.HostProvider
	closed context.Context // ends with the session

	mu    sync.Mutex
	tried int       // since the last pause, or the last connection that lasted
	since time.Time // of the present connection
}

const (
	lasting = time.Second // a connection that has lasted so long is none that flaps
	hasty   = 3           // connections beyond one to each server that need no pause
)

func (p *paced) Next() (server string, retryStart bool) {
	server, retryStart = p.HostProvider.Next()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() && time.Since(p.since) >= lasting {
		p.tried = 0
	}
	p.since = time.Time{}
	if p.tried >= p.Len()+hasty || p.closed.Err() != nil {
		retryStart = true
	}
	if retryStart {
		p.tried = 0
	}
	p.tried++
	return server, retryStart
}

func (p *paced) Connected() {
	p.HostProvider.Connected()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

// driverLog passes the driver's messages on at debug level. They name servers and errors, never credentials.
type driverLog struct{ log *slog.Logger }

func (d driverLog) Printf(format string, args ...any) {
	d.log.Debug("zookeeper driver: " + fmt.Sprintf(format, args...))
}
