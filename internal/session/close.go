package session

import "time"

// Bounds of the wait for a server's confirmation that the session has ended. The wait
// grows with the number of ephemeral znodes. A server that is removing them can be told
// from a silent one: it sends their watch events, and answers the requests that came
// before.
const (
	silentWait = time.Second     // for a server that sends nothing
	workWait   = 2 * time.Second // for a server that is at work
)

// driverLimit bounds the wait for the driver's end. The driver has nothing left to wait
// for by then, so only a fault of the driver can reach the limit.
const driverLimit = 5 * time.Second

// Close ends the session and its ephemeral znodes, unless the caller owns the connection.
// ended reports whether a server has confirmed the end. Close waits for that for up to 1
// s (silentWait), or up to 2 s (workWait) if the server sends anything meanwhile or has a
// [CreateContainer] still to answer. A second Close does nothing and returns true.
func (s *Session) Close() (ended bool) {
	s.mu.Lock()
	if s.Closed() {
		s.mu.Unlock()
		return true
	}
	s.cancel()
	up := s.status.Connected
	s.status = Status{Timeout: s.timeout, Since: time.Now()}
	clear(s.subs)
	clear(s.renewals)
	s.mu.Unlock()

	if s.wire == nil {
		s.loops.Wait() // pending calls end when the connection answers or is closed by its owner
		return true
	}
	return s.hangUp(up)
}

// hangUp ends our own connection and everything that depends on it.
func (s *Session) hangUp(up bool) (ended bool) {
	latest := time.Now().Add(workWait)
	if !up {
		s.wire.cut()
	}
	silent := time.AfterFunc(silentWait, func() {
		// Without the cut the driver may wait two seconds more until it can send
		// (conn.go, queueRequest).
		if !s.wire.works.Load() {
			s.wire.cut()
		}
	})
	defer silent.Stop()
	if up {
		awaitContainers(s, silentWait)
	}

	s.conn.Close() // waits for the server's answer for a second
	if s.wire.works.Load() {
		s.driverEnded(time.Until(latest))
	}
	ended = up && s.wire.ended.Load()

	s.wire.cut()
	if !s.driverEnded(driverLimit) {
		s.log.Error("the zookeeper driver does not end", "session", s.status.ID)
		return false
	}
	s.book.lookUps.Wait()
	s.loops.Wait()
	s.calls.Wait()
	return ended
}

// driverEnded waits until the driver has ended, up to limit, and reports whether it has.
// The driver ends when its connection does, and when the server has answered its request
// to end the session. Closing its event channel is the last thing that it does.
func (s *Session) driverEnded(limit time.Duration) bool {
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		select {
		case _, more := <-s.events:
			if !more {
				return true
			}
		case <-late.C:
			return false
		}
	}
}
