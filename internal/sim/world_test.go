package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

const path = "/sim/job"

// syncLimit is the value of ZooKeeper's zoo_sample.cfg, in ticks.
const syncLimit = 5

// drift is how far the README lets clocks run apart: by this share the servers' clocks
// gain on the clients' or lose.
const (
	drift = 0.09
	lag   = drift / (1 - drift) // the gain of the faster clock on one that is slow by drift
)

// world is one schedule: an ensemble, its players, and what is known of them.
type world struct {
	t          *testing.T
	seed       uint64
	r          *rand.Rand // only the schedule's goroutine draws from it
	e          *zksim.Ensemble
	servers    int
	timeout    time.Duration
	tick       time.Duration
	began      time.Time
	fast       bool     // some candidates have fast failover
	strict     bool     // all candidates have strict hand-over: no two may lead, whatever happens
	operated   bool     // operators move the leadership from outside
	oneTimeout bool     // all sessions are granted the same timeout, in a strict world in which the path may be deleted
	plainNames bool     // some znodes have names without a UUID, and no fault deletes the whole path
	overloads  []func() // these end them; only the schedule's goroutine uses it

	mu         sync.Mutex // guards the following
	players    []*player  // those that have not left
	everyone   []*player
	names      int
	log        []string
	last       *election.Term // the last one that began
	leader     *player        // the player of that term
	lastAt     time.Time
	byHand     map[int64]int           // how often an operator deleted the znode with this czxid
	ended      map[int64]bool          // sessions that an operator has ended
	lost       map[int64]bool          // sessions from before data was lost
	unserved   map[int64]bool          // sessions of clients that servers greet and do not serve
	made       int64                   // czxid of the election path
	swept      time.Time               // when the whole path was last deleted
	resigned   time.Time               // when a leader last resigned or left
	granted    map[int64]time.Duration // by session: the timeout that counts since it was last resumed
	stalled    time.Time               // until when held-up pings of the ensemble's leader may have effects
	overlap    [2]*election.Term       // the two that were last seen live at once for that reason
	overlapped time.Time               // when they were first seen
	counts     counts
	struck     bool // there have been faults since the last calm time
	failed     bool
}

// counts counts the terms and faults of a schedule.
type counts struct {
	Terms     int
	Faults    map[string]int
	Violation string // what was wrong, without the schedule's log; "" if nothing was
}

func newWorld(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 42))
	w := &world{t: t, seed: seed, r: r, servers: pick(r, 1, 3, 3, 3, 5), began: time.Now(),
		timeout: pick[time.Duration](r, 2, 4, 4, 6) * time.Second,
		tick:    pick[time.Duration](r, 250, 500, 1000) * time.Millisecond,
		byHand:  map[int64]int{}, ended: map[int64]bool{}, lost: map[int64]bool{}, unserved: map[int64]bool{},
		granted: map[int64]time.Duration{}, counts: counts{Faults: map[string]int{}}}
	limit, apart := pick(r, 2, syncLimit, 10), pick(r, 0, 0, drift, -lag)
	switch *focus {
	case "":
	case grantedLess: // long sessions that can become short
		w.servers, w.timeout, w.tick, limit, apart = 3, 6*time.Second, 250*time.Millisecond, syncLimit, drift
	default:
		// Short sessions. The servers' clocks are fast, and servers follow their leader for
		// longer than a session lasts.
		w.servers, w.timeout, w.tick, limit, apart = 3, 2*time.Second, time.Second, syncLimit, drift
	}

	containers := []zksim.ContainerSupport{3: zksim.NoContainers, 5: zksim.CutsForContainers, 6: 0}
	w.e = zksim.New(zksim.Config{Servers: w.servers, Tick: w.tick, Seed: seed, SyncLimit: limit, Drift: apart,
		OpenExists: seed%2 == 0, Containers: containers[seed%7]})
	if seed%5 == 3 { // an ancestor that no one may read
		require.NoError(t, w.e.CreateFor("/sim", nil, zk.WorldACL(zk.PermCreate|zk.PermDelete)))
	}
	w.plainNames, w.fast = seed%4 == 0, seed%3 == 1 && *focus == ""
	w.operated = seed%4 == 3 && *focus == ""
	w.strict = seed%5 == 2 && *focus == ""
	w.oneTimeout = seed%2 == 0
	w.e.OnReply(w.onReply)
	w.e.OnResume(func(session int64, timeout time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.granted[session] = timeout
	})
	w.note("%d servers, tick %v, session timeout %v", w.servers, w.tick, w.timeout)
	return w
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// note adds a line to the log, which is printed if the schedule fails.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *world) noteLocked(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%10.3fs  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail records a violation. Only the first one counts. The lock must be held.
func (w *world) fail(guarantee, format string, args ...any) {
	if w.failed {
		return
	}
	w.failed = true
	w.counts.Violation = fmt.Sprintf("-sim.seed=%d: %s: %s", w.seed, guarantee, fmt.Sprintf(format, args...))
	w.noteLocked("VIOLATION of %s: "+format, append([]any{guarantee}, args...)...)
	w.t.Errorf("-sim.seed=%d -sim.focus=%q: %s: %s\n%s", w.seed, *focus, guarantee,
		fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *world) broken(format string, args ...any) { w.violated("the schedule", format, args...) }

func (w *world) violated(guarantee, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(guarantee, format, args...)
}

// end closes everything, and checks that everything ends.
func (w *world) end() {
	for _, p := range w.everyone {
		p.cancel()
	}
	for _, p := range w.everyone {
		if p.client != nil {
			_ = p.client.Close()
		}
		p.done.Wait()
		p.judgeOnlookersClosed()
	}
	w.e.Close()
	time.Sleep(10 * time.Hour) // so that slow listeners are notified of everything
	synctest.Wait()
	for _, p := range w.everyone {
		p.traced.judge()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.everyone {
		if p.notified {
			w.fail("G7", "%s was never notified of the end of its last term", p.name)
		}
	}
}

// logger returns a logger that adds to the schedule's log if only one schedule is played,
// and drops all otherwise.
func (w *world) logger(name string) *slog.Logger {
	if *oneSeed == 0 {
		return quiet
	}
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "election" || a.Key == "candidate" {
			return slog.Attr{}
		}
		return a
	}
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plain}
	return slog.New(slog.NewTextHandler(recorder{w, name}, opts))
}

type recorder struct {
	w    *world
	name string
}

func (r recorder) Write(b []byte) (int, error) {
	r.w.note("        %s: %s", r.name, strings.TrimSpace(string(b)))
	return len(b), nil
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
