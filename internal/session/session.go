// Package session is one ZooKeeper session: the connection, the timeout that the server granted, what happens to
// the session, calls that obey a context over a driver that has none, and the lease.
//
// # The lease
//
// An ephemeral znode proves little about the present. A process that was paused goes on believing, and a server
// that is cut off from its ensemble goes on answering reads and pings for up to syncLimit ticks while the other
// side expires its clients' sessions. So belief rests on a proof by a quorum: a transaction of this session that was
// committed. The one used, a check of an own znode's version, changes nothing and fires no watch
// (PrepRequestProcessor checks the session, then the version; a data change would use up the watch of the next in
// line, which Curator does not set again).
//
// With T the granted timeout, a proof sent at s makes the lease good until s + T/3, and is renewed every T/9. The
// leader of the ensemble expires a session T after it last heard of it, or later, since it rounds up to ticks
// (SessionTrackerImpl, ExpiryQueue). When it last heard is the point where care is needed: a request that a
// follower passes on is checked against the session's state but does not extend its life (LearnerHandler,
// PrepRequestProcessor); only a handshake and the follower's answer to the leader's ping do, every half tick
// (Learner.ping). A client that wakes up after most of its timeout can thus have a write committed moments before
// its session is expired. Therefore the lease also ends 11T/12 after the newest touch that the leader must have
// heard of, and a touch counts as heard of when
//
//   - it is the handshake that made or resumed the session, or
//   - our server saw it (any answered request, or ping), then at least 21T/80 later a write of ours was sent and
//     answered, and then the proof was sent. T/4 is half a tick or more, as long as T is at least two ticks, the
//     server's own minimum, and a leader whose clock is 5 % slow takes T/80 longer. The leader's pings and its commits
//     reach our server in one stream, and so do the server's touches and our requests the leader.
//
// What is left, T/12, is for clocks that run apart: if ours is slower by 5 %, the lease's 11T/12 take 0.965 T of the
// server's time. In the steady state the newest such touch is about T/2 old, so proofs are good for their full T/3.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ErrClosed is returned for calls on a session that this side has closed.
var ErrClosed = errors.New("the session is closed")

// State is the session as last heard of. ID is 0 while there is none.
type State struct {
	ID        int64
	Connected bool
	Timeout   time.Duration // granted
}

// Session is safe for concurrent use.
type Session struct {
	conn   *zk.Conn
	log    *slog.Logger
	wire   *wire           // nil when the caller owns the connection
	events <-chan zk.Event // of our own connection: closed when the driver has ended
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wake   chan struct{} // tells the renewal loop to look again
	loops  sync.WaitGroup
	calls  sync.WaitGroup

	mu      sync.Mutex // guards the following; subscribers and keepers are called under it and must not block
	state   State
	timeout time.Duration // granted
	lease   *Lease        // of the latest session; nil before the first
	subs    map[*subscriber]struct{}
	keepers map[*keeper]struct{}
	closed  bool
}

type subscriber struct{ f func(State) }

// Config is what Dial needs. Dialer and Provider may be nil; the rest must be set.
type Config struct {
	Servers  []string // host:port
	Timeout  time.Duration
	Dialer   func(ctx context.Context) zk.Dialer // nil: TCP
	Provider zk.HostProvider                     // nil: one that looks names up again
	Log      *slog.Logger
}

// Dial starts a connection and returns at once; Wait tells when the session stands.
func Dial(cfg Config) (*Session, error) {
	s := newSession(cfg.Log, cfg.Timeout)
	dialer := DialTCP
	if cfg.Dialer != nil {
		dialer = cfg.Dialer
	}
	s.wire = &wire{dial: dialer(s.ctx), on: s, conns: map[*tap]struct{}{}}
	provider := cfg.Provider
	if provider == nil {
		provider = new(hosts)
	}
	provider = &paced{HostProvider: provider, closed: s.ctx}
	conn, events, err := zk.Connect(cfg.Servers, cfg.Timeout,
		zk.WithDialer(s.wire.connect), zk.WithHostProvider(provider),
		zk.WithEventCallback(s.onEvent), zk.WithLogger(driverLog{cfg.Log}), zk.WithLogInfo(false))
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.conn, s.events = conn, events
	s.loops.Add(1)
	go s.renewLoop()
	return s, nil
}

// Adopt uses a connection that the caller dialled and goes on owning. Its events are not needed: its state is
// looked at several times a session timeout.
func Adopt(conn *zk.Conn, timeout time.Duration, log *slog.Logger) *Session {
	s := newSession(log, timeout)
	s.conn = conn
	s.poll()
	s.loops.Add(2)
	go s.renewLoop()
	go s.pollLoop()
	return s
}

