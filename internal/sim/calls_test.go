package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// TestAnyOrderOfCallsKeepsTheContract plays storms, each drawn from one seed. A storm
// makes all calls of a candidate x, many at a time, and gives them up at any moment,
// while x's health, znode, session and connection come and go. A second candidate, y,
// waits for x's place. It has its own client, or it shares x's client, with the same ID
// and with names without a UUID.
//
// Each call must return within 100 ms of the end of its context (Run: of its work), with
// that context's error or a documented one. Listeners and the trace must be notified of
// terms and states in order and in pairs. Two works may never run at once, and y may not
// lead while x's term is held, unless x has lost its znode by a fault. After the
// storm and a Start there must be two znodes and one leader, every view of the line must
// be the same, and no old error may be shown. Once x has left, its znode must be gone,
// all listeners must have been notified, further calls must say so, and y must lead.
//
// A storm that fails prints its log and its seed. With -sim.seed x logs, too.
// SIM_SCHEDULES=N plays N storms.
func TestAnyOrderOfCallsKeepsTheContract(t *testing.T) {
	if *oneSeed != 0 {
		playStorm(t, *oneSeed)
		return
	}
	storms := min(defaultSchedules, 500)
	if testing.Short() {
		storms /= 10
	}
	first, n := uint64(count(t, "SIM_FIRST", 1)), uint64(count(t, "SIM_SCHEDULES", storms))
	var played atomic.Uint64
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for k := played.Add(1) - 1; k < n && !t.Failed(); k = played.Add(1) - 1 {
				playStorm(t, first+k)
			}
		})
	}
}

func playStorm(t *testing.T, seed uint64) {
	tell(t, func(s story) {
		c := newStorm(s, seed)
		for range 20 {
			pick(c.r, kindsOfCalls...)(c)
			time.Sleep(pick(c.r, 0, c.ms(1500)))
		}
		c.calls.Wait()
		c.calm()
		c.leave()
	})
}

// storm is the state of one storm. Checks use it as their T: see Errorf.
type storm struct {
	story
	seed      uint64
	r         *rand.Rand // only the story's goroutine draws from it
	plug      *plug      // of client
	client    *election.Client
	x, y      *election.Candidate
	late      atomic.Int64 // how late the client's reads are, in nanoseconds
	sick      atomic.Bool
	works     atomic.Int32
	taken     atomic.Int64 // when x last lost its znode to something other than its calls, since began
	calls     sync.WaitGroup
	listeners []*pairing // x's listeners from the beginning
	traced    *tracked   // nil if x and y share a client: their ID is the same, so a trace cannot tell them apart
	others    int        // znodes beside x's client's
	began     time.Time

	mu  sync.Mutex // guards log
	log []string
}

var kindsOfCalls = []func(*storm){
	(*storm).start, (*storm).await, (*storm).run, (*storm).run, (*storm).resign, (*storm).guard, (*storm).hold,
	(*storm).look, (*storm).addListener, (*storm).resignY, (*storm).sicken, (*storm).heal, (*storm).deleteZnode, (*storm).expire,
	(*storm).unplug,
}

func newStorm(s story, seed uint64) *storm {
	c := &storm{story: s, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), others: 1, began: time.Now()}
	c.plug = &plug{dial: c.dial}
	c.late.Store(int64(pick(c.r, 1, 10, 50) * int(time.Millisecond)))
	require.NoError(c, s.e.Create("/data", nil))
	sharing, trace := c.oneIn(3), &election.Trace{}
	if !sharing {
		c.traced = newTracked(func(format string, args ...any) { assert.Fail(c, fmt.Sprintf(format, args...)) })
		trace = c.traced.trace()
	}
	if c.oneIn(3) {
		c.client = s.adopt(c.plug.Dial, election.WithTrace(trace))
	} else {
		c.client = s.client("a", election.WithDialer(c.plug.Dial), election.WithTrace(trace))
	}
	ys, same := s.client("b"), []election.Option(nil)
	if sharing {
		ys, c.others = c.client, 0
		same = []election.Option{election.WithNaming(election.ZooKeeperRecipe), election.WithID("same")}
	}
	c.x = s.candidate(c.client, append(c.options(), same...)...)
	if c.oneIn(2) {
		require.NoError(c, c.x.Start(s.Context()))
	}
	c.y = s.start(ys, same...)
	return c
}

