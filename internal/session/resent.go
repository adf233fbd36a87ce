package session

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// resent tracks the requests by which the driver repeats, on a new connection, what it
// sent on the last one: its credentials (conn.go, resendZkAuth) and its watches
// (sendSetWatches). Only the driver sees the answers. If one is a refusal, it logs it,
// and goes on without or gives the connection up.
type resent struct {
	mu    sync.Mutex
	asked map[int32]jute.Op // by xid: the requests without an answer
}

var resentNames = map[jute.Op]string{jute.OpAuth: "credentials", jute.OpSetWatches: "watches"}

// request takes a request that is being sent on a connection other than the session's
// first one.
func (r *resent) request(b []byte) {
	op := opOf(b)
	if resentNames[op] == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[int32]jute.Op{}
	}
	r.asked[int32(binary.BigEndian.Uint32(b[4:]))] = op
}

// reply takes the head of an answer. It returns the repeated operation that this answers,
// or 0 if it answers another request, and an error if the server refused it.
func (r *resent) reply(head []byte) (op jute.Op, refused error) {
	xid, code := int32(binary.BigEndian.Uint32(head)), Code(binary.BigEndian.Uint32(head[12:]))
	r.mu.Lock()
	defer r.mu.Unlock()
	op = r.asked[xid]
	delete(r.asked, xid)
	if op == 0 || code == 0 {
		return op, nil
	}
	return op, fmt.Errorf("zookeeper refuses the %s that it accepted before: %w", resentNames[op], code)
}

// refusals keeps the latest refusal of a repeated request. There is no call to return it
// from.
type refusals struct {
	mu     sync.Mutex
	err    error // the latest; nil once a repeated request is accepted
	logged time.Time
}

// resentRefused takes the outcome of a repeated request. It logs at Warn, at most once in
// a session timeout, what the driver logs at every attempt to connect. The driver's
// goroutine calls it.
//
// Refused watches are lost for good, since the driver does not repeat them a second time
// (conn.go, sendSetWatches). Subscribers learn that from Status.Unwatched and must set
// theirs again.
func (s *Session) resentRefused(op jute.Op, err error) {
	if op == jute.OpSetWatches && err != nil {
		s.mu.Lock()
		s.unwatched++
		s.publish(s.status)
		s.mu.Unlock()
	}

	r := &s.refusals
	r.mu.Lock()
	repeats := err != nil && r.err != nil && r.err.Error() == err.Error() && time.Since(r.logged) < s.Timeout()
	r.err = err
	if err != nil && !repeats {
		r.logged = time.Now()
	}
	r.mu.Unlock()

	if err != nil && !repeats {
		s.log.Warn("a new connection cannot be used as the last one was", "error", err)
	}
}

func (r *refusals) last() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
