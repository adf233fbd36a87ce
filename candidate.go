package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/line"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Candidate is one contender in one election. It stands from Start, Await or Run on, after every loss again, until a
// Run of it ends, which another of these may follow, or Shutdown or Close has it leave for good. It is safe for
// concurrent use.
type Candidate struct {
	// One goroutine owns the state machine; whatever happens, whoever asks, is a message to it. It never blocks: calls
	// to ZooKeeper run on goroutines of their own and come back as messages, and so do watches and timers.

	client *Client
	sess   *session.Session
	path   string // as the user gave it
	place  line.Place
	cfg    *config
	log    *slog.Logger
	hub    *hub
	told   sequence // logs and metrics

	term    atomic.Pointer[Term] // the present term: all that HasLeadership reads
	last    atomic.Pointer[Term] // the latest term, present or over
	running atomic.Bool          // Run is
	begun   atomic.Bool          // the owner goroutine has been started
	closing atomic.Bool          // Close or Shutdown has been called

	ctx    context.Context // ends when the candidate has left for good
	cancel context.CancelFunc
	once   sync.Once     // starts the owner
	bell   chan struct{} // the inbox is not empty
	exited chan struct{} // the owner has ended

	mu      sync.Mutex // guards the following; a leaf: nothing else is locked under it
	inbox   []message
	view    snapshot
	changed chan struct{} // closed at the next change of view; nil while nobody waits
	lastErr error         // of the latest request that failed, until one succeeds
	sick    error         // of the latest health check; requests that succeed do not mend it
	starts  int           // calls that wait for the candidate's first znode

	own owned
}

// owned is used by the owner goroutine alone.
type owned struct {
	machine   *machine.Machine
	epoch     uint64 // of the znode that the watches belong to
	node      <-chan zk.Event
	ahead     <-chan zk.Event
	aheadName string
	aheadIs   line.Member
	release   func() // of the lease; nil while it is not kept
	witness   string // what the lease is kept with
	retry     *time.Timer
	tick      *time.Timer
	maxTerm   *time.Timer
	refusals  int
	refusal   error
	since     time.Time // of the present state
	connected bool
	reports   []func()   // logs and metrics, for when there is time
	requests  []func()   // to ZooKeeper, for when all events have been taken
	jitter    *rand.Rand // spreads timers; drawn from the identity, so that a run can be repeated
}

// message is an event for the machine, with what the driver has to do around it.
type message struct {
	event  machine.Event
	before func() bool   // runs on the owner first and says whether the event still holds; may be nil
	done   chan struct{} // closed when the event has been taken; may be nil
}

// snapshot is what the owner lets others see.
type snapshot struct {
	machine.View
	connected bool
	closed    bool // has left for good
	cut       bool // since its client was closed, with its znode there or its work running
	refusals  int
	refusal   error
	since     time.Time
	ahead     line.Member
}

// NewCandidate returns a candidate for the election at path, an absolute znode path below the client's chroot. It does
// not stand before Start, Await or Run. A wrong argument or option is an error that names it, all of them together.
func NewCandidate(client *Client, path string, opts ...Option) (*Candidate, error) {
	cfg := newConfig(opts)
	if client == nil || client.sess == nil {
		cfg.wrong("client is nil, or not made by Connect or NewClient")
	}
	if err := znode.CheckPath(path); err != nil {
		cfg.wrong("path %.200q %w", path, err)
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("election: NewCandidate: %w", err)
	}
	return newCandidate(client, path, cfg), nil
}

