package election

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
)

// Do calls f with the driver's connection, for reads and writes of your own on the client's
// session. It first waits for a session and for every [WithAuth], until ctx ends.
//
// The chroot of the connect string does not apply to f, because the driver knows no chroot.
// So f uses full paths. Use [Term.Guard] for writes that only a leader may make.
//
// Do returns
//   - what f returns. If that wraps the driver's error for a lost connection
//     (zk.ErrConnectionClosed, zk.ErrNoServer) or an expired session
//     (zk.ErrSessionExpired), Do adds [ErrDisconnected] or [ErrSessionExpired], so both
//     match. After [ErrDisconnected] it is unknown whether a write of f was carried out;
//   - ctx's error within 100 ms of ctx's end. If f has not begun, the error says "f was not
//     called". If f has begun, it goes on, because the driver cannot be interrupted, and Do
//     drops its result. It is then unknown whether f's writes are carried out, f may send
//     more requests, and the caller must not read variables that f sets;
//   - [ErrClosed] if the client is closed before or during the call. f may then go on, too,
//     but its requests fail. [Client.Close] does not wait for f;
//   - an error that wraps zk.ErrAuthFailed if ZooKeeper has refused the credentials.
//
// A panic of f continues in Do's caller, and the log has f's stack. If Do has returned
// before, the panic is only logged.
//
// At most 64 functions run at once, including those that Do no longer waits for. Others
// wait for their turn, so that they do not delay the proofs of the lease. f should send a
// few requests, one after another, and return. If f sends thousands of requests at once,
// from goroutines of its own, these do delay the proofs, and a term may end with
// [ErrLeaseExpired]. f must not wait for events, call Do, or close the connection.
func (c *Client) Do(ctx context.Context, f func(*zk.Conn) error) error {
	switch {
	case ctx == nil:
		return nilContext("Do")
	case f == nil:
		return errors.New("election: Do: f is nil")
	case c.sess == nil:
		return fmt.Errorf("election: Do: the client was not made by Connect, Open or NewClient: %w", ErrClosed)
	}

	done, err := c.turn(ctx)
	if err != nil {
		return fmt.Errorf("election: Do: f was not called: %w", public(err))
	}

	w := &work{f: f, result: make(chan error), left: make(chan struct{})}
	defer close(w.left)
	go w.run(c, done)

	select {
	case err := <-w.result:
		w.passOn()
		return c.workError(err)
	case <-ctx.Done():
		return fmt.Errorf("election: Do: f may still run: %w", session.CtxError(ctx))
	case <-c.sess.Done():
		return fmt.Errorf("election: Do: f may still run: %w", ErrClosed)
	}
}

// turn waits until the client is ready and f may run. Call done when f has returned.
func (c *Client) turn(ctx context.Context) (done func(), err error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	done, err = session.AwaitTurn(ctx, c.sess)
	if err != nil {
		return nil, err
	}

	// A turn may come at the moment at which ctx ends.
	if err := session.CtxError(ctx); err != nil {
		done()
		return nil, err
	}
	if c.sess.Closed() {
		done()
		return nil, ErrClosed
	}
	return done, nil
}

// workError adds this package's own error to an error of f, if there is one for it. Only the
// driver's own errors count: a network error may come from a call that f made elsewhere.
func (c *Client) workError(err error) error {
	err = session.Translate(err)
	switch {
	case err == nil:
		return nil
	case !isAny(err, zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrClosing, zk.ErrSessionExpired):
		return err
	case c.sess.Closed():
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return public(err)
}

func isAny(err error, of ...error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// work is one function of the user, run by Do.
type work struct {
	f      func(*zk.Conn) error
	result chan error
	left   chan struct{} // closed when Do has returned

	// How f ended, unless it returned. Read it after result.
	panicked any
	exited   bool // f has called runtime.Goexit, as testing.T.FailNow does
}

// run calls f. It runs on a goroutine of its own, and Client.Close does not wait for it.
func (w *work) run(c *Client, done func()) {
	var err error
	defer func() {
		w.panicked = recover()
		done()
		if w.panicked != nil {
			c.log.Error("the function under Do panicked", "panic", fmt.Sprint(w.panicked), "stack", string(debug.Stack()))
		}
		select {
		case w.result <- err:
		case <-w.left:
		}
	}()

	w.exited = true
	err = w.f(c.sess.Conn())
	w.exited = false
}

// passOn repeats in Do's caller how f ended: by a panic or by runtime.Goexit. It does nothing
// if f returned.
func (w *work) passOn() {
	switch {
	case w.panicked != nil:
		panic(w.panicked)
	case w.exited:
		runtime.Goexit()
	}
}
