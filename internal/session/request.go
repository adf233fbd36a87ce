package session

import (
	"encoding/binary"
	"slices"
	"time"
)

// Offsets into a connect request, counted from its length word (ConnectRequest in
// zookeeper.jute).
const (
	requestZxid     = 8  // the last transaction seen
	requestTimeout  = 16 // milliseconds
	requestSession  = 20
	requestPassword = 32 // its length word is at 28
)

// asking returns the connect request with another timeout. It is needed because the
// driver asks for the timeout that it was granted last (conn.go, setTimeouts): one server
// that grants less would lower the timeout for good.
func asking(request []byte, timeout time.Duration) []byte {
	if timeout <= 0 || len(request) < requestSession {
		return request
	}
	request = slices.Clone(request) // it is the caller's
	binary.BigEndian.PutUint32(request[requestTimeout:], uint32(timeout/time.Millisecond))
	return request
}

// sessionIn returns the session that a connect request resumes, or 0 if it asks for a new
// one.
func sessionIn(request []byte) int64 {
	if len(request) < requestPassword {
		return 0
	}
	return int64(binary.BigEndian.Uint64(request[requestSession:]))
}

// fresh returns a connect request for a new session, from a client that has seen no
// transaction. It asks for 1 ms, which gets the shortest timeout that the server grants.
func fresh(request []byte) []byte {
	request = asking(request, time.Millisecond)
	clear(request[requestZxid:requestTimeout])
	clear(request[requestSession : requestSession+8])
	clear(request[requestPassword:min(requestPassword+16, len(request))])
	return request
}
