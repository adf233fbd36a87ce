package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// wire stands between the driver and the network. It learns what the driver keeps to itself: the timeout that
// the server granted, the session's number, when a ping was sent that has been answered, whether the session's end was
// confirmed. It can end a connection whatever the driver is waiting for. And it keeps from the driver what would take
// the process along.
type wire struct {
	dial zk.Dialer
	on   wireEvents

	watched atomic.Bool // a request has left a watch: the driver may have some to set again
	left    atomic.Bool // a connection ended before they were set again: the driver may come with that on the next
	ended   atomic.Bool // a server has confirmed the session's end

	mu      sync.Mutex // guards the following; never held over a network call
	conns   map[*tap]struct{}
	closed  bool
	lastErr error
}

type wireEvents interface {
	handshake(sent time.Time, timeout time.Duration, id int64)
	pong(sent, answered time.Time)
}

// Guarded makes dial safe for a connection that is no Session's: from what the driver does when watches are set again, when
// a write fails, and when a server never greets it.
func Guarded(dial zk.Dialer) zk.Dialer {
	w := &wire{dial: dial, on: unheard{}, conns: map[*tap]struct{}{}}
	return w.connect
}

type unheard struct{}

func (unheard) handshake(time.Time, time.Duration, int64) {}
func (unheard) pong(time.Time, time.Time)                 {}

// connect is the zk.Dialer given to the driver.
func (w *wire) connect(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := w.dial(network, address, timeout)
	if err == nil && conn == nil {
		err = errors.New("the dialer returned neither a connection nor an error")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.lastErr = err
		return nil, err
	}
	if w.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	t := &tap{Conn: conn, wire: w}
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
}

func (w *wire) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr
}

// tap is one connection, read along with. The driver reads from one goroutine and writes from one.
type tap struct {
	net.Conn
	wire *wire

	mu      sync.Mutex // guards what both directions use
	opened  time.Time  // when the connect request was written
	pings   []time.Time
	greeted bool  // the connect response has been read
	closing int32 // xid of the request that ends the session; 0 while there is none

	writing sync.Mutex // guards the following, and is held over writes, so that frames stay whole
	holding bool       // until the driver has looked for watches to set again
	some    bool       // there may be some
	old     bool       // the first to set them again may be the last connection's
	since   time.Time  // when the connection was made
	held    []byte     // requests that wait for that
	grace   *time.Timer

	// Only the reader uses these: a frame's first bytes, and how much of it is still to come.
	head [20]byte
	have int
	size int // of the whole frame with its length word; 0 until the length word is complete
	seen int
}

// handshakeLimit bounds the wait for a server that accepts and never answers; the driver would give it
// 20/3 of a session timeout (conn.go, authenticate), in which no other server is tried.
func handshakeLimit(deadline time.Time) time.Time {
	// The driver sets 10 × recvTimeout = 20/3 T, so T/3 is a twentieth of it.
	left := time.Until(deadline)
	return time.Now().Add(max(left/20, time.Second))
}

// SetReadDeadline obeys the driver once the server has greeted it. Until then it is bounded: the driver would lift its
// limit when it has read no more than the greeting's length (conn.go, authenticate).
func (t *tap) SetReadDeadline(deadline time.Time) error {
	t.mu.Lock()
	greeted := t.greeted
	t.mu.Unlock()
	switch {
	case greeted:
		return t.Conn.SetReadDeadline(deadline)
	case deadline.IsZero():
		return nil // the driver sets the next one when it reads on
	}
	return t.Conn.SetReadDeadline(handshakeLimit(deadline))
}

// Write notes when the connect request and the pings go out. The driver writes one whole frame a call.
//
// It never fails: a connection that takes no more is closed, and the reader says so. For when a write fails the driver
// answers its request at once, and again when it gives the connection up (conn.go, sendData and flushRequests). Where
// nobody takes the first answer, there is no room for the second, and the driver hangs with its locks held.
func (t *tap) Write(b []byte) (int, error) {
	now := time.Now()
	t.mu.Lock()
	first := t.opened.IsZero()
	if first {
		t.opened = now
	} else if opOf(b) == opPing {
		t.pings = append(t.pings, now)
	} else if opOf(b) == opClose {
		t.closing = int32(binary.BigEndian.Uint32(b[4:]))
	}
	t.mu.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	if first {
		t.holding, t.some, t.old, t.since = true, t.wire.watched.Load(), t.wire.left.Swap(false), now
		t.send(b)
	} else {
		t.pass(b)
	}
	return len(b), nil
}

