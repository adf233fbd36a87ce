package zktest

import (
	"sync/atomic"

	"github.com/zkelection/election/internal/jute"
)

// beginsWithPath reports whether the body of a request for op starts with a path.
func beginsWithPath(op jute.Op) bool {
	switch op {
	case jute.OpCreate, jute.OpDelete, jute.OpExists, jute.OpGetData, jute.OpSetData, jute.OpGetACL, jute.OpSetACL,
		jute.OpGetChildren, jute.OpSync, jute.OpGetChildren2, jute.OpCheck, jute.OpCreate2, jute.OpCheckWatches,
		jute.OpRemoveWatches, jute.OpCreateContainer, jute.OpDeleteContainer, jute.OpCreateTTL,
		jute.OpGetEphemerals, jute.OpGetAllChildrenNumber, jute.OpAddWatch:
		return true
	}
	return false
}

// Kind tells which way a frame goes and why.
type Kind int

// The kinds of frames.
const (
	Request      Kind = iota + 1 // client to server
	Reply                        // the server's answer to a Request
	Notification                 // a watch that fired
)

// xids that do not number a request.
const xidNotification = -1

// Frame is what a Proxy knows of a message.
type Frame struct {
	Kind    Kind
	Op      jute.Op   // of the handshake: OpCreateSession; of a Reply: that of its request; of a Notification: 0
	Xid     int32     // as on the wire: -1 a notification, -2 a ping
	Path    string    // of a multi: that of its first operation; of a Reply: that of its request
	Session int64     // 0 until the server has assigned one
	Zxid    int64     // of a Reply
	Err     jute.Code // of a Reply
	Event   int32     // of a Notification: 1 created, 2 deleted, 3 data changed, 4 children changed
	Size    int       // bytes on the wire, the length prefix included

	dropReply *Rule // set on a request whose reply is to be lost
}

// Match picks frames. It runs on the Proxy's goroutines, several at a time.
type Match func(Frame) bool

// IsOp matches requests and replies of any of ops.
func IsOp(ops ...jute.Op) Match {
	return func(f Frame) bool {
		for _, op := range ops {
			if f.Op == op {
				return true
			}
		}
		return false
	}
}

// Any matches every frame.
func Any(Frame) bool { return true }

// IsKind narrows m to one kind of frames.
func IsKind(k Kind, m Match) Match {
	return func(f Frame) bool { return f.Kind == k && m(f) }
}

// Once matches the first frame that m matches, and none after it.
func Once(m Match) Match {
	var spent atomic.Bool
	return func(f Frame) bool { return m(f) && spent.CompareAndSwap(false, true) }
}

// The decoders below ignore [jute.Decoder.Err]: a frame that is cut short is shown as far
// as it goes, and passes the proxy like any other.

// decodeRequest reads a request other than the handshake.
func decodeRequest(body []byte) Frame {
	d := jute.Decoder{B: body}
	f := Frame{Kind: Request, Xid: d.Int32(), Op: jute.Op(d.Int32()), Size: len(body) + 4}
	inner := f.Op
	if f.Op == jute.OpMulti || f.Op == jute.OpMultiRead {
		inner = d.MultiHeader().Op
	}
	if beginsWithPath(inner) {
		f.Path = d.Text()
	}
	return f
}

// decodeReply reads what the server sends after the handshake.
func decodeReply(body []byte) Frame {
	d := jute.Decoder{B: body}
	f := Frame{Kind: Reply, Xid: d.Int32(), Zxid: d.Int64(), Err: jute.Code(d.Int32()), Size: len(body) + 4}
	if f.Xid == xidNotification {
		f.Kind = Notification
		f.Event = d.Int32()
		d.Int32() // the state, which is always "connected"
		f.Path = d.Text()
	}
	return f
}

// decodeConnect reads the handshake's first half.
func decodeConnect(body []byte) Frame {
	d := jute.Decoder{B: body}
	d.Int32() // protocol version
	f := Frame{Kind: Request, Op: jute.OpCreateSession, Zxid: d.Int64(), Size: len(body) + 4}
	d.Int32() // timeout
	f.Session = d.Int64()
	return f
}

// decodeConnected reads the handshake's second half.
func decodeConnected(body []byte) Session {
	d := jute.Decoder{B: body}
	d.Int32() // protocol version
	millis := d.Int32()
	return Session{ID: d.Int64(), Passwd: d.Bytes(), TimeoutMillis: millis}
}
