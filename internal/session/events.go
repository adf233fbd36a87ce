package session

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// onEvent takes the driver's events. Its goroutines call onEvent in the order of the
// events.
func (s *Session) onEvent(ev zk.Event) {
	if ev.Type != zk.EventSession {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	switch ev.State {
	case zk.StateHasSession:
		s.givenUp = nil
		s.publish(Status{ID: s.lease.session, Connected: true, Timeout: s.timeout})
	case zk.StateDisconnected:
		s.publish(Status{ID: s.status.ID, Timeout: s.timeout, GivenUp: s.givenUp})
	case zk.StateExpired:
		// This equals what the disconnection that follows publishes, so subscribers see
		// one change.
		s.publish(Status{Timeout: s.timeout, GivenUp: s.givenUp})
	}
}

// handshake takes what a server granted at sent. The driver's event follows.
//
// The shortest timeout that a session was ever granted counts. A new leader of the
// ensemble starts every session's timer with the timeout that the session was made with,
// whatever was granted when it was resumed (SessionTrackerImpl, from the sessions of the
// database).
func (s *Session) handshake(sent time.Time, timeout time.Duration, id int64) {
	if id == 0 { // expired: the driver's event says so
		if s.wire.pace.expired() {
			s.book.again()
		}
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.session != id {
		s.lease, s.timeout = &Lease{session: id}, timeout
	}
	s.timeout = min(s.timeout, timeout)
	if s.lease.opened(sent, s.timeout) {
		for r := range s.renewals {
			r.listener.LeaseShortened()
		}
	}
}

// pong takes the answer to a ping.
func (s *Session) pong(sent, answered time.Time) {
	s.mu.Lock()
	lease, timeout := s.lease, s.timeout
	s.mu.Unlock()
	if lease != nil {
		lease.heard(sent, answered, timeout)
	}
}

// giveUp keeps the reason why this side gives the session up. The driver's event follows.
func (s *Session) giveUp(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.givenUp = reason
}