// holdLimit bounds the wait for watches to be set again, of which there may be none.
const holdLimit = 50 * time.Millisecond

// pass writes a request, unless the watches have still to be set again. The driver takes what to set them by from the
// last transaction seen (conn.go, sendSetWatches), which it reads without a lock while replies move it on. So a
// reply that is quicker would hide what happened while the connection was down. It is a data race too, and not only
// where there are old watches: the first new one may stand before the driver comes to look for any. So where there
// are none, what leaves one waits, with all that comes behind it, until the connection is older than that takes.
func (t *tap) pass(b []byte) {
	op := opOf(b)
	leaves := op.leavesWatch(b)
	if leaves {
		t.wire.watched.Store(true)
	}
	switch {
	case !t.holding || op == opPing || op == opAuth:
		t.send(b)
	case op == opSetWatches && t.old:
		t.send(b)
		t.old = false
		t.letGoLater(holdLimit)
	case op == opSetWatches:
		t.send(b)
		t.letGo()
	case !t.some && !leaves && len(t.held) == 0:
		t.send(b)
	case !t.some && time.Since(t.since) >= holdLimit:
		t.letGo()
		t.send(b)
	default:
		t.hold(b)
	}
}

// hold keeps a request back. It is called with writing locked.
func (t *tap) hold(b []byte) {
	t.held = append(t.held, b...)
	wait := holdLimit
	if !t.some {
		wait -= time.Since(t.since)
	}
	t.letGoLater(wait)
}

// letGoLater is called with writing locked; the first call counts.
func (t *tap) letGoLater(wait time.Duration) {
	if t.grace != nil {
		return
	}
	t.grace = time.AfterFunc(wait, func() {
		t.writing.Lock()
		defer t.writing.Unlock()
		t.letGo()
	})
}

// letGo writes what was held. It is called with writing locked.
func (t *tap) letGo() {
	held := t.held
	t.holding, t.held = false, nil
	if t.grace != nil {
		t.grace.Stop()
	}
	if len(held) > 0 {
		t.send(held)
	}
}

// send writes, and closes a connection that takes no more.
func (t *tap) send(b []byte) {
	if _, err := t.Conn.Write(b); err != nil {
		t.wire.note(err, t)
		t.Conn.Close()
	}
}

// operation is a request's code on the wire (ZooDefs.OpCode).
type operation int32

const (
	opClose        operation = -11
	opExists       operation = 3
	opGetData      operation = 4
	opGetChildren  operation = 8
	opPing         operation = 11
	opGetChildren2 operation = 12
	opAuth         operation = 100
	opSetWatches   operation = 101
)

// opOf reads a frame's code, behind its length and its xid.
func opOf(b []byte) operation {
	if len(b) < 12 {
		return 0
	}
	return operation(binary.BigEndian.Uint32(b[8:]))
}

// leavesWatch: the requests that can end in a flag that says so.
func (op operation) leavesWatch(b []byte) bool {
	switch op {
	case opExists, opGetData, opGetChildren, opGetChildren2:
		return b[len(b)-1] != 0
	}
	return false
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if bad := t.follow(b[:n]); bad != nil {
		t.wire.note(bad, t)
		t.Conn.Close()
		return 0, bad
	}
	if err != nil {
		t.wire.note(err, t)
	}
	return n, err
}

func (t *tap) Close() error {
	t.wire.mu.Lock()
	delete(t.wire.conns, t)
	t.wire.mu.Unlock()
	err := t.Conn.Close() // grace, if it runs, finds the connection closed
	t.writing.Lock()      // not before: a write may wait for the network
	defer t.writing.Unlock()
	if t.holding && t.some {
		t.some = false // said once
		t.wire.left.Store(true)
	}
	return err
}

