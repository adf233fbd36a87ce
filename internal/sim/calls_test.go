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

// TestAnyOrderOfCallsKeepsTheContract plays storms, each drawn from one seed: every call that a candidate x has, many
// at a time and given up at any moment, while its health, znode, session and connection come and go. A second one, y,
// stands by, on a client of its own or on x's, there under the same identity and names without a UUID.
//
// It judges each call: it returns within 100 ms of its context's end (Run, of its work's), with that context's error
// or a documented one. Listeners and metrics hear of terms and states in order and in pairs; two works never run at
// once. After the storm and a Start there are two znodes and one leader, all who can be asked say the same, and no old
// error is shown. Once x has left, its znode is gone, everybody was told, further calls say so, and y leads.
//
// A storm that fails prints its log, and its seed for -sim.seed, with which x logs too. SIM_SCHEDULES=N plays N storms.
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

// storm is what x goes through. It is the judges' T: see Errorf.
type storm struct {
	story
	seed    uint64
	r       *rand.Rand // the story's goroutine alone draws from it
	plug    *plug      // of client
	client  *election.Client
	x, y    *election.Candidate
	late    atomic.Int64 // nanoseconds that whatever client reads comes late
	sick    atomic.Bool
	works   atomic.Int32
	calls   sync.WaitGroup
	told    []*pairing // x's listeners, from the start on
	metrics *pairing
	others  int // znodes beside x's client's
	began   time.Time

	mu  sync.Mutex // guards log
	log []string
}

var kindsOfCalls = []func(*storm){
	(*storm).start, (*storm).await, (*storm).run, (*storm).run, (*storm).resign, (*storm).guard, (*storm).look,
	(*storm).addListener, (*storm).resignY, (*storm).sicken, (*storm).heal, (*storm).deleteZnode, (*storm).expire,
	(*storm).unplug,
}

func newStorm(s story, seed uint64) *storm {
	c := &storm{story: s, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), others: 1, began: time.Now()}
	c.plug = &plug{dial: c.dial}
	c.late.Store(int64(pick(c.r, 1, 10, 50) * int(time.Millisecond)))
	require.NoError(c, s.e.Create("/data", nil))
	if c.oneIn(3) {
		c.client = s.adopt(c.plug.Dial)
	} else {
		c.client = s.client("a", election.WithDialer(c.plug.Dial))
	}
	ys, same := s.client("b"), []election.Option(nil)
	if c.oneIn(3) {
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

// lateConn lets calls be given up while their answers are under way. It also keeps the driver from a data race, as
// otherwise only Connect does (internal/session/wire.go, pass): no answer comes before the watches have been set again.
type lateConn struct {
	net.Conn
	by *atomic.Int64
}

func (l lateConn) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	time.Sleep(time.Duration(l.by.Load()))
	l.by.Load() // after Write's, which the race detector does not know from the clock
	return n, err
}

func (l lateConn) Write(b []byte) (int, error) {
	l.by.Add(0)
	return l.Conn.Write(b)
}

