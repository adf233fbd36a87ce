package zktest

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// Op is the operation code of a request, as on the wire.
type Op int32

// The operations of ZooKeeper's protocol. OpConnect is this package's own
// number for the handshake, which has none.
const (
	OpConnect              Op = -1000
	OpClose                Op = -11
	OpCreate               Op = 1
	OpDelete               Op = 2
	OpExists               Op = 3
	OpGetData              Op = 4
	OpSetData              Op = 5
	OpGetACL               Op = 6
	OpSetACL               Op = 7
	OpGetChildren          Op = 8
	OpSync                 Op = 9
	OpPing                 Op = 11
	OpGetChildren2         Op = 12
	OpCheck                Op = 13
	OpMulti                Op = 14
	OpCreate2              Op = 15
	OpCheckWatches         Op = 17
	OpRemoveWatches        Op = 18
	OpCreateContainer      Op = 19
	OpDeleteContainer      Op = 20
	OpCreateTTL            Op = 21
	OpMultiRead            Op = 22
	OpAuth                 Op = 100
	OpSetWatches           Op = 101
	OpSASL                 Op = 102
	OpGetEphemerals        Op = 103
	OpGetAllChildrenNumber Op = 104
	OpSetWatches2          Op = 105
	OpAddWatch             Op = 106
)

var opNames = map[Op]string{
	OpConnect: "connect", OpClose: "close", OpCreate: "create", OpDelete: "delete", OpExists: "exists",
	OpGetData: "getData", OpSetData: "setData", OpGetACL: "getACL", OpSetACL: "setACL",
	OpGetChildren: "getChildren", OpSync: "sync", OpPing: "ping", OpGetChildren2: "getChildren2",
	OpCheck: "check", OpMulti: "multi", OpCreate2: "create2", OpCheckWatches: "checkWatches",
	OpRemoveWatches: "removeWatches", OpCreateContainer: "createContainer", OpDeleteContainer: "deleteContainer",
	OpCreateTTL: "createTTL", OpMultiRead: "multiRead", OpAuth: "auth", OpSetWatches: "setWatches",
	OpSASL: "sasl", OpGetEphemerals: "getEphemerals", OpGetAllChildrenNumber: "getAllChildrenNumber",
	OpSetWatches2: "setWatches2", OpAddWatch: "addWatch",
}

// String names the operation as ZooKeeper's sources do.
func (o Op) String() string {
	if name, ok := opNames[o]; ok {
		return name
	}
	return fmt.Sprintf("op %d", int32(o))
}

// beginsWithPath tells whether the request's body starts with its path.
func (o Op) beginsWithPath() bool {
	switch o {
	case OpConnect, OpClose, OpPing, OpMulti, OpMultiRead, OpAuth, OpSASL, OpSetWatches, OpSetWatches2:
		return false
	}
	return opNames[o] != ""
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
	Op      Op     // of a Reply: that of its request; of a Notification: 0
	Xid     int32  // as on the wire: -1 a notification, -2 a ping
	Path    string // of a multi: that of its first operation; of a Reply: that of its request
	Session int64  // 0 until the server has assigned one
	Zxid    int64  // of a Reply
	Err     int32  // of a Reply: 0 or ZooKeeper's error code
	Event   int32  // of a Notification: 1 created, 2 deleted, 3 data changed, 4 children changed
	Size    int    // bytes on the wire, the length prefix included

	dropReply *Rule // set on a request whose reply is to be lost
}

// Match picks frames. It runs on the Proxy's goroutines, several at a time.
type Match func(Frame) bool

// IsOp matches requests and replies of any of ops.
func IsOp(ops ...Op) Match {
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

// decoder reads the wire format's primitives. After the end of the bytes it
// yields zeroes: a frame that is cut short is shown as far as it goes.
type decoder struct{ b []byte }

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b = nil
		return make([]byte, max(0, min(n, 8)))
	}
	head := d.b[:n]
	d.b = d.b[n:]
	return head
}

func (d *decoder) int32() int32 { return int32(binary.BigEndian.Uint32(d.take(4))) }
func (d *decoder) int64() int64 { return int64(binary.BigEndian.Uint64(d.take(8))) }

// buffer copies, since what it returns outlives the frame.
func (d *decoder) buffer() []byte {
	n := int(d.int32())
	if n <= 0 || n > len(d.b) {
		return nil
	}
	return append([]byte(nil), d.take(n)...)
}

// decodeRequest reads a request other than the handshake.
func decodeRequest(body []byte) Frame {
	d := decoder{body}
	f := Frame{Kind: Request, Xid: d.int32(), Op: Op(d.int32()), Size: len(body) + 4}
	inner := f.Op
	if f.Op == OpMulti || f.Op == OpMultiRead {
		inner = Op(d.int32()) // each part has a header: operation, done, error
		d.take(1 + 4)
	}
	if inner.beginsWithPath() {
		f.Path = string(d.buffer())
	}
	return f
}

// decodeReply reads what the server sends after the handshake.
func decodeReply(body []byte) Frame {
	d := decoder{body}
	f := Frame{Kind: Reply, Xid: d.int32(), Zxid: d.int64(), Err: d.int32(), Size: len(body) + 4}
	if f.Xid == xidNotification {
		f.Kind = Notification
		f.Event = d.int32()
		d.int32() // the state, which is always "connected"
		f.Path = string(d.buffer())
	}
	return f
}

// decodeConnect reads the handshake's first half.
func decodeConnect(body []byte) Frame {
	d := decoder{body}
	d.int32() // protocol version
	f := Frame{Kind: Request, Op: OpConnect, Zxid: d.int64(), Size: len(body) + 4}
	d.int32() // timeout
	f.Session = d.int64()
	return f
}

// decodeConnected reads the handshake's second half.
func decodeConnected(body []byte) Session {
	d := decoder{body}
	d.int32() // protocol version
	millis := d.int32()
	return Session{ID: d.int64(), Passwd: d.buffer(), TimeoutMillis: millis}
}