// note keeps the reason why a server was given up before it had greeted us.
func (w *wire) note(err error, t *tap) {
	t.mu.Lock()
	greeted := t.greeted
	t.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !greeted && !w.closed {
		w.lastErr = err
	}
}

// greeted forgets why servers were given up before: one has answered.
func (w *wire) greeted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastErr = nil
}

const pingXid = -2 // ClientCnxn.PING_XID

// follow keeps track of the frames that go by: length word, then the connect response first of all, and
// replies that begin with their xid from then on. It returns an error for one that the driver must not see.
func (t *tap) follow(b []byte) error {
	for len(b) > 0 {
		n := copy(t.head[t.have:], b)
		if t.size == 0 { // take no more than the length word, so that a frame's end is not overrun
			n = min(n, 4-t.have)
		} else {
			n = min(n, t.size-t.seen)
		}
		if n == 0 { // the head is full: skip what is left of the frame
			n = min(len(b), t.size-t.seen)
		} else {
			t.have += n
		}
		t.seen += n
		b = b[n:]
		if t.size == 0 && t.have == 4 {
			size := binary.BigEndian.Uint32(t.head[:4])
			if err := t.judge(size); err != nil {
				return err
			}
			t.size = 4 + int(size)
		}
		if t.size > 0 && t.seen >= t.size {
			if err := t.frame(t.head[4:t.have]); err != nil {
				return err
			}
			t.have, t.size, t.seen = 0, 0, 0
		}
	}
	return nil
}

const (
	headSize    = 16   // of a reply: xid, zxid, error; as much of a greeting are its version, timeout and session
	maxGreeting = 1024 // one has 36 or 37 bytes
)

// judge refuses a frame whose size the driver would not survive: it cuts the head off a shorter one, and makes room
// for whatever the first four bytes of another kind of server say ("HTTP" is 1.2 GB).
func (t *tap) judge(size uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.greeted && (size < headSize || size > maxGreeting):
		return fmt.Errorf("this is no ZooKeeper server: a greeting of %d bytes", size)
	case size < headSize:
		return fmt.Errorf("the server sent a reply of %d bytes, which has no room for its head", size)
	}
	return nil
}

// frame looks at the beginning of one frame from the server, headSize bytes of it.
func (t *tap) frame(head []byte) error {
	t.mu.Lock()
	first := !t.greeted
	t.mu.Unlock()
	if first {
		return t.greeting(head)
	}
	t.reply(int32(binary.BigEndian.Uint32(head)))
	return nil
}

// greeting takes the connect response: protocol version, timeout in milliseconds, session.
func (t *tap) greeting(head []byte) error {
	timeout := time.Duration(int32(binary.BigEndian.Uint32(head[4:]))) * time.Millisecond
	id := int64(binary.BigEndian.Uint64(head[8:]))
	if id != 0 && timeout <= 0 { // the driver would panic
		return fmt.Errorf("the server granted a session timeout of %v", timeout)
	}
	t.mu.Lock()
	t.greeted = true
	opened := t.opened
	t.mu.Unlock()
	t.wire.greeted()
	if id == 0 { // the session has expired; the driver forgets to close
		t.Close()
	}
	t.wire.on.handshake(opened, timeout, id)
	return nil
}

// reply takes what answers a request.
func (t *tap) reply(xid int32) {
	now := time.Now()
	t.mu.Lock()
	isPong := xid == pingXid && len(t.pings) > 0
	var sent time.Time
	if isPong {
		sent, t.pings = t.pings[0], t.pings[1:]
	}
	last := t.closing != 0 && xid == t.closing
	t.mu.Unlock()
	switch {
	case isPong:
		t.wire.on.pong(sent, now)
	case last:
		t.wire.ended.Store(true)
	}
}

// DialTCP dials with the timeout that the driver asks for, and gives up when ctx ends. The host name is looked
// up at every call: that is what makes the default re-resolving.
func DialTCP(ctx context.Context) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout}
		return d.DialContext(ctx, network, address)
	}
}
