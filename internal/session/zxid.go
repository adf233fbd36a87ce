package session

import (
	"encoding/binary"
	"slices"
)

// The tap keeps the zxid that the session has seen last (wire.seen), and the driver does
// not learn of it: the tap shows it 0 in each reply. It writes the true zxid into the two
// requests in which the driver sends it: the connect request, and the one that sets
// watches again.
//
// For the driver looks for watches to set again while its other goroutines already send
// requests and read replies (conn.go, loop and sendSetWatches). It reads the zxid without
// a lock, and each reply writes it: a data race. And a reply that it reads before the
// look moves the zxid on, so that the server does not report what happened while there
// was no connection. The driver takes only zxids greater than 0 from a reply (recvLoop).
// So it never writes its own, and it does not matter when the look comes.

const (
	replyZxid     = 4  // offset of the zxid into a reply, without its length word
	watchesZxid   = 12 // offset of the zxid into a request that sets watches again, counted from its length word
	watchesHeader = 20 // up to the lists of watches
)

// keepZxid takes the zxid out of a reply.
func (w *wire) keepZxid(xid int32, b []byte) {
	at := b[replyZxid : replyZxid+8]
	if zxid := int64(binary.BigEndian.Uint64(at)); xid >= 0 && zxid > 0 {
		w.seen.Store(zxid)
	}
	clear(at)
}

// resuming returns the connect request with the zxid that the session has seen last. A
// new session has seen none and has no watches: the driver has dropped those of the last
// one (conn.go, loop).
func (w *wire) resuming(request []byte) []byte {
	if sessionIn(request) == 0 {
		w.seen.Store(0)
		w.watched.Store(false)
		return request
	}
	request = slices.Clone(request)
	binary.BigEndian.PutUint64(request[requestZxid:], uint64(w.seen.Load()))
	return request
}

// settingAgain returns the driver's request that sets watches again, with the zxid that
// was the last one when this connection was made.
//
// Without watches from an earlier connection it returns a request that sets none. Those
// in the request are new. The driver has set them on this very connection, before it
// looked for old ones. The server has them already, or has reported them, and it would
// report some once more, for a change that came before them (DataTree.setWatches).
func (h *hold) settingAgain(request []byte) []byte {
	if len(request) < watchesHeader {
		return request
	}
	request = slices.Clone(request)
	binary.BigEndian.PutUint64(request[watchesZxid:], uint64(h.seen))
	if h.some {
		return request
	}
	const noLists = 3 * 4 // three lengths of 0
	request = append(request[:watchesHeader], make([]byte, noLists)...)
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	return request
}
