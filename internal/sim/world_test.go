package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

const path = "/sim/job"

// syncLimit is that of ZooKeeper's zoo_sample.cfg, in ticks.
const syncLimit = 5

// drift is how far the README lets clocks run apart.
const drift = 0.05

// world is one schedule: an ensemble, players, and the observer that watches them.
type world struct {
	t          *testing.T
	seed       uint64
	r          *rand.Rand // the schedule's goroutine alone draws from it
	e          *zksim.Ensemble
	servers    int
	timeout    time.Duration
	tick       time.Duration
	began      time.Time
	plainNames bool // some bear names without a UUID, and nobody deletes the whole path

	mu       sync.Mutex // guards the following
	players  []*player  // that are open
	everyone []*player
	names    int
	log      []string
	last     *election.Term // that began
	leader   *player        // whose it was
	lastAt   time.Time
	byHand   map[int64]int  // how often an operator deleted the znode with this czxid
	ended    map[int64]bool // sessions that an operator has ended
	made     int64          // czxid of the election path
	swept    time.Time      // when the whole path was last deleted
	resigned time.Time      // when a leader last left office of its own accord
	counts   counts
	failed   bool
}

// counts is what a schedule was made of.
type counts struct {
	Terms  int
	Faults map[string]int
}

// player is one process with one candidate.
type player struct {
	w      *world
	name   string
	client *election.Client
	cand   *election.Candidate
	cancel context.CancelFunc
	done   sync.WaitGroup
	lived  chan struct{} // closed when live has returned

	// Guarded by world.mu.
	term *election.Term // that the listener was last told of
	told bool           // …and has not been told the end of
	work string         // znode of the term under which work runs
	conn net.Conn       // the latest that was dialled
	dead bool           // its network is gone: it cannot end its session
}

func newWorld(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 42))
	w := &world{t: t, seed: seed, r: r, servers: pick(r, 1, 3, 3, 3, 5), began: time.Now(),
		timeout: pick[time.Duration](r, 2, 4, 4, 6) * time.Second, tick: pick[time.Duration](r, 250, 500, 1000) * time.Millisecond,
		byHand: map[int64]int{}, ended: map[int64]bool{}, counts: counts{Faults: map[string]int{}}}
	limit, apart := pick(r, 2, syncLimit, 10), pick(r, 0, 0, drift, -drift)
	if *focus != "" { // short sessions, at servers whose clocks are fast and that stay with their leader longer than these last
		w.servers, w.timeout, w.tick, limit, apart = 3, 2*time.Second, time.Second, syncLimit, drift
	}
	w.e = zksim.New(zksim.Config{Servers: w.servers, Tick: w.tick, Seed: seed, SyncLimit: limit, Drift: apart})
	w.plainNames = seed%4 == 0
	w.e.OnReply(w.onReply)
	w.note("%d servers, tick %v, session timeout %v", w.servers, w.tick, w.timeout)
	return w
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// note adds a line to what is printed of a schedule that fails.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *world) noteLocked(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%10.3fs  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail ends a schedule; the first violation counts. It is called with the lock held.
func (w *world) fail(guarantee, format string, args ...any) {
	if w.failed {
		return
	}
	w.failed = true
	w.noteLocked("VIOLATION of %s: "+format, append([]any{guarantee}, args...)...)
	w.t.Errorf("-sim.seed=%d -sim.focus=%q: %s: %s\n%s", w.seed, *focus, guarantee, fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

func (w *world) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// join adds a player. Connecting has its own goroutine, since it may take as long as the faults do.
func (w *world) join() *player {
	w.mu.Lock()
	w.names++
	p := &player{w: w, name: fmt.Sprintf("p%d", w.names), lived: make(chan struct{})}
	w.players = append(w.players, p)
	w.everyone = append(w.everyone, p)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	seed := w.r.Uint64()
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		defer close(p.lived)
		p.live(ctx, rand.New(rand.NewPCG(seed, 7)))
	}()
	return p
}

// live connects and plays until ctx ends.
func (p *player) live(ctx context.Context, r *rand.Rand) {
	client, err := election.Connect(ctx, p.w.e.ConnectString(), election.WithDialer(p.dial),
		election.WithSessionTimeout(p.w.timeout), election.WithHostProvider(&servers{r: r}),
		election.WithClientLogger(p.w.logger(p.name)))
	if err != nil {
		if ctx.Err() == nil {
			p.w.broken("%s cannot connect: %v", p.name, err)
		}
		return
	}
	opts := []election.Option{election.WithID(p.name), election.WithListener(p),
		election.WithNaming(p.w.naming(r))}
	if r.IntN(4) == 0 {
		opts = append(opts, election.WithStepDownOnDisconnect())
	}
	if r.IntN(4) == 0 {
		opts = append(opts, election.WithListener(&slow{w: p.w, name: p.name, d: time.Duration(r.Int64N(int64(10 * time.Second)))}))
	}
	cand, err := election.NewCandidate(client, path, opts...)
	if err != nil {
		p.w.broken("%s: %v", p.name, err)
		return
	}
	p.w.mu.Lock()
	p.client, p.cand = client, cand
	p.w.mu.Unlock()
	p.play(ctx, r)
}

// dial remembers the connection, so that a fault can reset it.
func (p *player) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := p.w.e.DialerFor(p.name)(network, address, timeout)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.conn = conn
	return conn, err
}

