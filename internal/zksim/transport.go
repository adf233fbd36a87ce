package zksim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// outbox feeds the writer of one connection. It has no bound, so the server never waits
// for a client.
type outbox struct {
	mu     sync.Mutex
	some   sync.Cond
	frames [][]byte
	done   bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.some.L = &o.mu
	return o
}

func (o *outbox) put(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		o.frames = append(o.frames, frame)
		o.some.Signal()
	}
}

// close ends the connection after the queued frames.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	o.some.Signal()
}

// take waits for the next frame. It returns nil after the last one.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.frames) == 0 && !o.done {
		o.some.Wait()
	}
	if len(o.frames) == 0 {
		return nil
	}
	f := o.frames[0]
	o.frames = o.frames[1:]
	return f
}

// accept gives a connection to a running server. The ensemble's lock must be held.
func (e *Ensemble) accept(s *server, client string, nc net.Conn) *conn {
	c := &conn{server: s, life: s.incarnation, client: client, out: newOutbox(),
		auth: []zk.ACL{{Scheme: "ip", ID: "127.0.0.1"}}}
	s.conns = append(s.conns, c)
	e.sockets[nc] = struct{}{}
	e.stats.Connections++
	e.wg.Add(2)
	go e.read(c, nc)
	go e.write(c, nc)
	return c
}

// read sends the client's frames to the server. It reads on whatever the state of link
// and server, as the kernel does for a stopped process.
func (e *Ensemble) read(c *conn, nc net.Conn) {
	defer e.wg.Done()
	toServer := func(do func()) {
		e.do(func() {
			e.send(c.client, c.server.name, func() { c.server.deliver(c.life, do) })
		})
	}
	for {
		b, err := readFrame(nc, e.cfg.MaxRequest)
		if err != nil {
			break
		}
		toServer(func() { c.frame(b) })
	}

	_ = nc.Close()
	c.out.close()
	toServer(c.close)
	e.mu.Lock()
	delete(e.sockets, nc)
	e.mu.Unlock()
}

// readFrame reads one frame. It refuses a frame longer than jute.maxbuffer
// (NIOServerCnxn.readLength).
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(head[:]))
	if n < 0 || int(n) > limit {
		// A pipe has no buffer as a socket has: the client's write ends only when all is
		// read.
		_, _ = io.CopyN(io.Discard, r, int64(n))
		return nil, fmt.Errorf("zksim: len error %d", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func (e *Ensemble) write(c *conn, nc net.Conn) {
	defer e.wg.Done()
	defer func() { _ = nc.Close() }()
	for b := c.out.take(); b != nil; b = c.out.take() {
		if _, err := nc.Write(b); err != nil {
			return
		}
	}
}

// Dialer returns a dialer for clients that need no name of their own. [Ensemble.Cut] and
// [Ensemble.Delay] know them as "client".
func (e *Ensemble) Dialer() zk.Dialer { return e.DialerFor("client") }

// DialerFor returns a dialer for a client with its own name on the network, so that its
// links can be cut. The connections are made by net.Pipe, so they work in the virtual
// time of a synctest bubble. A dial to a crashed server is refused. A dial over a cut
// link times out.
func (e *Ensemble) DialerFor(client string) zk.Dialer {
	return func(_, address string, timeout time.Duration) (net.Conn, error) {
		s := e.byAddress(address)
		if s == nil {
			return nil, &net.OpError{Op: "dial", Net: "zksim", Err: fmt.Errorf("no server at %q", address)}
		}
		d := &dial{e: e, server: s, client: client, answer: make(chan net.Conn, 1)}
		e.do(func() { e.send(client, s.name, d.arrive) })
		return d.wait(timeout)
	}
}

// dial is a connection that is being made.
type dial struct {
	e       *Ensemble
	server  *server
	client  string
	answer  chan net.Conn // one value: the client's end, or nil for a refusal
	givenUp bool
}

// arrive runs when the dial reaches the server. The kernel accepts it even while the
// process is frozen.
func (d *dial) arrive() {
	if d.givenUp {
		return
	}
	if d.server.crashed {
		d.e.send(d.server.name, d.client, func() { d.answer <- nil })
		return
	}
	mine, theirs := net.Pipe()
	d.e.accept(d.server, d.client, mine)
	d.e.send(d.server.name, d.client, func() {
		if d.givenUp {
			_ = theirs.Close()
			return
		}
		d.answer <- theirs
	})
}

func (d *dial) wait(timeout time.Duration) (net.Conn, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "zksim", Err: err}
	}
	if d.e.isClosed() {
		return fail(errRefused)
	}
	select {
	case c := <-d.answer:
		if c == nil {
			return fail(errRefused)
		}
		return c, nil
	case <-timer.C:
		d.giveUp()
		return fail(errTimeout)
	}
}

// giveUp gives the dial up. It closes a connection that was made at the moment of the
// time-out.
func (d *dial) giveUp() {
	d.e.mu.Lock()
	defer d.e.mu.Unlock()
	d.givenUp = true
	select {
	case c := <-d.answer:
		if c != nil {
			_ = c.Close()
		}
	default:
	}
}

var (
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("i/o timeout")
)

func (e *Ensemble) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// ListenTCP lets in other processes, and clients of other kinds. Every server listens on
// its own port of addr's host. With port 0 free ports are used; else they count up from
// addr's port. The result is the connect string. [Ensemble.Cut] and [Ensemble.Delay] know
// these clients as "tcp".
//
// Call it outside of synctest bubbles: sockets do not use virtual time.
func (e *Ensemble) ListenTCP(addr string) (string, error) {
	host, first, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("zksim: listen on %q: %w", addr, err)
	}
	port, err := strconv.Atoi(first)
	if err != nil {
		return "", fmt.Errorf("zksim: listen on %q: %w", addr, err)
	}

	var at []string
	for _, s := range e.servers {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return "", fmt.Errorf("zksim: listen for %s: %w", s.name, err)
		}
		at = append(at, l.Addr().String())
		e.serve(s, l)
		if port != 0 {
			port++
		}
	}
	return strings.Join(at, ","), nil
}

func (e *Ensemble) serve(s *server, l net.Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = l.Close()
		return
	}
	e.listeners = append(e.listeners, l)
	e.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			e.welcome(s, nc)
		}
	})
}

// welcome accepts a connection. It closes a connection to a server that is down, because
// its port cannot refuse it.
func (e *Ensemble) welcome(s *server, nc net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || s.crashed {
		_ = nc.Close()
		return
	}
	e.accept(s, "tcp", nc)
}
