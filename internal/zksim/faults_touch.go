package zksim

import "time"

// Grant sets the longest session timeout that the servers grant from now on, to new and
// to resumed sessions, as if they had been restarted with another maxSessionTimeout.
func (e *Ensemble) Grant(longest time.Duration) {
	e.do(func() { e.cfg.MaxSession = max(longest, e.cfg.MinSession) })
}

// StallPings stops the leaders' pings, and nothing else, until it is called with false.
// It acts as if the thread that sends them were held up (ZOOKEEPER-3774). Requests are
// served as before. But followers get no ping to answer, so no touch of their clients'
// sessions reaches the leader.
func (e *Ensemble) StallPings(stall bool) {
	e.do(func() { e.pingsStalled = stall })
}

// OnResume calls f for each session that the leader lets a client resume, with the
// timeout that the leader counts from then on, before the client learns of it. f runs
// under the ensemble's lock and must not call the ensemble.
func (e *Ensemble) OnResume(f func(session int64, timeout time.Duration)) {
	e.do(func() { e.resumed = f })
}

// resume touches a session for a handshake.
func (t *tracker) resume(id int64, timeoutMs int32) bool {
	if !t.touch(id, timeoutMs) {
		return false
	}
	if f := t.server.e.resumed; f != nil {
		f(id, time.Duration(timeoutMs)*time.Millisecond)
	}
	return true
}