func newSession(log *slog.Logger, timeout time.Duration) *Session {
	s := &Session{log: log, timeout: timeout, wake: make(chan struct{}, 1),
		subs: map[*subscriber]struct{}{}, keepers: map[*keeper]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Timeout is the session timeout in force: the one asked for until the server has granted one.
func (s *Session) Timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeout
}

// State returns the session as last heard of.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Lease returns the lease of the given session, nil if that is not the latest one.
func (s *Session) Lease(id int64) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.session != id {
		return nil
	}
	return s.lease
}

// Done is closed when this side closes the session.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// LastError is why no server could be reached, as far as is known.
func (s *Session) LastError() error {
	if s.wire == nil {
		return nil
	}
	return s.wire.err()
}

// Subscribe has f called with the present state, and then with every change, in order. f must not block, and
// must not call the session. After the returned function has returned f is not called any more.
func (s *Session) Subscribe(f func(State)) (unsubscribe func()) {
	sub := &subscriber{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	f(s.state)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	}
}

// publish makes a change known. It is called with the lock held.
func (s *Session) publish(state State) {
	if s.closed || state == s.state {
		return
	}
	s.state = state
	for sub := range s.subs {
		sub.f(state)
	}
	s.nudge()
}

func (s *Session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wait returns when the session stands, or at ctx's end with its cause and the last trouble with a server.
func (s *Session) Wait(ctx context.Context) error {
	up := make(chan struct{})
	var once sync.Once
	defer s.Subscribe(func(st State) {
		if st.Connected {
			once.Do(func() { close(up) })
		}
	})()
	select {
	case <-up:
		return nil
	case <-s.Done():
		return ErrClosed
	case <-ctx.Done():
		if last := s.LastError(); last != nil {
			return fmt.Errorf("%w; last: %w", CtxError(ctx), last)
		}
		return fmt.Errorf("%w; no server answered", CtxError(ctx))
	}
}

// onEvent is called by the driver's goroutines, in order.
func (s *Session) onEvent(ev zk.Event) {
	if ev.Type != zk.EventSession {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ev.State {
	case zk.StateHasSession:
		s.publish(State{s.lease.session, true, s.timeout})
	case zk.StateDisconnected:
		s.publish(State{s.state.ID, false, s.timeout})
	case zk.StateExpired:
		s.publish(State{})
	}
}

// handshake takes what the server granted; the driver's event follows.
func (s *Session) handshake(sent time.Time, timeout time.Duration, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == 0 {
		return // expired: the driver will say so
	}
	s.timeout = timeout
	if s.lease == nil || s.lease.session != id {
		s.lease = &Lease{session: id}
	}
	s.lease.opened(sent)
}

func (s *Session) pong(sent, answered time.Time) {
	s.mu.Lock()
	lease, timeout := s.lease, s.timeout
	s.mu.Unlock()
	if lease != nil {
		lease.heard(sent, answered, timeout)
	}
}

// pollLoop follows a connection whose events go to somebody else.
func (s *Session) pollLoop() {
	defer s.loops.Done()
	every := time.NewTicker(min(max(s.timeout/40, 5*time.Millisecond), 100*time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-every.C:
			s.poll()
		case <-s.Done():
			return
		}
	}
}

func (s *Session) poll() {
	id, up := s.conn.SessionID(), s.conn.State() == zk.StateHasSession
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == s.state.ID && up == s.state.Connected {
		return
	}
	if id != 0 && (s.lease == nil || s.lease.session != id) {
		s.lease = &Lease{session: id}
	}
	if up && id != 0 {
		s.publish(State{id, true, s.timeout})
		s.acquaint()
		return
	}
	s.publish(State{id, false, s.timeout})
}

// acquaint starts the evidence for the lease on a connection whose handshake and pings cannot be seen.
func (s *Session) acquaint() {
	s.lease.opened(time.Time{})
	s.spawn(func() { s.Read(func(c *zk.Conn) error { _, _, err := c.Exists("/"); return err }) })
}

// spawn runs f on a goroutine that Close waits for when it can make f end. It is called with the lock held.
func (s *Session) spawn(f func()) {
	if s.closed {
		return
	}
	s.calls.Add(1)
	go func() {
		defer s.calls.Done()
		f()
	}()
}

// Go runs f, which calls the driver, on a goroutine of its own; false if the session is closed.
func (s *Session) Go(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn(f)
	return !s.closed
}

// Close ends the session, and with it its ephemeral znodes, unless the caller owns the connection. It takes a second
// at most when no server answers. ended says whether the server has confirmed the end.
func (s *Session) Close() (ended bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return true
	}
	s.closed = true
	up := s.state.Connected
	s.state = State{Timeout: s.timeout}
	clear(s.subs)
	clear(s.keepers)
	s.mu.Unlock()
	s.cancel()
	if s.wire == nil {
		s.loops.Wait() // calls under way end when the connection answers or is closed by its owner
		return true
	}
	return s.hangUp(up)
}

// hangUp ends our own connection and everything that hangs on it.
func (s *Session) hangUp(up bool) (ended bool) {
	if !up {
		s.wire.cut()
	}
	s.conn.Close() // waits up to a second for the server's answer
	ended = up && s.wire.ended.Load()
	s.wire.cut()
	if !s.driverEnded() {
		s.log.Error("the zookeeper driver does not end", "session", s.state.ID)
		return false
	}
	s.loops.Wait()
	s.calls.Wait()
	return ended
}

// driverLimit bounds the wait for the driver's end. It has nothing left to wait for, so this is for its faults alone.
const driverLimit = 5 * time.Second

// driverEnded waits until the driver has closed its event channel, the last thing that it does.
func (s *Session) driverEnded() bool {
	late := time.NewTimer(driverLimit)
	defer late.Stop()
	for {
		select {
		case _, more := <-s.events:
			if !more {
				return true
			}
		case <-late.C:
			return false
		}
	}
}

// Adopted reports whether the connection is the caller's.
func (s *Session) Adopted() bool { return s.wire == nil }

// Closed reports whether Close has been called.
func (s *Session) Closed() bool { return s.ctx.Err() != nil }

// Conn is the driver's connection.
func (s *Session) Conn() *zk.Conn { return s.conn }

// Reply says in which session a request was answered: 0 if that is not certain.
type Reply struct{ Session int64 }

// Read runs one reading request. It blocks as long as the driver does.
func (s *Session) Read(f func(*zk.Conn) error) (Reply, error) {
	return s.request(f, func(l *Lease, sent, answered time.Time, timeout time.Duration) {
		l.heard(sent, answered, timeout)
	})
}

// Write runs one writing request; if it succeeds, it extends the lease. It blocks as long as the driver does.
func (s *Session) Write(f func(*zk.Conn) error) (Reply, error) {
	var failed bool
	return s.request(func(c *zk.Conn) error {
		err := f(c)
		failed = err != nil
		return err
	}, func(l *Lease, sent, answered time.Time, timeout time.Duration) {
		if failed {
			l.heard(sent, answered, timeout)
			return
		}
		before := l.Live(answered)
		if l.proved(sent, answered, timeout) && !before {
			s.tellGood()
		}
	})
}

func (s *Session) request(f func(*zk.Conn) error, note func(*Lease, time.Time, time.Time, time.Duration)) (Reply, error) {
	before, asked := s.conn.SessionID(), s.Timeout()
	sent := time.Now()
	err := f(s.conn)
	answered := time.Now()
	if !Answered(err) {
		if s.wire == nil {
			s.flapped()
		}
		return Reply{}, err
	}
	after := s.conn.SessionID()
	if before != after || after == 0 {
		return Reply{}, err
	}
	if lease := s.Lease(after); lease != nil {
		note(lease, sent, answered, min(asked, s.Timeout()))
	}
	return Reply{after}, err
}

// flapped forgets the evidence of an adopted connection that has failed a call: it may be on another server now.
func (s *Session) flapped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil {
		s.lease.opened(time.Time{})
	}
}

