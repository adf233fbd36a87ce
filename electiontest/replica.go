package electiontest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// Replica is one process of the service in a [Chaos]: how it connects, and to whom it
// reports its work. A replica that is started again is a new Replica with the same name.
// Its methods may be called from any goroutine.
type Replica struct {
	name   string
	storm  *storm
	net    *lines
	order  *rand.Rand // of the servers that it tries
	cancel context.CancelFunc

	// Guarded by storm.mu.
	stopping bool          // it was told to end
	again    time.Duration // how long after its end it is started again
}

// Name returns the replica's name: "a", "b" and so on. Pass it to [election.WithID].
func (r *Replica) Name() string { return r.name }

// ConnectString returns the connect string for [election.Connect]. Append a chroot if the
// service uses one.
func (r *Replica) ConnectString() string { return r.storm.servers.ConnectString() }

// Options returns what [election.Connect] needs to reach the servers of the Chaos: a
// dialer, the order of the servers by the seed, and a logger that drops everything. Options
// that follow them count instead: [Logger] shows the library's log.
func (r *Replica) Options() []election.ClientOption {
	return []election.ClientOption{election.WithDialer(r.Dialer()), election.WithHostProvider(&hosts{r: r.order}),
		election.WithClientLogger(slog.New(slog.DiscardHandler))}
}

// Dialer returns the dialer alone.
func (r *Replica) Dialer() zk.Dialer { return r.net.dial }

// Begin reports that the replica begins work of this term, and returns the function that
// reports its end. Call it before the first thing that no two may do at once, and end after
// the last one. A term may have several works at once. A second call of end does nothing.
func (r *Replica) Begin(t *election.Term) (end func()) { return r.storm.ledger.begin(r, t) }

// Write reports that a resource has accepted a write with this token. resource is any name.
// The tokens of one resource must be those of one election. Do not report what the resource
// has refused: to refuse old tokens is what it should do.
func (r *Replica) Write(resource string, token int64) { r.storm.ledger.write(r, resource, token) }

// Logf adds a line to the log that a failure shows.
func (r *Replica) Logf(format string, args ...any) {
	r.storm.note(r.name+": "+format, args...)
}

// hosts tries the servers in an order that the seed gives. It pauses after each round, as
// the library's own order does.
type hosts struct {
	r     *rand.Rand
	all   []string
	next  int
	tried int
}

func (h *hosts) Init(all []string) error {
	h.all = slices.Sorted(slices.Values(all))
	h.r.Shuffle(len(h.all), func(i, j int) { h.all[i], h.all[j] = h.all[j], h.all[i] })
	return nil
}

func (h *hosts) Len() int { return len(h.all) }

func (h *hosts) Next() (server string, retryStart bool) {
	if retryStart = h.tried >= len(h.all); retryStart {
		h.tried = 0
	}
	h.next, h.tried = (h.next+1)%len(h.all), h.tried+1
	return h.all[h.next], retryStart
}

func (h *hosts) Connected() { h.tried = 0 }
