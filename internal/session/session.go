package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ErrClosed is returned for calls on a session that this side has closed.
var ErrClosed = errors.New("the session is closed")

// Status is what is known of the session now. ID is 0 while there is no session.
type Status struct {
	ID        int64
	Connected bool
	Timeout   time.Duration // granted
	Unwatched int           // how often a server refused to set all watches again; they are lost then
	GivenUp   error         // why this side gave up the last session, which no server had ended; nil: it did not
	Since     time.Time     // since when ID and Connected are as they are
}

// Session is a ZooKeeper session that [Dial] or [Adopt] made. The driver replaces it by a
// new one when it expires. A Session is safe for concurrent use.
type Session struct {
	conn   *zk.Conn
	log    *slog.Logger
	wire   *wire              // nil when the caller owns the connection
	book   *book              // of our own connection
	events <-chan zk.Event    // of our own connection: closed when the driver has ended
	ctx    context.Context    // ends with Close: the session is closed once ctx has ended
	cancel context.CancelFunc // called with mu held
	wake   chan struct{}      // makes the renewal loop look again
	loops  sync.WaitGroup
	calls  sync.WaitGroup

	containers sync.WaitGroup // requests for a container; raised with mu held

	refusals refusals
	writes   Limit // of fenced writes
	works    Limit // of functions of the user that use the connection

	mu        sync.Mutex // guards the following; subscribers and listeners are called under it and must not block
	status    Status
	timeout   time.Duration // granted
	lease     *Lease        // of the latest session; nil before the first
	subs      map[*subscriber]struct{}
	renewals  map[*renewal]struct{}
	renewing  time.Time                           // since when there has been one
	unwatched int                                 // see Status
	givenUp   error                               // why the session that is ending was given up
	onProof   func(took time.Duration, err error) // nil: nobody wants to know
}

type subscriber struct{ f func(Status) }

// Config is what [Dial] needs. Dialer and Provider may be nil; the rest must be set.
type Config struct {
	Servers  []string // host:port
	Timeout  time.Duration
	Dialer   func(ctx context.Context) zk.Dialer // nil: TCP
	Provider zk.HostProvider                     // nil: one that looks names up again
	Log      *slog.Logger
}

// Dial starts to connect and returns at once. [Session.Wait] waits for the session.
func Dial(cfg Config) (*Session, error) {
	s := newSession(cfg.Log, cfg.Timeout)

	dialer := DialTCP
	if cfg.Dialer != nil {
		dialer = cfg.Dialer
	}
	s.book = newBook()
	s.wire = &wire{on: s, asks: cfg.Timeout, service: &service{gaveUp: s.giveUp}, refused: s.resentRefused,
		conns: map[*tap]struct{}{}}
	s.wire.dial = dialer(context.WithValue(s.ctx, sessionKey{}, ofSession{s.book, &s.wire.allowance}))

	provider := cfg.Provider
	if provider == nil {
		provider = &hosts{times: s.book.most}
	}
	s.wire.pace = newPaced(provider, s.ctx, s.book.most)

	conn, events, err := zk.Connect(cfg.Servers, cfg.Timeout,
		zk.WithDialer(s.wire.connect), zk.WithHostProvider(s.wire.pace),
		zk.WithEventCallback(s.onEvent), zk.WithLogger(driverLog{cfg.Log}), zk.WithLogInfo(false))
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.conn, s.events = conn, events

	s.loops.Add(1)
	go newRenewer(s).run()
	return s, nil
}

func newSession(log *slog.Logger, timeout time.Duration) *Session {
	s := &Session{log: log, timeout: timeout, wake: make(chan struct{}, 1), status: Status{Since: time.Now()},
		writes: make(Limit, atOnce), works: make(Limit, atOnce),
		subs: map[*subscriber]struct{}{}, renewals: map[*renewal]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Timeout returns the session timeout in force: the granted one, and until a server has
// granted one, the one that this side asks for.
func (s *Session) Timeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeout
}

// Status returns what is known of the session now.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Lease returns the lease of the given session, or nil if that is not the latest one.
func (s *Session) Lease(id int64) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.session != id {
		return nil
	}
	return s.lease
}

// Conn returns the driver's connection.
func (s *Session) Conn() *zk.Conn { return s.conn }

// Adopted reports whether the connection is the caller's.
func (s *Session) Adopted() bool { return s.wire == nil }

// Closed reports whether [Session.Close] has been called.
func (s *Session) Closed() bool { return s.ctx.Err() != nil }

// Done returns a channel that is closed when this side closes the session.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// LastError returns why no server could be reached, or nil if that is not known.
func (s *Session) LastError() error {
	if s.wire == nil {
		return nil
	}
	return cmp.Or(s.wire.err(), s.refusals.last())
}

// LastLoss returns how the last connection with a greeting ended, or nil if that is not
// known.
func (s *Session) LastLoss() error {
	if s.wire == nil {
		return nil
	}
	return s.wire.loss()
}

// Server returns the server that the session is connected to, as host:port, or "" if it is
// connected to none.
func (s *Session) Server() string {
	switch {
	case !s.Status().Connected:
		return ""
	case s.wire == nil:
		return s.conn.Server()
	}
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	return s.wire.server
}

// Subscribe calls f with the present state at once, and then with every change, in order.
// f must not block and must not call the session. After unsubscribe has returned, f is
// not called any more.
func (s *Session) Subscribe(f func(Status)) (unsubscribe func()) {
	sub := &subscriber{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	f(s.status)

	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	}
}

// publish sets the status and calls the subscribers if it has changed. The lock must be
// held.
func (s *Session) publish(status Status) {
	status.Unwatched, status.Since = s.unwatched, s.status.Since
	if s.Closed() || status == s.status {
		return
	}
	if status.ID != s.status.ID || status.Connected != s.status.Connected {
		status.Since = time.Now()
	}
	s.status = status
	for sub := range s.subs {
		sub.f(status)
	}
	s.nudge()
}

// nudge makes the renewal loop look again.
func (s *Session) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wait waits for the session. If ctx ends first, the error wraps ctx's error with its
// cause, and the last error of a server. If the session is closed first, the error is
// [ErrClosed].
func (s *Session) Wait(ctx context.Context) error {
	up := make(chan struct{})
	var once sync.Once
	defer s.Subscribe(func(st Status) {
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
