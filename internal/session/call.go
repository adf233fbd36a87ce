package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
)

// Reply names the session in which a request was answered, or 0 if that is not certain.
type Reply struct{ Session int64 }

// Read runs one reading request. It blocks as long as the driver does.
func (s *Session) Read(f func(*zk.Conn) error) (Reply, error) {
	return s.request(f, func(l *Lease, sent, answered time.Time, timeout time.Duration) {
		l.heard(sent, answered, timeout)
	})
}

// Write runs one writing request. If it succeeds, it extends the lease. It blocks as long
// as the driver does.
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
		if l.proved(sent, answered, timeout) {
			s.notifyGood()
		}
	})
}

// request runs f, and calls note with the times of the exchange if the server took the
// request within one session.
func (s *Session) request(f func(*zk.Conn) error,
	note func(l *Lease, sent, answered time.Time, timeout time.Duration)) (Reply, error) {
	before, asked := s.conn.SessionID(), s.Timeout()
	sent := time.Now()
	err := Translate(f(s.conn))
	answered := time.Now()

	if !Processed(err) {
		gone := errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrSessionMoved)
		if s.wire == nil && (gone || !Answered(err)) {
			s.dropEvidence()
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

// notifyGood tells all listeners that the lease is good again.
func (s *Session) notifyGood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.renewals {
		r.listener.LeaseGood()
	}
}

// Go runs f, which calls the driver, on its own goroutine. It returns false, and does not
// run f, if the session is closed.
func (s *Session) Go(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn(f)
	return !s.Closed()
}

// Loop runs f on its own goroutine, and Close waits for it, also on a connection that the
// caller owns. So f must not call the driver itself, and must end when the session is
// closed. [Call] does. Loop returns false, and does not run f, if the session is closed.
func Loop(s *Session, f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Closed() {
		return false
	}
	s.loops.Go(f)
	return true
}

// spawn runs f on its own goroutine unless the session is closed. On a connection of our
// own, Close waits for f: it ends the connection, which makes f end. The lock must be
// held.
func (s *Session) spawn(f func()) {
	if s.Closed() {
		return
	}
	s.calls.Add(1)
	go func() {
		defer s.calls.Done()
		f()
	}()
}

// Call runs f on its own goroutine and returns its result. An error code that the driver
// does not know becomes a [Code].
//
// If ctx ends first, Call returns ctx's error with its cause; if the session is closed
// first, [ErrClosed]. f then runs on to its end, and its result is dropped.
func Call[T any](ctx context.Context, s *Session, f func() (T, error)) (T, error) {
	return callThen(ctx, s, f, func() {})
}

// callThen is Call, and calls after when f has returned, or will not run.
func callThen[T any](ctx context.Context, s *Session, f func() (T, error), after func()) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if ctx.Err() != nil {
		after()
		return none, CtxError(ctx)
	}

	ch := make(chan result, 1)
	if !s.Go(func() {
		defer after()
		v, err := f()
		ch <- result{v, err}
	}) {
		after()
		return none, ErrClosed
	}

	select {
	case r := <-ch:
		return r.v, Translate(r.err)
	case <-ctx.Done():
		return none, CtxError(ctx)
	case <-s.Done():
		return none, ErrClosed
	}
}

// AddAuth authenticates the session. If the connection is lost meanwhile, AddAuth waits
// for the next one and tries again, until ctx ends. The driver repeats the authentication
// at every reconnect.
func (s *Session) AddAuth(ctx context.Context, scheme string, cred []byte) error {
	for {
		_, err := Call(ctx, s, func() (struct{}, error) { return struct{}{}, s.conn.AddAuth(scheme, cred) })
		expired := errors.Is(err, zk.ErrSessionExpired)
		if !expired && Answered(err) || ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return err
		}
		if err := s.Wait(ctx); err != nil {
			return err
		}
	}
}

// CtxError returns the error of a context that has ended, joined with its cause if one
// was given.
func CtxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || err == cause {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
