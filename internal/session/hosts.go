package session

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
)

// hosts is a host provider that returns names, not addresses. The dialer looks a name up
// each time it connects, so a server that has moved is found again. The driver's own
// provider looks names up only once (dnshostprovider.go).
type hosts struct {
	times func() int // how many addresses a name has at most; nil: one

	mu      sync.Mutex
	servers []string
	next    int
	tried   int // attempts since the last pause or success
}

// Init sets the servers, in random order.
func (h *hosts) Init(servers []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers = slices.Clone(servers)
	rand.Shuffle(len(h.servers), func(i, j int) { h.servers[i], h.servers[j] = h.servers[j], h.servers[i] })
	return nil
}

// Len returns the number of servers.
func (h *hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.servers)
}

// Next returns the next server. retryStart is true once every address of every server has
// been tried without success. The driver then pauses for a second.
func (h *hosts) Next() (server string, retryStart bool) {
	times := 1
	if h.times != nil {
		times = h.times()
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next%len(h.servers)]
	retryStart = h.tried >= len(h.servers)*times
	if retryStart {
		h.tried = 0
	}
	h.next, h.tried = h.next+1, h.tried+1
	return server, retryStart
}

// Connected resets the count of attempts. It allows one attempt more than there are
// addresses before the next pause: one attempt may only find out that the session has
// expired, or meet a server that is about to end it, and the next one gets a new session.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = -1
}

// driverLog logs the driver's messages at debug level. They name servers and errors,
// never credentials.
type driverLog struct{ log *slog.Logger }

func (d driverLog) Printf(format string, args ...any) {
	d.log.Debug("zookeeper driver: " + fmt.Sprintf(format, args...))
}