func (c *storm) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := c.e.DialerFor("a")(network, address, timeout)
	return lateConn{conn, &c.late}, err
}

// lateConn delays reads, so that calls are given up while their answers are on the way.
// It also protects the driver from a data race, which otherwise only Connect does
// (internal/session/zxid.go): no answer comes before the watches have been set
// again.
type lateConn struct {
	net.Conn
	by *atomic.Int64
}

func (l lateConn) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	time.Sleep(time.Duration(l.by.Load()))
	l.by.Load() // orders this after Write for the race detector, which does not know the clock
	return n, err
}

func (l lateConn) Write(b []byte) (int, error) {
	l.by.Add(0)
	return l.Conn.Write(b)
}

// options returns x's options: its listeners, and what may end its terms.
func (c *storm) options() (opts []election.Option) {
	add := func(when bool, o election.Option) {
		if when {
			opts = append(opts, o)
		}
	}
	c.listeners = []*pairing{{c: c, name: "prompt"}, {c: c, name: "slow", slow: 60 * time.Millisecond}}
	add(true, election.WithListener(c.listeners[0]))
	add(true, election.WithListener(c.listeners[1]))
	if c.traced != nil {
		opts = append(opts, election.WithListener(c.traced))
	}
	add(c.oneIn(2), election.WithHealthCheck(700*time.Millisecond, c.health))
	add(c.oneIn(3), election.WithStepDownOnDisconnect())
	add(c.oneIn(3), election.WithMaxTerm(5*time.Second))
	log := slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
	add(*oneSeed != 0, election.WithLogger(log))
	return opts
}

func (c *storm) health(context.Context) error {
	if c.sick.Load() {
		return errors.New("sick")
	}
	return nil
}

func (c *storm) oneIn(n int) bool           { return c.r.IntN(n) == 0 }
func (c *storm) ms(below int) time.Duration { return time.Duration(c.r.IntN(below)) * time.Millisecond }

func (c *storm) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, fmt.Sprintf("%10.3fs  ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

// Write takes x's log.
func (c *storm) Write(b []byte) (int, error) {
	c.note("        %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// Errorf adds to a failure how to play it again, and the log since the last failure.
func (c *storm) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.T.Errorf("-sim.seed=%d: %s\n%s", c.seed, fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
	c.log = nil
}

// call makes a call on its own goroutine, and checks when it returns and what: nil, its
// context's error once that has ended, or one of the expected errors. more is how much
// longer than its context the call may take.
func (c *storm) call(name string, more time.Duration, f func(context.Context) error, expected ...error) {
	d := c.ms(6000)
	c.note("%s for %v", name, d)
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(c.Context(), d)
		defer cancel()
		began := time.Now()
		err := f(ctx)
		took := time.Since(began)
		c.note("    %s for %v returned after %v: %v", name, d, took, err)
		assert.LessOrEqual(c, took, d+more+100*time.Millisecond, name)
		ok := err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) ||
			slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) })
		assert.True(c, ok, "%s: %v", name, err)
	})
}

func (c *storm) start()  { c.call("Start", 0, c.x.Start) }
func (c *storm) resign() { c.call("Resign", 0, c.x.Resign) }

func (c *storm) await() {
	c.call("Await", 0, func(ctx context.Context) error { _, err := c.x.Await(ctx); return err })
}

func (c *storm) run() {
	takes, byItself, resigns := c.ms(800), c.oneIn(2), pick(c.r, noResign, noResign, resignOwn, resignForeign)
	c.call("Run", takes, func(ctx context.Context) error {
		err := c.x.Run(ctx, func(ctx context.Context, _ *election.Term) error {
			c.work(ctx, takes, byItself, resigns)
			return nil
		})
		if err != nil && strings.Contains(err.Error(), "already running") {
			return nil
		}
		return err
	})
}

