package election

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/znode"
)

// Option changes how one [Candidate] takes part.
type Option func(*config)

type config struct {
	id          string
	metadata    map[string]string
	acl         []zk.ACL
	listeners   []Listener
	log         *slog.Logger
	naming      Naming
	stepDown    bool
	healthCheck func(context.Context) error
	interval    time.Duration
	maxTerm     time.Duration
	grace       time.Duration
	overrun     func(*Term)
	requeue     requeue
	within      time.Duration // of fast failover; 0: without
	strict      bool
	noRequests  bool
	errs        []error
}

func (cfg *config) wrong(format string, args ...any) {
	cfg.errs = append(cfg.errs, fmt.Errorf(format, args...))
}

func newConfig(opts []Option) *config {
	cfg := &config{naming: CuratorLatch}
	for i, opt := range opts {
		if opt == nil {
			cfg.wrong("option %d is nil", i)
			continue
		}
		opt(cfg)
	}
	if cfg.id == "" {
		cfg.id = defaultID()
	}
	if cfg.within > 0 && !znode.Unique(string(cfg.naming)) {
		cfg.wrong("WithFastFailover: naming %.200q has no UUID, so a name may be used again after the path was deleted", string(cfg.naming))
	}
	if n := len(cfg.data(cfg.within)); n > maxID && len(cfg.id) <= maxID {
		cfg.wrong("WithMetadata: with the id, metadata takes %d bytes in the znode, over 1 MiB", n)
	}
	return cfg
}

// data is what the candidate's znode holds, if it may be silent for within (0: without
// fast failover).
func (cfg *config) data(within time.Duration) []byte {
	metadata := cfg.metadata
	if within > 0 {
		metadata = maps.Clone(metadata)
		if metadata == nil {
			metadata = map[string]string{}
		}
		znode.SetWithin(metadata, within)
	}
	return []byte(znode.Pack(cfg.id, metadata))
}

func defaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	u := znode.NewUUID()
	return host + "-" + hex.EncodeToString(u[:4])
}

// maxID is the size of the largest znode that a server accepts by default
// (jute.maxbuffer).
const maxID = 1 << 20

// WithACL sets the access control list of the candidate's znode. It also applies to the
// election path and its missing ancestors, if this candidate makes them: create the path
// beforehand if others must share it. Default: open to the world, as ZooKeeper's own;
// after [WithAuth], everything for the creator and read for the world.
//
// The candidate itself needs READ on its znode, and READ, CREATE and DELETE on the path.
// The next candidate also needs READ on this znode. Without it, its watch does not fire
// and it notices the deletion only at its next check: half to one session timeout later,
// and later still if many candidates share its client (G6 in the package documentation).
//
// An ACL does not keep others from ending this client's session, and the znode with it,
// if they reach the servers and know the session's id: see "What is not promised" in the
// package documentation.
func WithACL(acl []zk.ACL) Option {
	list := append([]zk.ACL(nil), acl...)
	return func(cfg *config) {
		if len(list) == 0 {
			cfg.wrong("WithACL: acl is empty")
		}
		cfg.acl = list
	}
}

// shortestFailover is the shortest time that WithFastFailover accepts.
const shortestFailover = 100 * time.Millisecond

