package session

import (
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"
)

// Adopt makes a session of a connection that the caller dialled and goes on owning.
// timeout is the session timeout that the server granted, which the connection does not
// tell.
//
// Adopt does not need the connection's events, which go to the caller. It polls the
// connection's state every 1/40 of the timeout, but not more often than every 5 ms and at
// least every 100 ms. It sends a read every third of the timeout, as often as the driver
// pings: the pings of such a connection cannot be seen, and without a recent touch the
// first proofs after a quiet time would give no lease, or one that soon ends.
func Adopt(conn *zk.Conn, timeout time.Duration, log *slog.Logger) *Session {
	s := newSession(log, timeout)
	s.conn = conn
	s.poll()

	s.loops.Add(2)
	go newRenewer(s).run()
	go s.pollLoop()
	return s
}

// pollLoop follows the state of an adopted connection.
func (s *Session) pollLoop() {
	defer s.loops.Done()
	every := time.NewTicker(min(max(s.timeout/40, 5*time.Millisecond), 100*time.Millisecond))
	defer every.Stop()
	touch := time.NewTicker(s.timeout / leaseShare)
	defer touch.Stop()

	for {
		select {
		case <-every.C:
			s.poll()
		case <-touch.C:
			if s.Status().Connected {
				s.Go(func() { look(s) })
			}
		case <-s.Done():
			return
		}
	}
}

func (s *Session) poll() {
	id, up := s.conn.SessionID(), s.conn.State() == zk.StateHasSession
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == s.status.ID && up == s.status.Connected {
		return
	}

	if id != 0 && (s.lease == nil || s.lease.session != id) {
		s.lease = &Lease{session: id}
	}
	if up && id != 0 {
		s.publish(Status{ID: id, Connected: true, Timeout: s.timeout})
		s.collectAnew()
		return
	}
	s.publish(Status{ID: id, Timeout: s.timeout})
}

// collectAnew starts to collect evidence for the lease with a touch. The handshake of an
// adopted connection cannot be seen. The lock must be held.
func (s *Session) collectAnew() {
	s.lease.opened(time.Time{}, s.timeout)
	s.spawn(func() { look(s) })
}

// look has the server see the session, by a read.
func look(s *Session) {
	_, _ = s.Read(func(c *zk.Conn) error { _, _, err := c.Exists("/"); return err })
}

// dropEvidence forgets the evidence for the lease after a failed call on an adopted
// connection: the connection may lead to another server now.
func (s *Session) dropEvidence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil {
		s.lease.opened(time.Time{}, s.timeout)
	}
}