// options are x's: whom it tells, and what may end its terms.
func (c *storm) options() (opts []election.Option) {
	add := func(when bool, o election.Option) {
		if when {
			opts = append(opts, o)
		}
	}
	c.metrics = &pairing{c: c, name: "metrics", state: election.StateIdle}
	c.told = []*pairing{{c: c, name: "prompt"}, {c: c, name: "slow", slow: 60 * time.Millisecond}}
	add(true, election.WithMetrics(c.metrics))
	add(true, election.WithListener(c.told[0]))
	add(true, election.WithListener(c.told[1]))
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

// Write is where x logs.
func (c *storm) Write(b []byte) (int, error) {
	c.note("        %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// Errorf adds to a failure how to play it again, and the log, from the last failure on.
func (c *storm) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.T.Errorf("-sim.seed=%d: %s\n%s", c.seed, fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
	c.log = nil
}

// call makes a call on a goroutine of its own, and judges when it returns, and with what: nil, its context's error once
// that has ended, or one of those expected. more is how much longer than its context it may take.
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
	takes, byItself, resigns := c.ms(800), c.oneIn(2), c.oneIn(4)
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

// work ends by itself or when it is told to, and takes its time for it.
func (c *storm) work(ctx context.Context, takes time.Duration, byItself, resigns bool) {
	assert.EqualValues(c, 1, c.works.Add(1), "works at once")
	defer c.works.Add(-1)
	if resigns {
		assert.NoError(c, c.x.Resign(ctx))
		assert.Error(c, ctx.Err(), "the context of work that resigned")
	}
	if !byItself {
		<-ctx.Done()
	}
	time.Sleep(takes)
}

// guard writes what is refused even while the term lasts.
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

// look asks who stands.
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

func (c *storm) resignY()     { c.note("y resigns: %v", c.y.Resign(c.Context())) }
func (c *storm) sicken()      { c.note("x falls ill"); c.sick.Store(true) }
func (c *storm) heal()        { c.note("x is well"); c.sick.Store(false) }
func (c *storm) deleteZnode() { c.note("x's znode is deleted: %v", c.e.Delete(c.x.Status().Znode)) }
func (c *storm) expire() {
	c.note("x's session expires: %v", c.e.ExpireSession(c.x.Status().SessionID))
}

// unplug leaves x's client without a connection, often for longer than a lease lasts, or a session.
func (c *storm) unplug() {
	c.note("x is unplugged")
	c.plug.pull()
	time.Sleep(c.ms(12000))
	c.note("x is plugged in")
	c.plug.putBack()
}

// calm judges what the storm leaves behind.
func (c *storm) calm() {
	c.sick.Store(false)
	c.note("calm: %v", c.x.Status())
	ctx, cancel := timeoutContext(30 * time.Second)
	defer cancel()
	require.NoError(c, c.x.Start(ctx))
	time.Sleep(15 * time.Second)
	c.late.Store(0) // judges ask several at one instant
	for minute := 0; minute < 10 && !c.Failed(); minute++ {
		time.Sleep(time.Minute)
		synctest.Wait()
		c.judgeLine()
		assert.Equal(c, c.x.Status().State, c.metrics.state, "what metrics were told")
		assert.Empty(c, c.x.Status().LastError)
	}
}

// judgeLine looks whether all who know of the line say the same.
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

// leave takes x out of the line, or closes its client, or both at once.
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

// judgeEnd looks whether all who were to be told that x has left were, and those are who ask.
func (c *storm) judgeEnd() {
	for _, p := range append(c.told, c.metrics) {
		assert.Nil(c, p.term, "%s: the end of this was not told", p.name)
	}
	assert.Equal(c, election.StateClosed, c.metrics.state)
	_, await := c.x.Await(c.Context())
	run := c.x.Run(c.Context(), func(context.Context, *election.Term) error { return nil })
	for _, err := range []error{await, run, c.x.Start(c.Context()), c.x.Resign(c.Context())} {
		assert.ErrorIs(c, err, election.ErrClosed)
	}
	assert.NoError(c, c.x.Close())
	assert.NoError(c, c.x.Shutdown(c.Context()))
}

// pairing is a listener, or metrics, that looks whether it is told of everything by turns, one at a time.
type pairing struct {
	c     *storm
	name  string
	slow  time.Duration // IsLeader; NotLeader takes half of it
	busy  atomic.Bool
	term  *election.Term // told of, and not of its end; no lock: calls do not overlap, and judges wait till all is quiet
	state election.State // likewise
}

func (p *pairing) IsLeader(t *election.Term)                   { p.turn(nil, t, p.slow) }
func (p *pairing) NotLeader(t *election.Term)                  { p.turn(t, nil, p.slow/2) }
func (p *pairing) TermBegan(t *election.Term)                  { p.turn(nil, t, 0) }
func (p *pairing) TermEnded(t *election.Term, _ time.Duration) { p.turn(t, nil, 0) }
func (*pairing) Failed(error)                                  {}

func (p *pairing) turn(from, to *election.Term, takes time.Duration) {
	defer p.enter()()
	assert.Same(p.c, from, p.term, "%s: told out of turn", p.name)
	if from != nil {
		assert.Error(p.c, from.Err(), p.name)
		assert.Error(p.c, from.Context().Err(), p.name)
	}
	p.term = to
	time.Sleep(takes)
}

func (p *pairing) StateChanged(from, to election.State) {
	defer p.enter()()
	assert.Equal(p.c, p.state, from, "%s: told of %v out of turn", p.name, to)
	p.state = to
}

func (p *pairing) enter() (leave func()) {
	assert.True(p.c, p.busy.CompareAndSwap(false, true), "%s: told while it is being told", p.name)
	return func() { p.busy.Store(false) }
}
