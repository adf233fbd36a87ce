package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// tap is one connection of the driver, whose traffic it reads along. The driver reads
// from one goroutine and writes from one.
type tap struct {
	net.Conn
	wire             *wire
	network, address string // as the driver dialled them
	dialLimit        time.Duration

	hung  atomic.Bool // a write failed because the other side closed: the reader finds that this side has closed
	noted bool        // wire.note has kept an error from before the greeting; guarded by wire.mu

	mu      sync.Mutex         // guards what both directions use
	opened  time.Time          // when the connect request was written
	pings   []time.Time        // when the pings without an answer were written
	greeted bool               // the connect response has been read
	closing int32              // xid of the request that ends the session; 0: it was not sent
	asked   map[int32]question // by xid: the requests without an answer
	again   bool               // this is not the first connection
	resent  resent

	writing sync.Mutex // guards the following, and is held over writes, so that frames stay whole
	hold    hold

	// Only the reader uses the following. Until the greeting the driver has only one
	// goroutine.
	from    *bufio.Reader
	request []byte // the connect request, as sent
	begun   bool   // the server has sent something
	over    []byte // the frame to read in place of a greeting, if the session is given up
	buf     []byte // the frame that is being read
	ready   []byte // the rest of the last frame, which the driver has still to take
}

func newTap(conn net.Conn, w *wire) *tap {
	t := &tap{Conn: conn, wire: w, from: bufio.NewReaderSize(conn, readAhead), asked: map[int32]question{}}
	t.hold.tap = t
	return t
}

// SetReadDeadline sets the driver's deadlines once the server has greeted it. Before that
// it bounds the wait for the greeting: the driver would lift its limit as soon as it has
// read the length of the greeting (conn.go, authenticate).
func (t *tap) SetReadDeadline(deadline time.Time) error {
	switch {
	case t.isGreeted():
		return t.Conn.SetReadDeadline(deadline)
	case deadline.IsZero():
		return nil // the driver sets the next one when it reads on
	}
	return t.Conn.SetReadDeadline(t.wire.allowance.handshakeLimit(deadline))
}

// Write takes one frame. The driver writes one whole frame a call.
//
// Write never fails. If the connection takes no more, Write closes it, and the reader
// reports that. For when a write fails, the driver answers its request at once, and again
// when it gives the connection up (conn.go, sendData and flushRequests). If no one takes
// the first answer, there is no room for the second, and the driver hangs with its locks
// held.
func (t *tap) Write(b []byte) (int, error) {
	now := time.Now()
	t.mu.Lock()
	first := t.opened.IsZero()
	if first {
		t.opened = now
	} else {
		t.ask(b, now)
	}
	t.mu.Unlock()

	t.writing.Lock()
	defer t.writing.Unlock()
	if !first {
		t.wire.sending(b) // before the answer can come
		t.hold.pass(b)
		return len(b), nil
	}

	t.request = t.wire.resuming(asking(slices.Clone(b), t.wire.asks))
	if reason := t.wire.service.hopeless(sessionIn(b), now); reason != nil {
		t.giveUp(reason)
		return len(b), nil
	}
	t.hold.begin(t.wire.watched.Load(), t.wire.left.Swap(false), t.wire.seen.Load())
	t.send(t.request)
	return len(b), nil
}

// ask records a request that is being sent. The lock must be held.
func (t *tap) ask(b []byte, now time.Time) {
	if len(b) < 12 {
		return
	}
	xid, op := int32(binary.BigEndian.Uint32(b[4:])), opOf(b)
	if op != jute.OpCloseSession {
		t.wire.service.asked(now)
	}

	switch op {
	case jute.OpPing:
		t.pings = append(t.pings, now)
		return
	case jute.OpCloseSession:
		t.closing = xid
	}
	t.asked[xid] = question{op, parts(op, b)}
	if t.again {
		t.resent.request(b)
	}
}

// send writes to the network, and closes a connection that takes no more.
func (t *tap) send(b []byte) {
	if _, err := t.Conn.Write(b); err != nil {
		t.hung.Store(hungUp(err) || errors.Is(err, io.ErrClosedPipe))
		t.wire.note(err, t)
		t.Conn.Close()
	}
}

// Close closes the connection. It also says if the driver has not set its watches again
// on it.
func (t *tap) Close() error {
	t.wire.mu.Lock()
	delete(t.wire.conns, t)
	t.wire.mu.Unlock()

	err := t.Conn.Close() // if grace fires, it finds the connection closed
	t.writing.Lock()      // not earlier: a write may wait for the network until the connection is closed
	defer t.writing.Unlock()
	if t.hold.on {
		t.hold.on = false // so that a second Close does not say it again
		t.wire.left.Store(true)
	}
	return err
}

func (t *tap) isGreeted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.greeted
}

const (
	eventXid = -1 // the xid of a watch's event (ClientCnxn, SendThread.readResponse)
	pingXid  = -2 // the xid of a ping's answer (ClientCnxn.PING_XID)
)

// greeting takes the connect response: protocol version, timeout in milliseconds,
// session.
func (t *tap) greeting(b []byte) error {
	timeout := time.Duration(int32(binary.BigEndian.Uint32(b[4:]))) * time.Millisecond
	id := int64(binary.BigEndian.Uint64(b[8:]))
	if id != 0 && timeout <= 0 { // the driver would panic
		return fmt.Errorf("the server granted a session timeout of %v", timeout)
	}
	if err := checkGreeting(b); err != nil {
		return err
	}

	t.mu.Lock()
	t.greeted, t.again = true, t.wire.met.Swap(true)
	opened := t.opened
	t.mu.Unlock()

	t.wire.allowance.greeted(id == 0)
	t.wire.greeted(t.address)
	t.wire.service.greeted(id, timeout, time.Now())
	if id == 0 { // the session has expired, and the driver forgets to close the connection
		t.Close()
	}
	t.wire.on.handshake(opened, timeout, id)
	return nil
}

// reply takes the answer to a request, or a watch's event.
func (t *tap) reply(b []byte) error {
	now, xid := time.Now(), int32(binary.BigEndian.Uint32(b))
	t.mu.Lock()
	isPong := xid == pingXid && len(t.pings) > 0
	var sent time.Time
	if isPong {
		sent, t.pings = t.pings[0], t.pings[1:]
	}
	closing := t.closing
	asked := t.asked[xid]
	delete(t.asked, xid)
	t.mu.Unlock()

	code := jute.Code(binary.BigEndian.Uint32(b[12:]))
	if err := checkFrame(xid, asked, code, b[headSize:]); err != nil {
		return err
	}

	t.wire.keepZxid(xid, b)
	if op, err := t.resent.reply(b); op != 0 && t.wire.refused != nil {
		t.wire.refused(op, err)
	}
	if isPong || serves(asked.op, code) {
		t.wire.service.heard(now)
	}
	switch {
	case isPong:
		t.wire.on.pong(sent, now)
	case closing != 0 && xid == closing:
		t.wire.ended.Store(true)
	}
	return nil
}