func newCandidate(client *Client, path string, cfg *config) *Candidate {
	c := &Candidate{client: client, sess: client.sess, path: path, cfg: cfg,
		bell: make(chan struct{}, 1), exited: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if cfg.log == nil {
		cfg.log = client.log
	}
	c.log = cfg.log.With("election", path, "candidate", cfg.id)
	c.hub = newHub(c.log)
	for _, l := range cfg.listeners {
		c.hub.add(l)
	}
	if len(cfg.acl) == 0 {
		cfg.acl = client.acl
	}
	full := client.full(path)
	c.place = line.Place{Session: client.sess, Path: full, Data: []byte(cfg.id), ACL: cfg.acl,
		Prefix: znode.Prefix(string(cfg.naming), znode.NewUUID()), Unique: znode.Unique(string(cfg.naming)),
		Claims: client.claims}
	c.own.machine = machine.New(machine.Config{StepDownOnDisconnect: cfg.stepDown, Unhealthy: cfg.check != nil})
	seed := fnv.New64a()
	fmt.Fprint(seed, path, "\x00", cfg.id)
	c.own.jitter = rand.New(rand.NewPCG(seed.Sum64(), 0))
	c.own.since = time.Now()
	c.view.since = c.own.since
	return c
}

// HasLeadership reports whether this candidate leads at this moment. It compares the lease with the clock at every
// call, so it is right on the first call after a pause, before any goroutine has run. It takes no lock and allocates
// nothing. It can be out of date by the time the caller acts on it: see Term.Token and Term.Guard.
func (c *Candidate) HasLeadership() bool {
	t := c.term.Load()
	return t != nil && t.live(time.Now())
}

// Term returns the present term, or nil when this candidate does not lead.
func (c *Candidate) Term() *Term {
	if t := c.term.Load(); t != nil && t.live(time.Now()) {
		return t
	}
	return nil
}

// AddListener has l told of every term that begins and ends from now on, and at once of one that lasts. remove
// takes it out again: what it has not been told by then it never is, though a callback that runs, or is just about
// to, is not waited for. A nil l is ignored.
func (c *Candidate) AddListener(l Listener) (remove func()) {
	if l == nil {
		return func() {}
	}
	return c.hub.add(l)
}

// post leaves an event for the owner. It never blocks.
func (c *Candidate) post(ev machine.Event) { c.deliver(message{event: ev}) }

func (c *Candidate) deliver(m message) {
	c.mu.Lock()
	c.inbox = append(c.inbox, m)
	c.mu.Unlock()
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// send posts an event and returns when the machine has taken it.
func (c *Candidate) send(ctx context.Context, ev machine.Event) error {
	done := make(chan struct{})
	c.deliver(message{event: ev, done: done})
	select {
	case <-done:
		return nil
	case <-c.exited:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launch starts the owner; false if the candidate has left for good, or the client is closed.
func (c *Candidate) launch() bool {
	c.once.Do(func() {
		if !c.client.enlist(c) {
			c.finish()
			return
		}
		c.begun.Store(true)
		go c.run()
	})
	return c.ctx.Err() == nil && !c.closing.Load()
}

// finish makes it known that the candidate has left for good. Nothing of it runs after that.
func (c *Candidate) finish() {
	c.cancel()
	c.mu.Lock()
	c.view.View = machine.View{State: machine.Closed, Stood: c.view.Stood, Working: c.view.Working}
	c.view.closed, c.view.ahead = true, line.Member{}
	for _, m := range c.inbox {
		if m.done != nil {
			close(m.done)
		}
	}
	c.inbox = nil
	c.announce()
	c.mu.Unlock()
	close(c.exited)
}

// announce wakes those who wait for a change. It is called with the lock held.
func (c *Candidate) announce() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// run is the owner goroutine.
func (c *Candidate) run() {
	defer c.finish()
	defer c.client.strike(c)
	defer c.sess.Subscribe(c.onSession)()
	defer c.flush()
	defer c.rest()
	if c.cfg.check != nil {
		go c.watchHealth()
	}
	c.own.tick = time.NewTimer(c.tickAfter())
	for c.own.machine.View().State != machine.Closed {
		select {
		case <-c.bell:
		case ev := <-c.own.node:
			c.nodeEvent(ev)
		case ev := <-c.own.ahead:
			c.aheadEvent(ev)
		case <-c.own.tick.C:
			c.onTick()
		case <-c.sess.Done():
			c.drain()
			c.step(machine.Close{}) // ends the term; the session takes the znode along
			c.endEarly()
			return
		}
		c.drain()
		c.flush()
	}
}

// endEarly completes the life of a candidate whose client is closed before it could leave by itself.
func (c *Candidate) endEarly() {
	if v := c.own.machine.View(); v.State != machine.Closed {
		c.moved(machine.Moved{From: v.State, To: machine.Closed})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.view.since, c.view.cut = c.own.since, v.Node != "" || v.Working
	}
}

// rest stops what would outlive the owner.
func (c *Candidate) rest() {
	c.place.Disclaim()
	c.own.tick.Stop()
	for _, t := range []*time.Timer{c.own.retry, c.own.maxTerm} {
		if t != nil {
			t.Stop()
		}
	}
	c.keep(false, "")
}

func (c *Candidate) drain() {
	for {
		c.mu.Lock()
		all := c.inbox
		c.inbox = nil
		c.mu.Unlock()
		if len(all) == 0 {
			return
		}
		for _, m := range all {
			c.take(m)
		}
	}
}

func (c *Candidate) take(m message) {
	if m.before == nil || m.before() {
		c.step(m.event)
	}
	if m.done != nil {
		close(m.done)
	}
}

// flush sets going what events called for: logs and metrics, which are the user's code and may be slow, or call a method
// that waits for the owner; and the requests, last, since the scheduler runs first what was started last.
func (c *Candidate) flush() {
	for _, f := range c.own.reports {
		c.told.run(f)
	}
	for _, f := range c.own.requests {
		c.sess.Go(f)
	}
	c.own.reports, c.own.requests = nil, nil
}

func (c *Candidate) later(f func()) { c.own.reports = append(c.own.reports, f) }

// logLater costs a goroutine only where somebody listens.
func (c *Candidate) logLater(level slog.Level, message string, args ...any) {
	if c.log.Enabled(c.ctx, level) {
		c.later(func() { c.log.Log(c.ctx, level, message, args...) })
	}
}

// onSession is called by the session, in order.
func (c *Candidate) onSession(st session.State) {
	var ev machine.Event = machine.Offline{}
	switch {
	case st.Connected:
		ev = machine.Online{Session: st.ID}
	case st.ID == 0:
		ev = machine.Expired{}
	}
	c.deliver(message{event: ev, before: func() bool {
		c.own.connected = st.Connected
		return true
	}})
}

// keeper passes on to the owner what the session tells those who keep its lease (session.Keeper).
type keeper struct{ c *Candidate }

func (k keeper) LeaseGood() { k.c.post(machine.LeaseGood{}) }

func (k keeper) WitnessLost(err error) {
	k.c.deliver(message{event: machine.Tick{}, before: func() bool {
		k.c.failed(fmt.Errorf("prove the lease: %w", err))
		k.c.own.witness = "" // take it up again at the next tick
		return true
	}})
}

// nodeEvent takes what the watch on the own znode says.
func (c *Candidate) nodeEvent(ev zk.Event) {
	c.own.node = nil
	if ev.Type == zk.EventNodeDeleted {
		c.step(machine.OwnGone{Epoch: c.own.epoch})
		return
	}
	c.step(machine.OwnStale{Epoch: c.own.epoch})
}

// aheadEvent takes what the watch on the znode ahead says. The driver fills the watches' channels in the server's
// order, but each has its own, so the order is lost: what the own one has to say comes first.
func (c *Candidate) aheadEvent(ev zk.Event) {
	name := c.own.aheadName
	c.own.ahead = nil
	select {
	case own := <-c.own.node:
		c.nodeEvent(own)
	default:
	}
	if ev.Type == zk.EventNodeDeleted {
		c.step(machine.AheadGone{Epoch: c.own.epoch, Name: name})
		return
	}
	c.step(machine.AheadStale{Epoch: c.own.epoch, Name: name})
}

// onTick looks after what may have been lost: a watch, or the lease's witness.
func (c *Candidate) onTick() {
	c.own.tick.Reset(c.tickAfter())
	if c.own.release != nil && c.own.witness == "" {
		c.keep(true, c.own.machine.View().Node)
	}
	c.step(machine.Tick{})
}

// tickAfter is between half a session timeout and a whole one: late enough to be cheap, early enough that a
// candidate whose watch was lost takes over within the bound of G6.
func (c *Candidate) tickAfter() time.Duration {
	t := c.sess.Timeout()
	return t/2 + c.spread(t/2)
}

// spread is a random part of d. It is called on the owner.
func (c *Candidate) spread(d time.Duration) time.Duration {
	return time.Duration(c.own.jitter.Int64N(int64(d) + 1))
}

// step is the one place where the machine takes an event, and its actions are carried out.
//
// The lease is asked about twice. Before the event, the znode's owner may not be known yet (its reading is the event),
// so there is no lease to ask; and one that a proof made good before this candidate kept it was told to nobody here.
// Either would leave the candidate first in line and waiting for the next tick.
func (c *Candidate) step(ev machine.Event) {
	c.apply(ev)
	if c.own.machine.View().State == machine.Elected && c.leased() {
		c.apply(machine.LeaseGood{})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.show()
}

func (c *Candidate) apply(ev machine.Event) {
	leased := c.leased()
	for _, a := range c.own.machine.Step(ev, leased) {
		c.perform(a)
	}
	if v := c.own.machine.View(); v.Epoch != c.own.epoch { // another znode: the old one's watches mean nothing
		c.own.epoch, c.own.node, c.own.ahead, c.own.aheadIs = v.Epoch, nil, nil, line.Member{}
		if v.Node == "" {
			c.place.Disclaim()
		}
	}
}

// leased reports whether the lease of the znode's session is good. To a candidate that closes none is: it begins no term.
func (c *Candidate) leased() bool {
	l := c.sess.Lease(c.own.machine.View().Owner)
	return l != nil && l.Live(time.Now()) && !c.closing.Load()
}

// show publishes the machine's state. It is called with the lock held.
func (c *Candidate) show() {
	c.view.View, c.view.connected = c.own.machine.View(), c.own.connected
	c.view.refusals, c.view.refusal, c.view.since = c.own.refusals, c.own.refusal, c.own.since
	c.view.ahead = c.own.aheadIs
	c.announce()
}

func (c *Candidate) perform(a machine.Action) {
	switch a := a.(type) {
	case machine.Create:
		c.ask(func() { c.made(c.place.Create()) })
	case machine.Recover:
		c.ask(func() { c.made(c.place.Recover()) })
	case machine.ReadOwn:
		c.ask(func() { c.readOwn(a) })
	case machine.List:
		c.ask(func() { c.listLine(a) })
	case machine.WatchAhead:
		c.ask(func() { c.watchAhead(a) })
	case machine.Check:
		c.ask(func() { c.check(a) })
	case machine.Delete:
		if !c.client.ending.Load() { // thousands of these would hold up the request that does the same for all
			c.ask(func() { c.remove(a) })
		}
	case machine.Renew:
		c.keep(a.On, a.Node)
	case machine.BeginTerm:
		c.beginTerm(a)
	case machine.EndTerm:
		c.endTerm(a)
	case machine.Backoff:
		c.backoff(a.Failures)
	case machine.Refuse:
		c.own.refusals++
		c.own.refusal = c.lastError()
	case machine.Moved:
		c.moved(a)
	case machine.Report:
		c.logLater(slog.LevelError, "this cannot be; please report it", "what", a.Text)
	}
}

// ask has a request run on a goroutine of its own.
func (c *Candidate) ask(request func()) { c.own.requests = append(c.own.requests, request) }

// made reports what came of a Create or Recover.
func (c *Candidate) made(name string, err error) {
	c.answer(err, machine.Created{Name: name, Fault: line.Fault(err)}, nil)
}

func (c *Candidate) readOwn(a machine.ReadOwn) {
	own, err := c.place.ReadOwn(a.Name)
	fault := line.Fault(err)
	if err == nil && own.Session == 0 {
		fault = machine.Failed // answered between two sessions
	}
	c.answer(err, machine.OwnRead{Epoch: a.Epoch, Link: a.Link, Token: own.Token, Owner: own.Owner,
		Session: own.Session, Fault: fault}, func() {
		if a.Epoch == c.own.epoch {
			c.own.node = own.Watch
		}
	})
}

func (c *Candidate) listLine(a machine.List) {
	children, err := c.place.List()
	c.answer(err, machine.Listed{Epoch: a.Epoch, Children: children, Fault: line.Fault(err)}, nil)
}

func (c *Candidate) watchAhead(a machine.WatchAhead) {
	m, watch, err := c.place.WatchAhead(a.Name)
	c.answer(err, machine.AheadRead{Epoch: a.Epoch, Name: a.Name, Fault: line.Fault(err)}, func() {
		if a.Epoch == c.own.epoch && err == nil {
			c.own.ahead, c.own.aheadName, c.own.aheadIs = watch, a.Name, m
		}
	})
}

func (c *Candidate) check(a machine.Check) {
	gone, err := c.place.Missing(a.Names)
	c.answer(err, machine.Checked{Epoch: a.Epoch, Link: a.Link, Gone: gone, Fault: line.Fault(err)}, nil)
}

func (c *Candidate) remove(a machine.Delete) {
	err := c.place.Delete(a.Name)
	c.answer(err, machine.Deleted{Epoch: a.Epoch, Fault: line.Fault(err)}, nil)
}

// answer hands the outcome of a request to the owner, with what is to be noted before the machine hears of it.
func (c *Candidate) answer(err error, ev machine.Event, note func()) {
	c.deliver(message{event: ev, before: func() bool {
		if errors.Is(err, zk.ErrNoNode) { // an answer like any other: somebody has left
			c.failed(nil)
		} else {
			c.failed(err)
		}
		if note != nil {
			note()
		}
		return true
	}})
}

// failed keeps the last error for reports; success clears it.
func (c *Candidate) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastErr = err
}

func (c *Candidate) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastErr
}

// trouble is what to report: a failing health check, else why no server can be reached, else the latest request that
// failed. One that the connection took along is history as soon as there is news of the connection itself.
func (c *Candidate) trouble(connected bool) error {
	c.mu.Lock()
	sick, last := c.sick, c.lastErr
	c.mu.Unlock()
	if sick == nil && !connected && (last == nil || line.Fault(last) == machine.Lost) {
		return cmp.Or(c.sess.LastError(), last)
	}
	return cmp.Or(sick, last)
}

// diagnosed keeps what the latest health check said.
func (c *Candidate) diagnosed(err error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnhealthy, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sick = err
}

// keep has the session's lease kept up with the znode as its witness, or no longer.
func (c *Candidate) keep(on bool, node string) {
	if c.own.release != nil {
		c.own.release()
		c.own.release = nil
	}
	if on {
		c.own.witness = node
		c.own.release = c.sess.Keep(znode.Join(c.place.Path, node), keeper{c})
	}
}

func (c *Candidate) beginTerm(a machine.BeginTerm) {
	lease := c.sess.Lease(a.Session)
	if lease == nil { // the session has just ended: so will the term
		lease = new(session.Lease)
	}
	t := newTerm(c, a, lease)
	c.last.Store(t)
	c.mu.Lock()
	c.term.Store(t) // and the state with it: Status shows one moment
	c.show()
	c.mu.Unlock()
	if c.closing.Load() { // whoever set it before this has not seen the term
		t.end(ErrClosed)
	}
	t.watchLease()
	c.hub.gained(t)
	c.logLater(slog.LevelInfo, "leadership gained", "token", hexID(a.Token), "znode", a.Node)
	c.metric(func(m Metrics) { m.TermBegan(t) })
	if d := min(c.cfg.maxTerm, longestTerm); d > 0 {
		c.limitTerm(t, d-d/10+c.spread(d/5))
	}
}

// longestTerm leaves room for the 10 % more of WithMaxTerm.
const longestTerm = time.Duration(math.MaxInt64 / 2)

var causes = map[machine.Reason]error{
	machine.Resigned:        ErrResigned,
	machine.ClosedByUser:    ErrClosed,
	machine.Disconnected:    ErrDisconnected,
	machine.SessionExpired:  ErrSessionExpired,
	machine.LeaseExpired:    ErrLeaseExpired,
	machine.NodeDeleted:     ErrNodeDeleted,
	machine.BecameUnhealthy: ErrUnhealthy,
}

func (c *Candidate) endTerm(a machine.EndTerm) {
	t := c.term.Load()
	t.live(time.Now()) // a lease that ran out ended it before whatever we hear of only now, as after a pause
	t.end(causes[a.Why])
	c.term.Store(nil)
	lasted := time.Since(t.began)
	t.settle()
	c.logLater(slog.LevelInfo, "leadership lost", "token", hexID(t.token), "cause", t.Err(), "lasted", lasted)
	c.metric(func(m Metrics) { m.TermEnded(t, lasted) })
}

// Bounds of the pause before a failed request is made again. The upper one keeps G6's two seconds.
const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Second
)

func (c *Candidate) backoff(failures int) {
	d := min(minBackoff<<min(failures, 10), maxBackoff)
	d = d/2 + c.spread(d/2)
	if err := c.lastError(); err != nil {
		level := slog.LevelDebug
		if line.Final(err) {
			level = slog.LevelWarn
		}
		c.logLater(level, "will try again", "error", err, "after", d, "failures", failures)
		c.metric(func(m Metrics) { m.Failed(err) })
	}
	if c.own.retry != nil {
		c.own.retry.Stop()
	}
	c.own.retry = time.AfterFunc(d, func() { c.post(machine.Retry{}) })
}

func (c *Candidate) moved(a machine.Moved) {
	c.own.since = time.Now()
	from, to := State(a.From.String()), State(a.To.String())
	c.logLater(slog.LevelDebug, "state changed", "from", from, "to", to)
	c.metric(func(m Metrics) { m.StateChanged(from, to) })
}

func (c *Candidate) metric(f func(Metrics)) {
	if c.cfg.metrics != nil {
		c.later(func() {
			defer logPanic(c.log, "metrics panicked")
			f(c.cfg.metrics)
		})
	}
}

// dismiss ends the term since the client closes; with leave, it also has the znode removed. closing has been set.
func (c *Candidate) dismiss(leave bool) {
	if t := c.term.Load(); t != nil {
		t.end(ErrClosed)
		leave = true
	}
	if leave {
		c.post(machine.Close{})
	}
}

// evict removes the znode of a candidate that could not leave by itself in time, on a connection that goes on when the
// client is closed. It reports whether that is done.
func (c *Candidate) evict(ctx context.Context) (gone bool) {
	c.mu.Lock()
	name := c.view.Node
	c.mu.Unlock()
	if name == "" {
		return c.ctx.Err() != nil
	}
	_, err := session.Call(ctx, c.sess, func() (struct{}, error) { return struct{}{}, c.place.Delete(name) })
	return err == nil || errors.Is(err, zk.ErrNoNode)
}

// awaitDismissed waits until the listeners have been told and, with leave, the znode is removed, as far as work that
// still runs lets it. It reports whether the candidate has left.
func (c *Candidate) awaitDismissed(ctx context.Context, leave bool) (left bool) {
	c.wait(ctx, func(v snapshot) (bool, error) {
		left = v.closed
		told := v.State != machine.Leading && (!v.Working || c.busy())
		return left || told && (!leave || c.busy()), nil
	})
	return left
}

// Status is a snapshot of a candidate, fit for a health endpoint.
type Status struct {
	Path      string        `json:"path"` // of the election, below the chroot
	ID        string        `json:"id"`   // WithID's
	State     State         `json:"state"`
	Since     time.Time     `json:"since"`           // when State began
	Leading   bool          `json:"leading"`         // HasLeadership at the time of the snapshot
	Place     int           `json:"place,omitempty"` // in line, 1 being the first; an upper bound: those ahead may have left
	Znode     string        `json:"znode,omitempty"` // full path below the chroot
	Token     int64         `json:"token,omitempty"` // fencing token of Znode, once that has been read
	Ahead     *Participant  `json:"ahead,omitempty"` // who is directly ahead
	SessionID int64         `json:"sessionId,omitempty"`
	Connected bool          `json:"connected"`         // to a server, in that session
	Timeout   time.Duration `json:"timeout,omitempty"` // session timeout as granted, in nanoseconds
	LeaseEnd  time.Time     `json:"leaseEnd,omitzero"` // as far as is known now; zero when nothing is proved
	// LastError is that of a failing health check, else why no server can be reached, else that of the latest request.
	LastError string `json:"lastError,omitempty"`
}

// Status returns a snapshot. It asks nobody and does not block.
func (c *Candidate) Status() Status {
	st := c.sess.State()
	c.mu.Lock()
	v, t := c.view, c.term.Load()
	c.mu.Unlock()
	s := Status{Path: c.path, ID: c.cfg.id, State: State(v.State.String()), Since: v.since, Leading: t != nil && t.live(time.Now()),
		Place: v.Place, Token: v.Token, SessionID: st.ID, Connected: st.Connected, Timeout: st.Timeout}
	if v.Node != "" {
		s.Znode = znode.Join(c.path, v.Node)
	}
	if v.Nearest != "" && v.ahead.Path == c.place.Node(v.Nearest) {
		p := c.client.participant(v.ahead)
		p.Leader = v.Place == 2
		s.Ahead = &p
	}
	if l := c.sess.Lease(st.ID); l != nil {
		s.LeaseEnd = l.End()
	}
	if err := c.trouble(st.Connected); err != nil {
		s.LastError = err.Error()
	}
	return s
}

// String says in one line why the candidate does or does not lead.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: %s", s.ID, s.Path, s.why())
	if !s.Connected {
		b.WriteString("; not connected to ZooKeeper")
	}
	if s.LastError != "" {
		fmt.Fprintf(&b, "; last error: %s", s.LastError)
	}
	return oneLine(b.String())
}

func (s Status) why() string {
	switch {
	case s.Leading:
		return fmt.Sprintf("leads with token %#x", s.Token)
	case s.State == StateFollowing && s.Ahead != nil:
		return fmt.Sprintf("does not lead: number %d in line, behind %v", s.Place, *s.Ahead)
	case s.State == StateFollowing:
		return fmt.Sprintf("does not lead: number %d in line", s.Place)
	}
	return "does not lead: " + reasons[s.State]
}

var reasons = map[State]string{
	StateIdle:      "it does not stand: not started, or its Start or Run is over",
	StateUnhealthy: "its health check fails",
	StateJoining:   "has no znode yet",
	StateElected:   "first in line, but its lease is not proved",
	StateLeading:   "its lease has just run out",
	StateStopping:  "its last term is over and the work of it still runs",
	StateLeaving:   "is leaving the line",
	StateClosed:    "is closed",
}
