package session

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// wire stands between the driver and the network, and hands it connections that are taps.
//
// It learns what the driver does not tell: the timeout that the server granted, the
// session's id, when an answered ping was sent, and whether the end of the session was
// confirmed. It can end a connection whatever the driver is waiting for. And it keeps
// from the driver what would bring the process down.
type wire struct {
	dial zk.Dialer
	on   wireEvents
	pace *paced        // nil: attempts are not paced
	asks time.Duration // the session timeout that every connect request asks for; 0: what the driver asks for

	allowance allowance
	service   *service             // nil: no session is ever given up
	refused   func(jute.Op, error) // called with the outcome of each repeated request; nil: not called

	seen    atomic.Int64 // the zxid that the session has seen last; 0: none
	watched atomic.Bool  // a request of the session has left a watch: the driver may have watches to set again
	left    atomic.Bool  // a connection ended before they were set again: the driver may set them late on the next one
	met     atomic.Bool  // a server has greeted us on an earlier connection
	ended   atomic.Bool  // a server has confirmed the end of the session
	works   atomic.Bool  // a server has sent something since it was asked to end the session

	mu       sync.Mutex // guards the following; never held over a network call
	conns    map[*tap]struct{}
	probes   map[net.Conn]struct{}      // connections that the driver does not know of
	expected map[expectation][]*Sending // the requests that somebody waits to see on their way
	closed   bool
	lastErr  error  // why the last server was given up before its greeting; nil after a greeting
	lost     error  // how the last connection with a greeting ended
	server   string // that greeted us last: host:port
}

// wireEvents is what a wire reports to.
type wireEvents interface {
	handshake(sent time.Time, timeout time.Duration, id int64)
	pong(sent, answered time.Time)
}

// SafeDialer returns a dialer for one connection (zk.Conn) that is not a [Session]'s. It
// protects the connection from three faults of the driver: a data race when watches are set again, a
// hang after a failed write, and an endless wait for a server that never greets.
func SafeDialer(dial zk.Dialer) zk.Dialer {
	w := &wire{dial: dial, on: unheard{}, conns: map[*tap]struct{}{}}
	return w.connect
}

type unheard struct{}

func (unheard) handshake(time.Time, time.Duration, int64) {}
func (unheard) pong(time.Time, time.Time)                 {}

var errNoConn = errors.New("the dialer returned neither a connection nor an error")

// connect is the zk.Dialer for the driver.
func (w *wire) connect(network, address string, timeout time.Duration) (net.Conn, error) {
	w.allowance.begin(w.pace.wait())
	conn, err := w.dial(network, address, timeout)
	if err == nil && conn == nil {
		err = errNoConn
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.allowance.failed(err)
		w.lastErr = err
		return nil, err
	}
	if w.closed {
		conn.Close()
		return nil, net.ErrClosed
	}

	t := newTap(conn, w)
	t.network, t.address, t.dialLimit = network, address, timeout
	w.conns[t] = struct{}{}
	return t, nil
}

// cut ends every connection, now and from now on.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for t := range w.conns {
		t.Conn.Close()
	}
	for conn := range w.probes {
		conn.Close()
	}
}

func (w *wire) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr
}

func (w *wire) loss() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// note keeps the error with which a connection ended. Before the greeting only the first
// error of a connection counts: others follow from it.
func (w *wire) note(err error, t *tap) {
	greeted := t.isGreeted()
	if !greeted {
		w.allowance.failed(err)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case greeted:
		w.lost = err
	case !t.noted:
		w.lastErr = explain(err, t.Conn)
		t.noted = true
	}
}

// greeted forgets why servers were given up: one has answered.
func (w *wire) greeted(server string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastErr, w.server = nil, server
}