// answers are the driver's errors that a server sent. zk.ErrAPIError is none: the driver makes it of a reply to a
// transaction that it cannot read, whatever that says (structs.go, multiResponse).
var answers = []error{zk.ErrNoNode, zk.ErrNoAuth, zk.ErrBadVersion, zk.ErrNoChildrenForEphemerals,
	zk.ErrNodeExists, zk.ErrNotEmpty, zk.ErrInvalidACL, zk.ErrBadArguments}

// Answered reports whether err is what a server said, rather than the lack of an answer.
func Answered(err error) bool {
	return err == nil || slices.ContainsFunc(answers, func(answer error) bool { return errors.Is(err, answer) })
}

// Call runs f on a goroutine of its own and returns what it returned, or ctx's error if that ends first. f then goes on
// to its end and its result is dropped.
func Call[T any](ctx context.Context, s *Session, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if ctx.Err() != nil {
		return none, CtxError(ctx)
	}
	ch := make(chan result, 1)
	if !s.Go(func() {
		v, err := f()
		ch <- result{v, err}
	}) {
		return none, ErrClosed
	}
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		return none, CtxError(ctx)
	case <-s.Done():
		return none, ErrClosed
	}
}

// AddAuth authenticates the session; the driver does it again at every reconnect. It tries again when the connection is
// lost under it.
func (s *Session) AddAuth(ctx context.Context, scheme string, cred []byte) error {
	for {
		_, err := Call(ctx, s, func() (struct{}, error) { return struct{}{}, s.conn.AddAuth(scheme, cred) })
		if Answered(err) || ctx.Err() != nil || errors.Is(err, zk.ErrAuthFailed) || errors.Is(err, ErrClosed) {
			return err
		}
		if err := s.Wait(ctx); err != nil {
			return err
		}
	}
}

// CtxError is the error of a context that has ended, with its cause where somebody gave one.
func CtxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || err == cause {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// tellGood lets everybody who keeps the lease know that it is good again.
func (s *Session) tellGood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.keepers {
		k.on.LeaseGood()
	}
}
