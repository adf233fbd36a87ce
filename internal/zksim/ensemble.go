package zksim

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// Config describes an ensemble. The zero value is one server with ZooKeeper's defaults.
type Config struct {
	Servers   int           // 1 when zero; a single server is "standalone": epoch 0, no elections
	Tick      time.Duration // tickTime, 2 s
	InitLimit int           // initLimit, 10 ticks: how long joining a leader may take
	SyncLimit int           // syncLimit, 5 ticks: how long a peer may be silent

	// MinSession and MaxSession bound the session timeout that a client may ask for: 2
	// and 20 ticks.
	MinSession, MaxSession time.Duration

	ElectionTime       time.Duration // 200 ms from a leader's loss to the vote (FastLeaderElection.finalizeWait)
	ContainerCheck     time.Duration // 1 min between two sweeps for empty containers (znode.container.checkIntervalMs)
	ContainerNeverUsed time.Duration // when a container that never had a child goes too; 0: never
	MaxRequest         int           // jute.maxbuffer, 1 MiB - 1
	Containers         ContainerSupport
	Drift              float64 // the share by which the servers' clocks run faster than the clients'; negative: slower
	Seed               uint64  // for everything random: phases of the servers' clocks, random delays

	// OpenExists lets exists succeed without permission, as before 3.8.4 and 3.9.2. Since
	// then exists needs READ (ZOOKEEPER-2590).
	OpenExists bool
}

func (c Config) withDefaults() Config {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}

	num(&c.Servers, 1)
	num(&c.InitLimit, 10)
	num(&c.SyncLimit, 5)
	num(&c.MaxRequest, 0xfffff)
	def(&c.Tick, 2*time.Second)
	def(&c.MinSession, 2*c.Tick)
	def(&c.MaxSession, 20*c.Tick)
	def(&c.ElectionTime, 200*time.Millisecond)
	def(&c.ContainerCheck, time.Minute)
	return c
}

// Ensemble is a set of ZooKeeper servers in memory. Make one with [New]; if a test uses a
// synctest bubble, inside the bubble. Any goroutine may call its methods. But the
// functions that a caller gives to it must not: they run under its lock.
type Ensemble struct {
	cfg  Config
	born time.Time

	mu       sync.Mutex // guards the following, and the state of every server; see do
	closed   bool
	events   events
	seq      uint64
	timer    *time.Timer
	rng      *rand.Rand
	links    map[route]*link
	servers  []*server // zk1 first
	epoch    int64
	voting   bool // an election is due
	hooks    []*replyHook
	refusals []*refusal
	muted    map[string]bool // clients by name, see Mute
	broken   error           // see Broken
	stats    Stats

	pingsStalled bool
	resumed      func(session int64, timeout time.Duration) // see OnResume; nil: nobody

	wg        sync.WaitGroup // transports' goroutines
	sockets   map[net.Conn]struct{}
	listeners []net.Listener
}

// New starts an ensemble that has already elected its leader: the server with the highest
// id, which FastLeaderElection prefers among equals.
func New(cfg Config) *Ensemble {
	cfg = cfg.withDefaults()
	e := &Ensemble{cfg: cfg, born: time.Now(), links: make(map[route]*link),
		sockets: make(map[net.Conn]struct{}), muted: make(map[string]bool),
		rng: rand.New(rand.NewPCG(cfg.Seed, 0x7a6b))}
	e.timer = time.AfterFunc(time.Hour, func() { e.do(func() {}) })
	root := &entry{txn: &txn{}}
	for id := 1; id <= cfg.Servers; id++ {
		e.servers = append(e.servers, newServer(e, id, root))
	}
	e.do(e.vote)
	return e
}

// Close ends every connection and listener, and waits for their goroutines. Clients see
// their connections break, and later dials are refused.
func (e *Ensemble) Close() {
	e.mu.Lock()
	e.closed = true
	e.timer.Stop()
	for _, l := range e.listeners {
		_ = l.Close()
	}
	for c := range e.sockets {
		_ = c.Close() // its reader ends, and ends its writer
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// ServerName returns the name of a server on the network, "zk1" for id 1. Ids count from
// 1.
func ServerName(id int) string { return fmt.Sprintf("zk%d", id) }

// ConnectString returns the addresses of all servers, for the library's Connect with a
// dialer of this ensemble.
func (e *Ensemble) ConnectString() string {
	names := make([]string, len(e.servers))
	for i, s := range e.servers {
		names[i] = s.name + ":2181"
	}
	return strings.Join(names, ",")
}

// quorum returns how many servers make a majority.
func (e *Ensemble) quorum() int { return len(e.servers)/2 + 1 }

// server returns the server with the id, counted from 1. It panics for another id, which
// is a mistake in the caller's test.
func (e *Ensemble) server(id int) *server {
	if id < 1 || id > len(e.servers) {
		panic(fmt.Sprintf("zksim: no server %d among %d", id, len(e.servers)))
	}
	return e.servers[id-1]
}

// byAddress returns the server that a client dials, or nil.
func (e *Ensemble) byAddress(address string) *server {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	for _, s := range e.servers {
		if s.name == host {
			return s
		}
	}
	return nil
}

// leader returns the server that a quorum follows, or nil. If two consider themselves
// leader, it is the newer one.
func (e *Ensemble) leader() *server {
	var best *server
	for _, s := range e.servers {
		if s.lead != nil && s.lead.active && (best == nil || s.lead.epoch > best.lead.epoch) {
			best = s
		}
	}
	return best
}