// reset breaks the player's connection, as a middlebox does; the server may still have much to answer.
func (p *player) reset() {
	p.w.mu.Lock()
	conn := p.conn
	p.w.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// naming leaves out the one without a UUID where whole paths are deleted: what it then cannot promise is documented.
func (w *world) naming(r *rand.Rand) election.Naming {
	if w.plainNames {
		return pick(r, election.CuratorLatch, election.ZooKeeperRecipe)
	}
	return pick(r, election.CuratorLatch, election.CuratorSelector, election.KazooLock)
}

func (w *world) broken(format string, args ...any) { w.violated("the schedule", format, args...) }

func (w *world) violated(guarantee, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(guarantee, format, args...)
}

// play leads whenever it can, by Run or by Await.
func (p *player) play(ctx context.Context, r *rand.Rand) {
	if r.IntN(2) == 0 && *focus != wakeCutOff { // who wakes up would have its work to end first
		for ctx.Err() == nil && !errors.Is(p.cand.Run(ctx, p.lead(r)), election.ErrClosed) {
		}
		return
	}
	for {
		term, err := p.cand.Await(ctx)
		if err != nil {
			return
		}
		select {
		case <-term.Done():
		case <-ctx.Done():
			return
		}
	}
}

// lead is work that takes its time to stop, and now and then ends by itself.
func (p *player) lead(r *rand.Rand) func(context.Context, *election.Term) error {
	return func(ctx context.Context, term *election.Term) error {
		p.setWork(p.cand.Status().Znode)
		defer p.setWork("")
		var enough <-chan time.Time
		if r.IntN(3) == 0 {
			enough = time.After(time.Duration(r.IntN(60)) * time.Second)
		}
		select {
		case <-ctx.Done():
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		case <-enough:
		}
		return nil
	}
}

func (p *player) setWork(znode string) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.work = znode
}

// IsLeader is where every term's beginning is judged.
func (p *player) IsLeader(t *election.Term) {
	w := p.w
	job, _ := w.e.Get(path) // never under the lock, which onReply takes under the ensemble's
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Terms++
	w.noteLocked("%s leads, token %#x", p.name, t.Token())
	if p.told {
		w.fail("G7", "%s was told of a term before the end of the last", p.name)
	}
	p.term, p.told = t, true
	go w.judgeDeadline(p.name, t)
	w.made = max(w.made, job.Stat.Czxid)
	// A znode made while the whole path is being deleted may be deleted with it, by hand like the others.
	if w.deleted(t) || w.ended[p.cand.Status().SessionID] || time.Since(w.swept) < time.Second { // while the proof for it was under way: nothing is promised
		return
	}
	w.judgeBelief()
	w.judgeToken(p, t)
}

// judgeToken compares with the last leader's. Within one instant callbacks come in any order.
func (w *world) judgeToken(p *player, t *election.Term) {
	now := time.Now()
	if w.last != nil && now.After(w.lastAt) && (t.Token() < w.last.Token() || t.Token() == w.last.Token() && w.leader != p) {
		w.fail("G4", "%s leads with token %#x after %#x", p.name, t.Token(), w.last.Token())
	}
	if w.last == nil || t.Token() >= w.last.Token() {
		w.last, w.leader, w.lastAt = t, p, now
	}
}

// judgeBelief is G1: it looks at everybody twice, since goroutines go on meanwhile. A term does not come back, so two that
// live at the second look lived together at the first.
func (w *world) judgeBelief() {
	var all []*election.Term
	for _, p := range w.everyone {
		if p.cand == nil {
			continue
		}
		w.judgeClock(p)
		t := p.cand.Term()
		if t == nil && p.told && p.term.Context().Err() == nil {
			t = p.term // whose context outlives HasLeadership
		}
		if t != nil && !w.deleted(t) && !w.ended[p.cand.Status().SessionID] {
			all = append(all, t)
		}
	}
	all = slices.DeleteFunc(all, func(t *election.Term) bool { return t.Err() != nil })
	if len(all) > 1 {
		w.fail("G1", "%d believe: %v until %v and %v until %v", len(all),
			all[0], all[0].Deadline().Sub(w.began), all[1], all[1].Deadline().Sub(w.began))
	}
}

// judgeClock is the half of G2 that nobody may have to ask for: that a lease is over closes Done. It comes before
// anything that asks, since whoever asks ends a term whose lease is over.
func (w *world) judgeClock(p *player) {
	if p.told && overdue(p.term) {
		w.fail("G2", "%s's lease was over at %v, and the term lasts", p.name, p.term.Deadline().Sub(w.began))
	}
}

// judgeDeadline looks right after each moment at which the lease of a term may end. It is no step of the schedule, and few
// are so close behind one.
func (w *world) judgeDeadline(name string, t *election.Term) {
	for {
		select {
		case <-time.After(time.Until(t.Deadline()) + time.Nanosecond):
		case <-t.Done():
			return
		}
		if overdue(t) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fail("G2", "%s's lease was over at %v, and the term lasts", name, t.Deadline().Sub(w.began))
			return
		}
	}
}

