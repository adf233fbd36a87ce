package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// player is one process with one candidate.
type player struct {
	w      *world
	name   string
	client *election.Client
	cand   *election.Candidate
	cancel context.CancelFunc
	done   sync.WaitGroup
	lived  chan struct{}                     // closed when live has returned
	as     func(context.Context, *rand.Rand) // plays; nil for what play does itself
	traced *tracked

	// Guarded by world.mu.
	term      *election.Term // the last one that the listener was notified of
	notified  bool           // … and not yet of its end of
	session   int64          // of the term
	work      string         // the znode of the term whose work runs
	holds     map[*held]struct{}
	onlookers []*onlooker
	conn      net.Conn // the latest one that was dialled
	fast      bool     // its candidate has fast failover
	dead      bool     // its network is gone: it cannot end its session
}

// join adds a player. Connecting has its own goroutine, because it may take as long as
// the faults last.
func (w *world) join() *player {
	w.mu.Lock()
	w.names++
	p := &player{w: w, name: fmt.Sprintf("p%d", w.names), lived: make(chan struct{})}
	p.traced = newTracked(func(format string, args ...any) { w.violated("the trace", p.name+": "+format, args...) })
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
		election.WithClientLogger(p.w.logger(p.name)), election.WithTrace(p.traced.trace()))
	if err != nil {
		if ctx.Err() == nil {
			p.w.broken("%s cannot connect: %v", p.name, err)
		}
		return
	}
	opts := []election.Option{election.WithID(p.name), election.WithListener(p), election.WithListener(p.traced),
		election.WithNaming(p.w.naming(r))}
	if r.IntN(2) == 0 {
		opts = append(opts, election.WithMetadata(map[string]string{"player": p.name}))
	}
	if r.IntN(4) == 0 {
		opts = append(opts, election.WithStepDownOnDisconnect())
	}
	if r.IntN(4) == 0 {
		d := time.Duration(r.Int64N(int64(10 * time.Second)))
		opts = append(opts, election.WithListener(&slow{w: p.w, name: p.name, d: d}))
	}
	if p.w.fast && r.IntN(4) > 0 {
		p.setFast()
		opts = append(opts, election.WithFastFailover(p.w.silence(r)), election.WithNaming(election.CuratorLatch))
	}
	if p.w.strict {
		opts = append(opts, election.WithStrictHandover())
	}
	opts = append(opts, p.choose(r)...)
	cand, err := election.NewCandidate(client, path, opts...)
	if err != nil {
		p.w.broken("%s: %v", p.name, err)
		return
	}
	p.w.mu.Lock()
	p.client, p.cand = client, cand
	p.w.mu.Unlock()
	p.onTheSide(ctx)
	p.lookOn(ctx)
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

// reset breaks the player's connection, as a middlebox does. The server may still have
// much to answer.
func (p *player) reset() {
	p.w.mu.Lock()
	conn := p.conn
	p.w.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// naming picks a naming. It leaves out the one without a UUID if the whole path may be
// deleted: its limits are documented.
func (w *world) naming(r *rand.Rand) election.Naming {
	if w.plainNames {
		return pick(r, election.CuratorLatch, election.ZooKeeperRecipe)
	}
	return pick(r, election.CuratorLatch, election.CuratorSelector, election.KazooLock)
}

// silence draws for how long a candidate with fast failover may be silent.
func (w *world) silence(r *rand.Rand) time.Duration {
	const least = 300 * time.Millisecond
	return least + time.Duration(r.Int64N(int64(w.timeout/2-least)+1))
}

func (p *player) setFast() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.fast = true
}

// play leads whenever it can, by Run or by Await, unless the player was given another
// way.
func (p *player) play(ctx context.Context, r *rand.Rand) {
	if p.as != nil {
		p.as(ctx, r)
		return
	}
	if r.IntN(2) == 0 && *focus != wakeCutOff { // a player that wakes up would first have to end its work
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

// lead returns work that takes some time to stop, and sometimes ends by itself.
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

// leave takes a player out: by Shutdown, by Close, by the client's Close, or as a crash
// would.
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
		if cand == nil { // it is still connecting, or has just connected
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

// cutOff cuts a player off from all servers for good.
func (w *world) cutOff(p *player) {
	for id := 1; id <= w.servers; id++ {
		w.e.Cut(p.name, zksim.ServerName(id))
	}
}

// slow is a slow listener. It checks that calls do not overlap and come in turn.
type slow struct {
	w    *world
	name string
	d    time.Duration
	term *election.Term // notified of, and not yet of its end; no lock: calls do not overlap
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
		s.w.violated("G7", "%s's slow listener was notified out of turn that a term %s", s.name, what)
	}
	time.Sleep(s.d)
	s.busy.Store(false)
}

// servers is a host provider that tries the ensemble's servers in an order drawn from the
// seed.
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