// WithFastFailover sets the time after which this candidate is replaced if its process
// crashes, is stopped or is cut off from ZooKeeper. It is replaced after about within,
// instead of a session timeout later. Give the option to all candidates of the election.
// Default: off.
//
// within is from 100 ms to half a session timeout. If the server grants a session timeout
// of less than 2 × within, half of the granted timeout counts, and the candidate logs a
// warning.
//
// The candidates at the first two places write their own znodes every within/5, and lead
// only while those writes are answered. If a candidate has written nothing for within, the
// candidate behind it deletes its znode. No two lead at once, for the same reasons as
// without the option (package documentation, G1). But a term ends when a write of
// ZooKeeper, or a pause of the process, takes longer than within/1.2. So choose within
// longer than both: see "Choosing how fast" in the package documentation.
//
// A leader whose work still runs after its term goes on writing, so nobody leads before the
// work has returned. If its whole process hangs, it is replaced.
//
// Candidates with another within, or without the option, may take part in the same
// election. Each is replaced after its own time, and a candidate without the option is
// replaced when its session expires.
//
// Participants of other libraries should not take part. Curator's LeaderLatch and
// ZooKeeper's LeaderElectionSupport lose their watch when the znode ahead is written, and
// may then wait for ever. The candidate logs one warning if it sees a participant without
// the option.
//
// The candidate needs WRITE on its own znode (see [WithACL]). Otherwise [Candidate.Start]
// returns the server's refusal. [NewCandidate] refuses a naming without a UUID, such as
// [ZooKeeperRecipe], because its names may be used again. The time is published in the
// metadata, with the key "election.failover-ms".
func WithFastFailover(within time.Duration) Option {
	return func(cfg *config) {
		if within < shortestFailover {
			cfg.wrong("WithFastFailover: %v is less than %v", within, shortestFailover)
			return
		}
		cfg.within = within.Truncate(time.Millisecond)
	}
}

// WithHealthCheck calls check before the candidate first enters the election and then
// every interval. While check returns an error, panics, or takes longer than interval,
// the candidate is out of the line. A term then ends with [ErrUnhealthy]. check's context
// ends when interval is over or the candidate no longer takes part. Calls never overlap.
// Default: always healthy.
func WithHealthCheck(interval time.Duration, check func(context.Context) error) Option {
	return func(cfg *config) {
		if interval <= 0 {
			cfg.wrong("WithHealthCheck: interval %v is not positive", interval)
		}
		if check == nil {
			cfg.wrong("WithHealthCheck: check is nil")
		}
		cfg.interval, cfg.healthCheck = interval, check
	}
}

// WithID sets the identity that others read from the candidate's znode. Best are a few
// bytes. More than 1 MiB is refused, and by default a server cuts the connection at a
// request of 1 MiB, path and ACL included (jute.maxbuffer). Identities may be equal: the
// znodes tell candidates apart. Default, also for "": the host's name and a random
// suffix.
func WithID(id string) Option {
	return func(cfg *config) {
		if len(id) > maxID {
			cfg.wrong("WithID: id of %d bytes is over 1 MiB", len(id))
		}
		cfg.id = id
	}
}

// WithListener registers a listener from the start: see [Candidate.AddListener]. Default:
// none.
func WithListener(l Listener) Option {
	return func(cfg *config) {
		if l == nil {
			cfg.wrong("WithListener: listener is nil")
			return
		}
		cfg.listeners = append(cfg.listeners, l)
	}
}

// WithLogger sets where the candidate logs. Default: the client's logger.
//   - Info: leadership gained and lost, and the removal of a silent candidate ahead
//     ([WithFastFailover]).
//   - Warn: a retry that needs somebody's help, such as a missing permission.
//   - Error: a panic of the user's code, or a fault of this library.
//   - Debug: the rest, other retries too.
//
// A candidate that has waited for one session timeout logs that at Warn with the last
// reason. It may be waiting for its znode, for the proof of its lease, for the removal of
// its znode, for the return of its work or for a passing health check. It repeats the
// line after two more session timeouts, then after four, and so on, up to every ten
// minutes. During an outage only the client does.
func WithLogger(log *slog.Logger) Option {
	return func(cfg *config) {
		if log == nil {
			cfg.wrong("WithLogger: logger is nil")
			return
		}
		cfg.log = log
	}
}

// WithMaxTerm limits how long the candidate leads. When it has led for d, 10 % more or
// less, it resigns if somebody waits in line. If nobody does, it looks again after a
// tenth of d. It does not spread the leaders of many elections over processes: the next
// in line leads, wherever it runs. Package shards does that. Default: a term lasts as long
// as it can.
func WithMaxTerm(d time.Duration) Option {
	return func(cfg *config) {
		if d <= 0 {
			cfg.wrong("WithMaxTerm: duration %v is not positive", d)
		}
		cfg.maxTerm = d
	}
}