func overdue(t *election.Term) bool {
	select {
	case <-t.Done():
		return false
	default:
		return time.Now().After(t.Deadline())
	}
}

// deleted reports whether an operator has deleted a term's znode, by itself or with the whole path.
func (w *world) deleted(t *election.Term) bool {
	return w.byHand[t.Token()] > 0 || t.Token() < w.made
}

// NotLeader checks that ends follow beginnings.
func (p *player) NotLeader(t *election.Term) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("%s leads no more: %v", p.name, t.Err())
	if errors.Is(t.Err(), election.ErrResigned) {
		w.resigned = time.Now()
	}
	if !p.told || p.term != t {
		w.fail("G7", "%s was told the end of a term that it was not told the beginning of", p.name)
	}
	if t.Err() == nil {
		w.fail("G7", "%s was told the end of a term that lasts", p.name)
	}
	p.told = false
}

// onReply sees every answer of the ensemble: these are the steps at which beliefs are compared. A candidate's delete must
// not come before its work stopped.
func (w *world) onReply(r zksim.Reply) (lose bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.swept) >= time.Second {
		w.judgeBelief()
	}
	if r.Op == zksim.OpCreate || r.Op == zksim.OpDelete {
		w.noteLocked("    %s of %s by %s at zk%d, session %#x: %d", r.Op, r.Path, r.Client, r.Server, r.Session, r.Code)
	}
	if r.Op != zksim.OpDelete || r.Code != zksim.CodeOK {
		return false
	}
	for _, p := range w.everyone {
		if p.name == r.Client && p.work == r.Path {
			w.fail("G3", "%s deleted %s while its work ran", p.name, r.Path)
		}
	}
	return false
}

// leave takes a player out: by Shutdown, Close, the client's Close, or as a crash would.
func (w *world) leave(p *player) {
	how := pick(w.r, "shutdown", "close", "client", "crash")
	w.note("%s leaves: %s", p.name, how)
	w.mu.Lock()
	w.players = slices.DeleteFunc(w.players, func(q *player) bool { return q == p })
	cand, client := p.cand, p.client
	p.dead = how == "crash"
	w.mu.Unlock()
	w.counts.Faults["leave by "+how]++
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		if cand == nil { // still connecting, or just done with it
			p.cancel()
			<-p.lived
			if p.client != nil {
				_ = p.client.Close()
			}
			return
		}
		switch how {
		case "shutdown":
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = cand.Shutdown(ctx)
		case "close":
			_ = cand.Close()
		case "client":
			_ = client.Close()
		case "crash":
			w.cutOff(p)
		}
	}()
}

// cutOff takes a player's network away for good.
func (w *world) cutOff(p *player) {
	for id := 1; id <= w.servers; id++ {
		w.e.Cut(p.name, zksim.ServerName(id))
	}
}

// end closes everything and sees that it ends.
func (w *world) end() {
	for _, p := range w.everyone {
		p.cancel()
	}
	for _, p := range w.everyone {
		if p.client != nil {
			_ = p.client.Close()
		}
		p.done.Wait()
	}
	w.e.Close()
	time.Sleep(10 * time.Hour) // slow listeners hear everything, however late
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.everyone {
		if p.told {
			w.fail("G7", "%s was never told the end of its last term", p.name)
		}
	}
}

// slow is a listener that takes its time, and looks whether calls overlap or come out of turn.
type slow struct {
	w    *world
	name string
	d    time.Duration
	term *election.Term // told of, and not of its end; no lock: calls do not overlap
	busy atomic.Bool
}

func (s *slow) IsLeader(t *election.Term) {
	s.take(s.term == nil, "begins")
	s.term = t
}

func (s *slow) NotLeader(t *election.Term) {
	s.take(s.term == t, "ends")
	s.term = nil
}

func (s *slow) take(inTurn bool, what string) {
	if !inTurn || !s.busy.CompareAndSwap(false, true) {
		s.w.violated("G7", "%s's slow listener was told out of turn that a term %s", s.name, what)
	}
	time.Sleep(s.d)
	s.busy.Store(false)
}

// logger has everything that a player logs in the schedule's record, when one schedule is played alone.
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
	return slog.New(slog.NewTextHandler(recorder{w, name}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plain}))
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

// servers tries the ensemble's servers in an order that comes from the seed.
type servers struct {
	r     *rand.Rand
	all   []string
	next  int
	tried int
}

func (s *servers) Init(all []string) error {
	s.all = slices.Sorted(slices.Values(all))
	s.r.Shuffle(len(s.all), func(i, j int) { s.all[i], s.all[j] = s.all[j], s.all[i] })
	return nil
}

func (s *servers) Len() int { return len(s.all) }

func (s *servers) Next() (string, bool) {
	again := s.tried >= len(s.all)
	if again {
		s.tried = 0
	}
	s.next, s.tried = (s.next+1)%len(s.all), s.tried+1
	return s.all[s.next], again
}

func (s *servers) Connected() { s.tried = 0 }
