package session

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	headSize    = 16       // a reply's xid, zxid and error; a greeting's version, timeout and session
	maxGreeting = 1024     // a greeting has 36 or 37 bytes
	maxReply    = 64 << 20 // a server's own limit is 1 MiB by default (jute.maxbuffer)
	leastBuffer = 512      // large enough for most replies
	keptBuffer  = 1 << 20  // a larger buffer is not kept for the next frame
	firstRead   = 32 << 10 // the room made for a frame before its bytes have come
	readAhead   = 16 << 10 // what is read from the network at once: some hundreds of events
)

// Read checks each frame before it gives it to the driver. A frame that the driver would
// not survive ends the connection, and the driver does not see it.
func (t *tap) Read(b []byte) (int, error) {
	if len(t.ready) == 0 {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.ready)
	t.ready = t.ready[n:]
	return n, nil
}

// fill reads and checks the next frame for the driver.
func (t *tap) fill() error {
	b, err := t.next()
	for err == nil && t.unwanted(b[4:]) {
		b, err = t.next()
	}
	if err != nil && t.refusedForGood(err) {
		b, err = t.over, nil
	}
	if err == nil {
		err = t.frame(b[4:])
	}

	if err != nil {
		if t.isGreeted() {
			t.wire.service.ended(hungUp(err) || t.hung.Load())
		}
		t.wire.note(err, t)
		t.Conn.Close()
		return err
	}
	t.ready = b
	return nil
}

// unwanted reports whether a frame can be dropped, because this side has asked to end the
// session. Then only the answer to that request is wanted: the driver itself answers the
// pending requests when it is closed (conn.go, request).
//
// The end of a session removes its ephemeral znodes, and the server sends an event for
// each watch on one of them before it answers (FinalRequestProcessor,
// DataTree.killSession). These can be thousands. The driver would read each with two
// calls, and compete with the thousands of goroutines that the end of the session has
// woken.
func (t *tap) unwanted(b []byte) bool {
	t.mu.Lock()
	closing := t.closing
	t.mu.Unlock()
	if closing == 0 {
		return false
	}

	t.wire.works.Store(true)
	return int32(binary.BigEndian.Uint32(b)) != closing
}

// next reads one frame with its length word, into a buffer that is reused. It makes room
// as the bytes arrive, and not for what the length word claims.
func (t *tap) next() ([]byte, error) {
	if t.over != nil {
		return t.over, nil
	}
	if cap(t.buf) > keptBuffer {
		t.buf = nil
	}

	b := t.room(4)
	n, err := io.ReadFull(t.from, b)
	t.begun = t.begun || n > 0
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(b)
	if err := t.checkFrameSize(size); err != nil {
		return nil, err
	}

	whole := 4 + int(size)
	for have := 4; have < whole; have = len(b) {
		b = t.room(min(whole, max(firstRead, 2*have)))
		if _, err := io.ReadFull(t.from, b[have:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// room returns the buffer with a length of n bytes. It keeps what the buffer holds of the
// present frame.
func (t *tap) room(n int) []byte {
	if cap(t.buf) < n {
		t.buf = append(make([]byte, 0, max(n, leastBuffer)), t.buf...)
	}
	t.buf = t.buf[:n]
	return t.buf
}

// checkFrameSize returns an error for a frame that is too short or too long. The driver
// cuts off the head of a frame without a check. And it makes room for whatever the first
// four bytes of another kind of server say ("HTTP" is 1.2 GB).
func (t *tap) checkFrameSize(size uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.greeted && (size < headSize || size > maxGreeting):
		return strangeGreeting(size)
	case size < headSize:
		return fmt.Errorf("the server sent a reply of %d bytes, which has no room for its head", size)
	case size > maxReply:
		return fmt.Errorf("the server sent a reply of %d bytes, more than %d", size, maxReply)
	}
	return nil
}

// frame checks one frame from the server, without its length word, and takes note of it.
func (t *tap) frame(b []byte) error {
	if !t.isGreeted() {
		return t.greeting(b)
	}
	return t.reply(b)
}