// WithMetadata sets what others read about the candidate beside its ID, such as its
// address, version or zone. [Client.Leader], [Client.Participants], [Client.Observe] and
// [Client.Follow] return it. It stays the same for the candidate's life; a later
// WithMetadata replaces an earlier one. Keys and values may be any strings, but no key
// may be empty. Best are a few short ones: ID and metadata together may take 1 MiB in the
// znode, and by default a server cuts the connection at a request of that size.
//
// The znode holds <ID>?<key>=<value>&…, sorted by key and percent-encoded, in place of
// the ID alone. Curator and Kazoo show that line as the ID. What they write is read as an
// ID without metadata. Whoever may read the znode may read the metadata: put no secret
// into it. Keys that begin with "election." are the library's own. Default: none.
func WithMetadata(metadata map[string]string) Option {
	own := maps.Clone(metadata)
	return func(cfg *config) {
		if _, empty := own[""]; empty {
			cfg.wrong("WithMetadata: a key is empty, with the value %.200q", own[""])
			return
		}
		for key := range own {
			if strings.HasPrefix(key, znode.Reserved) {
				cfg.wrong("WithMetadata: key %.200q begins with %q, as the library's own keys do", key, znode.Reserved)
				return
			}
		}
		cfg.metadata = own
	}
}

// WithNaming sets how the candidate's znodes are called. It matters only if other
// software takes part in the same election: see [Naming]. Default: [CuratorLatch].
func WithNaming(n Naming) Option {
	return func(cfg *config) {
		if err := n.validate(); err != nil {
			cfg.wrong("WithNaming: naming %.200q %w", string(n), err)
		}
		cfg.naming = n
	}
}

// WithOverrun calls f, on its own goroutine and at most once per term, if the function
// given to Run, or work that holds the term ([Term.Hold]), is still running grace after
// the term ended. Until it returns, this candidate neither hands over nor takes part
// again. A service that cannot stop its work usually exits here. Default: the work is
// waited for.
func WithOverrun(grace time.Duration, f func(*Term)) Option {
	return func(cfg *config) {
		if grace <= 0 {
			cfg.wrong("WithOverrun: grace %v is not positive", grace)
		}
		if f == nil {
			cfg.wrong("WithOverrun: function is nil")
		}
		cfg.grace, cfg.overrun = grace, f
	}
}

// WithStepDownOnDisconnect ends a term with [ErrDisconnected] as soon as the connection
// is lost, rather than when the lease ends. The candidate keeps its place, and leads
// again if the connection is back in time. A leader then acts for a shorter time without
// knowing the state of the election, but every short loss of the connection ends a term.
// Default: off.
func WithStepDownOnDisconnect() Option {
	return func(cfg *config) { cfg.stepDown = true }
}

// WithStrictHandover makes sure that no two candidates lead, even if somebody deletes a
// leader's znode or ends its session, or the session ends earlier than its client can know
// (see "What is not promised" in the package documentation). Give the option to all
// candidates of the election, with the same session timeout. Default: off.
//
// The candidates then keep a record in the data of the election path: who led last, and
// whether that leader has left in order. If the record does not say that it has, the next
// candidate waits before it leads. The wait is 1.1 × as long as the last leader may still
// consider itself leader: a third of the session timeout, or within/1.2 with
// [WithFastFailover] if that is less. The first candidate on a new path also waits, for
// 1.1 × a third of its session timeout. A hand-over in order takes one write more than
// without the option. Leaders prove their leases twice as often.
//
// [Client.Close] ends the session and writes no record. Call [Candidate.Shutdown] before
// Close, or the next candidate waits. A leader without the option, such as another
// library's, writes no record, and no one waits for it. No one else may write the path's
// data. The candidate needs WRITE on the path. Otherwise [Candidate.Start] returns the
// server's refusal. If the candidate makes the path, it makes a persistent znode, which
// stays.
func WithStrictHandover() Option {
	return func(cfg *config) { cfg.strict = true }
}

// WithoutRequests makes the candidate ignore requests from outside, which operators make
// with [Client.RequestResign] and [Client.RequestHandOver]. It also saves the one request
// with which each leader begins to watch for them. Default: operators may ask.
func WithoutRequests() Option {
	return func(cfg *config) { cfg.noRequests = true }
}
