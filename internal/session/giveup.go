package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// service records whether servers still serve the present session. A session that no
// server will ever serve again must be given up, or its candidates wait for ever. Two
// such cases are known, and the driver notices neither.
//
//   - Servers greet the session and close the connection at its requests. They do not
//     accept its credentials, or its list of watches is larger than what they read
//     (jute.maxbuffer). Each greeting renews the session, so its znode stays in the
//     election and blocks all candidates behind it.
//   - Servers close the connection in place of a greeting, because the session has seen a
//     later transaction than they have (ZooKeeperServer.processConnectRequest). Their
//     data was lost, or replaced by a backup. They do not say that the session is over.
//
// The second case looks like a server that has no quorum, and behind such a server the
// session may well live on. So the server is asked for a new session, with a connect
// request that has seen no transaction. If the server grants the new session and still
// refuses the old one, it refuses it for good: it has applied the transaction that made
// the new session, which is later than everything that any session has seen, unless data
// was lost. This also holds for a lagging follower.
//
// To give a session up, this side answers the driver's connect request in the server's
// place: the session has expired. The driver then also forgets the last transaction that
// it has seen. Forgetting only that, and keeping the session, would not be safe: a
// lagging server could hide our own znode.
type service struct {
	gaveUp func(reason error) // called before the driver learns of it

	mu       sync.Mutex           // guards the following
	session  int64                // 0: none
	timeout  time.Duration        // of the session
	answered time.Time            // when the last answer came, or the session's first greeting
	first    time.Time            // when the first request after that was sent; zero: none was
	refused  int                  // connections in a row since then that the server closed with a request unanswered
	latest   time.Time            // the latest greeting
	probed   map[string]time.Time // by address: when the server was last asked for a new session
}

const (
	// A session is given up after unserved session timeouts with greetings and without an
	// answer, …
	unserved = 2
	// … if the server has closed the connection refusalsNeeded times in a row meanwhile.
	refusalsNeeded = 3
	// probeGap is the least time between two requests for a new session at one address.
	probeGap = time.Second / 2
)

// greeted takes a greeting: a server has accepted the session, or, if session is 0, has
// said that it is over.
func (s *service) greeted(session int64, timeout time.Duration, now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	if session != s.session {
		s.session, s.answered, s.first, s.refused, s.probed = session, now, time.Time{}, 0, nil
	}
	if now.Sub(s.latest) > unserved*timeout { // the time of an outage does not count
		s.first = time.Time{}
	}
	s.timeout, s.latest = timeout, now
}

// asked takes a request or a ping that is being sent.
func (s *service) asked(now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = now
	}
}

// heard takes an answer to a request or a ping.
func (s *service) heard(now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered, s.first, s.refused = now, time.Time{}, 0
}

// ended takes the end of a connection that had been greeted. byServer tells whether the
// server ended it.
func (s *service) ended(byServer bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if byServer && !s.first.IsZero() {
		s.refused++
		return
	}
	s.refused = 0
}

// hopeless returns why the session must be given up instead of resumed once more, or nil
// if it need not. The time counts from the first request that no answer followed.
//
// A session without requests is not given up, however often its connection is lost.
// Neither is a session if the network ends its connections, or if this side does because
// a server is silent.
func (s *service) hopeless(session int64, now time.Time) error {
	if s == nil || session == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	limit := unserved * s.timeout
	if session != s.session || s.first.IsZero() || s.refused < refusalsNeeded ||
		now.Sub(s.first) < limit || now.Sub(s.latest) > limit {
		return nil
	}
	return fmt.Errorf("servers have greeted it again and again for %v and answered none of its requests",
		now.Sub(s.first).Round(time.Millisecond))
}

// probeDue reports whether it is time to find out why the server at address refuses the
// session: no server has greeted or answered it for one session timeout.
func (s *service) probeDue(session int64, address string, now time.Time) bool {
	if s == nil || session == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	quiet := min(now.Sub(s.answered), now.Sub(s.latest))
	if session != s.session || quiet < s.timeout || now.Sub(s.probed[address]) < probeGap {
		return false
	}
	if s.probed == nil {
		s.probed = map[string]time.Time{}
	}
	s.probed[address] = now
	return true
}

// serves reports whether a reply with this error code shows that the session is served.
// Replies to credentials and to the watches of an earlier connection do not: servers
// answer these before they serve anything else. Nor do errors after which a server closes
// the connection.
func serves(op jute.Op, code jute.Code) bool {
	switch op {
	case 0, jute.OpAuth, jute.OpSetWatches:
		return false
	}
	switch code {
	case jute.CodeSessionExpired, jute.CodeAuthFailed, jute.CodeSessionMoved, jute.CodeRequiresSASL:
		return false
	}
	return true
}