// resigning says whether the work resigns, and with which context.
type resigning int

const (
	noResign resigning = iota
	resignOwn
	resignForeign
)

// work ends by itself or when its context does, and takes some time for that.
func (c *storm) work(ctx context.Context, takes time.Duration, byItself bool, resigns resigning) {
	assert.EqualValues(c, 1, c.works.Add(1), "works at once")
	defer c.works.Add(-1)
	switch resigns {
	case resignOwn:
		assert.NoError(c, c.x.Resign(ctx))
	case resignForeign:
		foreign, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		assert.NoError(c, c.x.Resign(foreign), "with a context that knows nothing of the work")
	}
	if resigns != noResign {
		assert.Error(c, ctx.Err(), "the context of work that resigned")
	}
	if !byItself {
		<-ctx.Done()
	}
	time.Sleep(takes)
}

// guard makes a write that is refused even while the term lasts.
func (c *storm) guard() {
	term := c.x.Term()
	if term == nil {
		return
	}
	c.call("Guard", 0, func(ctx context.Context) error {
		_, err := term.Guard(ctx, &zk.SetDataRequest{Path: "/data", Version: 99})
		assert.Error(c, err, "Guard of a wrong version")
		return err
	}, election.ErrTermOver, zk.ErrBadVersion, election.ErrDisconnected)
}

// hold works outside of Run for a while. Nobody else leads meanwhile, unless x's znode
// was taken away. Until its lease ends, x may not know that it was.
func (c *storm) hold() {
	unaware, takes := time.Since(c.began)-timeout/3, c.ms(3000)
	term := c.x.Term()
	release, err := term.Hold()
	c.note("Hold for %v: %v", takes, err)
	if err != nil {
		assert.ErrorIs(c, err, election.ErrTermOver)
		assert.True(c, term == nil || errors.Is(err, term.Err()), "%v", err)
		release()
		return
	}
	c.calls.Go(func() {
		time.Sleep(takes)
		if c.y.HasLeadership() {
			assert.GreaterOrEqual(c, time.Duration(c.taken.Load()), unaware, "y leads while x's term is held")
		}
		c.note("    released after %v", takes)
		release()
		release()
	})
}

// look reads the line.
func (c *storm) look() {
	c.call("Leader", 0, func(ctx context.Context) error {
		first, err := c.client.Leader(ctx, job)
		assert.Equal(c, err == nil, first.Leader)
		return err
	}, election.ErrNoLeader, election.ErrDisconnected)
	c.call("Participants", 0, func(ctx context.Context) error {
		line, err := c.client.Participants(ctx, job)
		for i, p := range line {
			assert.Equal(c, i == 0, p.Leader, "%v", line)
		}
		return err
	}, election.ErrDisconnected)
}

func (c *storm) addListener() {
	remove := c.x.AddListener(&pairing{c: c, name: "added", slow: c.ms(150)})
	time.AfterFunc(c.ms(6000), remove)
}

func (c *storm) resignY() { c.note("y resigns: %v", c.y.Resign(c.Context())) }
func (c *storm) sicken()  { c.note("x falls ill"); c.sick.Store(true) }
func (c *storm) heal()    { c.note("x is well"); c.sick.Store(false) }
func (c *storm) deleteZnode() {
	c.taken.Store(int64(time.Since(c.began)))
	c.note("x's znode is deleted: %v", c.e.Delete(c.x.Status().Znode))
}
func (c *storm) expire() {
	c.taken.Store(int64(time.Since(c.began)))
	c.note("x's session expires: %v", c.e.ExpireSession(c.x.Status().SessionID))
}

// unplug breaks the connection of x's client, often for longer than its lease or its
// session lasts.
func (c *storm) unplug() {
	c.taken.Store(int64(time.Since(c.began)))
	c.note("x is unplugged")
	c.plug.pull()
	time.Sleep(c.ms(12000))
	c.note("x is plugged in")
	c.plug.putBack()
}

// calm checks the state after the storm.
func (c *storm) calm() {
	c.sick.Store(false)
	c.note("calm: %v", c.x.Status())
	ctx, cancel := timeoutContext(30 * time.Second)
	defer cancel()
	require.NoError(c, c.x.Start(ctx))
	time.Sleep(15 * time.Second)
	c.late.Store(0) // checks make several calls at one instant
	for minute := 0; minute < 10 && !c.Failed(); minute++ {
		time.Sleep(time.Minute)
		synctest.Wait()
		c.judgeLine()
		if c.traced != nil {
			assert.Equal(c, c.x.Status().State, c.traced.state, "the state that the trace was notified of")
		}
		assert.Empty(c, c.x.Status().LastError)
	}
}

// judgeLine checks that all views of the line are the same.
func (c *storm) judgeLine() {
	leader, other := c.x.Status(), c.y.Status()
	if other.Leading {
		leader, other = other, leader
	}
	assert.True(c, leader.Leading && !other.Leading, "%v\n%v", leader, other)
	assert.Len(c, c.e.Children(job), 2)
	line, err := c.client.Participants(c.Context(), job)
	require.NoError(c, err)
	require.Len(c, line, 2)
	assert.Equal(c, []string{leader.Znode, other.Znode}, []string{line[0].Path, line[1].Path})
	first, err := c.client.Leader(c.Context(), job)
	require.NoError(c, err)
	assert.Equal(c, line[0], first)
}

// leave makes x leave, or closes its client, or both at once.
func (c *storm) leave() {
	how, left := pick(c.r, "Shutdown", "Close", "client's Close", "client's Close during Shutdown"), 1
	c.note("x leaves by %s", how)
	switch how {
	case "Shutdown":
		assert.NoError(c, c.x.Shutdown(c.Context()))
	case "Close":
		assert.NoError(c, c.x.Close())
	case "client's Close during Shutdown":
		c.call("Shutdown", 0, c.x.Shutdown, election.ErrClosed)
		fallthrough
	default:
		assert.NoError(c, c.client.Close())
		left = c.others
	}
	assert.Len(c, c.e.Children(job), left)
	c.calls.Wait()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	assert.Equal(c, left == 1, c.y.HasLeadership(), "y leads")
	c.judgeEnd()
}

// judgeEnd checks that all listeners were notified that x has left, and that later calls
// say so.
func (c *storm) judgeEnd() {
	for _, p := range c.listeners {
		assert.Nil(c, p.term, "%s: not notified of the end of this term", p.name)
	}
	if c.traced != nil {
		c.traced.judge()
		assert.Equal(c, election.StateClosed, c.traced.state)
	}
	_, await := c.x.Await(c.Context())
	run := c.x.Run(c.Context(), func(context.Context, *election.Term) error { return nil })
	for _, err := range []error{await, run, c.x.Start(c.Context()), c.x.Resign(c.Context())} {
		assert.ErrorIs(c, err, election.ErrClosed)
	}
	assert.NoError(c, c.x.Close())
	assert.NoError(c, c.x.Shutdown(c.Context()))
}

// pairing is a listener that checks that notifications alternate and do not overlap.
type pairing struct {
	c    *storm
	name string
	slow time.Duration // IsLeader; NotLeader takes half of it
	busy atomic.Bool
	term *election.Term // notified of, and not yet of its end; no lock: calls do not overlap, and checks wait for them
}

func (p *pairing) IsLeader(t *election.Term)  { p.turn(nil, t, p.slow) }
func (p *pairing) NotLeader(t *election.Term) { p.turn(t, nil, p.slow/2) }

func (p *pairing) turn(from, to *election.Term, takes time.Duration) {
	defer p.enter()()
	assert.Same(p.c, from, p.term, "%s: notified out of turn", p.name)
	if from != nil {
		assert.Error(p.c, from.Err(), p.name)
		assert.Error(p.c, from.Context().Err(), p.name)
	}
	p.term = to
	time.Sleep(takes)
}

func (p *pairing) enter() (leave func()) {
	assert.True(p.c, p.busy.CompareAndSwap(false, true), "%s: notified while a notification runs", p.name)
	return func() { p.busy.Store(false) }
}