// probeLimit returns how long one server may be probed: T/3, but at least 1 s.
func (s *service) probeLimit() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.timeout/3, time.Second)
}

// expired returns the greeting that says that the session has expired.
func expired() []byte {
	const body = 4 + 4 + 8 + 4 + 16 + 1 // version, timeout, session, password with its length, read-only
	b := make([]byte, 4+body)
	binary.BigEndian.PutUint32(b, body)
	binary.BigEndian.PutUint32(b[20:], 16)
	return b
}

// giveUp gives the session up: the driver's next read says that the session has expired.
func (t *tap) giveUp(reason error) {
	t.wire.service.gaveUp(reason)
	t.over = expired()
}

// refusedForGood reports whether the server that has closed this connection in place of a
// greeting refuses the session for good, and gives the session up if so. Only the reader
// calls it: meanwhile the driver has nothing else to do but to connect again.
func (t *tap) refusedForGood(end error) bool {
	if t.begun || !hungUp(end) || !t.wire.service.probeDue(sessionIn(t.request), t.address, time.Now()) {
		return false
	}

	until := time.Now().Add(t.wire.service.probeLimit())
	if id, _ := t.probe(fresh(t.request), until); id == 0 {
		return false
	}

	// A name may stand for several servers. Then the server that granted the new session
	// need not be the one that refused the old one. So the old session must be refused
	// three times, as many as a name commonly has addresses.
	for range 3 {
		if _, ended := t.probe(t.request, until); !ended {
			return false
		}
	}
	t.giveUp(fmt.Errorf("the server at %s makes new sessions, but refuses this one, "+
		"which has seen later transactions: "+
		"the ensemble has lost its data, or was set back to older data", t.address))
	return true
}

// probe makes one more connection to the tap's server and sends a connect request. It
// returns the session of the server's greeting, or 0 if there is none, and whether the
// server closed the connection instead. A new session is ended at once.
func (t *tap) probe(request []byte, until time.Time) (session int64, ended bool) {
	conn, err := t.wire.dialProbe(t.network, t.address, min(t.dialLimit, time.Until(until)))
	if err != nil {
		return 0, false
	}
	defer t.wire.closeProbe(conn)
	if conn.SetDeadline(until) != nil {
		return 0, false
	}
	if _, err := conn.Write(request); err != nil {
		return 0, false
	}

	var b [4 + headSize]byte
	if n, err := io.ReadFull(conn, b[:]); err != nil {
		return 0, n == 0 && hungUp(err)
	}
	if size := binary.BigEndian.Uint32(b[:]); size < headSize || size > maxGreeting {
		return 0, false
	}
	session = int64(binary.BigEndian.Uint64(b[12:]))
	if session != 0 && sessionIn(request) == 0 {
		endSession(conn, int64(binary.BigEndian.Uint32(b[:]))-headSize)
	}
	return session, false
}

// endSession ends the session of a connection. rest bytes of the greeting are still to be
// read. If the server does not answer in time, the session ends with its timeout.
func endSession(conn net.Conn, rest int64) {
	if _, err := io.CopyN(io.Discard, conn, rest); err != nil {
		return
	}

	code := jute.OpCloseSession
	b := binary.BigEndian.AppendUint32(nil, 8)
	b = binary.BigEndian.AppendUint32(b, 1) // xid
	if _, err := conn.Write(binary.BigEndian.AppendUint32(b, uint32(code))); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, 4+headSize)
}

// dialProbe makes a connection that the driver does not know of.
func (w *wire) dialProbe(network, address string, limit time.Duration) (net.Conn, error) {
	conn, err := w.dial(network, address, limit)
	if err == nil && conn == nil {
		err = errNoConn
	}
	if err != nil {
		return nil, err
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	if w.probes == nil {
		w.probes = map[net.Conn]struct{}{}
	}
	w.probes[conn] = struct{}{}
	return conn, nil
}

func (w *wire) closeProbe(conn net.Conn) {
	w.mu.Lock()
	delete(w.probes, conn)
	w.mu.Unlock()
	conn.Close()
}

// hungUp reports whether err says that the other side has ended the connection.
func hungUp(err error) bool {
	var late net.Error
	mine := errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &late) && late.Timeout()
	return err != nil && !mine
}
