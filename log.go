package election

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/zkelection/election/internal/session"
)

// If something does not succeed for one session timeout, that is logged at Warn, with the
// reason and with what to look at. It is logged again after two more session timeouts,
// then after four, and so on, and in the end every ten minutes. Its end is logged, too.
// Nothing is polled: a timer runs only while something is overdue.

// rareSilence is the longest pause between two lines about one silence, unless the
// session timeout is longer.
const rareSilence = 10 * time.Minute

// silence is a time in which something does not succeed. Its owner makes sure that no two
// methods run at once.
type silence struct {
	since  time.Time
	pause  time.Duration
	logged bool // at least once
	waived bool // the latest time: somebody else logs it
	timer  *time.Timer
}

// newSilence calls due after pause, on a goroutine of its own, and after each later
// pause, until stop.
func newSilence(pause time.Duration, due func()) *silence {
	return &silence{since: time.Now(), pause: pause, timer: time.AfterFunc(pause, due)}
}

// tell returns how long the silence has lasted, and makes the next pause longer.
func (s *silence) tell() (lasted time.Duration) {
	s.logged = true
	s.pause = min(2*s.pause, max(s.pause, rareSilence))
	s.timer.Reset(s.pause)
	return time.Since(s.since)
}

// putOff says nothing this time, since somebody else does.
func (s *silence) putOff() {
	s.waived = true
	s.timer.Reset(s.pause)
}

// stop returns how long the silence has lasted, and whether it was logged. A nil silence
// has not begun.
func (s *silence) stop() (lasted time.Duration, logged bool) {
	if s == nil {
		return 0, false
	}
	s.timer.Stop()
	return time.Since(s.since), s.logged
}

// sessionLog logs what happens to a client's session, and that nothing does.
type sessionLog struct {
	sess  *session.Session
	log   *slog.Logger
	lines serial // the log's handler is the user's code: it may be slow, or ask a candidate for its Status

	changes changeLog

	mu      sync.Mutex // guards the following; taken under the session's lock
	timeout time.Duration
	last    *session.Status
	known   bool     // there was a session; until then there is none that could be down or expired
	out     *silence // nil while connected
	closed  bool
}

// logSession logs from now on, until close.
func logSession(sess *session.Session, log *slog.Logger) *sessionLog {
	l := &sessionLog{sess: sess, log: log, timeout: sess.Timeout()}
	l.changes = changeLog{sess: sess, log: log, lines: &l.lines}
	sess.Subscribe(l.heard)
	return l
}

// heard is called by the session, in order and under its lock.
func (l *sessionLog) heard(st session.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	st.Unwatched = 0 // told by the session itself
	if l.last != nil && *l.last == st {
		return
	}

	l.last = &st
	if st.Timeout > 0 {
		l.timeout = st.Timeout
	}

	if l.known = l.known || st.Connected; l.known {
		at := time.Now()
		l.lines.run(func() { l.changes.note(st, at) })
	}

	switch {
	case st.Connected:
		if lasted, logged := l.out.stop(); logged {
			l.lines.run(func() { l.log.Info("zookeeper is back", "after", lasted) })
		}
		l.out = nil
	case l.out == nil && !l.closed:
		l.begin()
	}
}

// begin is called with the lock held.
func (l *sessionLog) begin() {
	var out *silence
	out = newSilence(l.timeout, func() { l.due(&out) })
	l.out = out
}

// due takes out's address, since it may be called before out is set, and reads it under
// the lock.
func (l *sessionLog) due(out **silence) {
	reason := l.reason()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != *out { // over meanwhile
		return
	}
	what, lasted := "no zookeeper server has answered yet", l.out.tell()
	if l.known {
		what = "zookeeper is still out of reach"
	}
	l.lines.run(func() {
		l.log.Warn(what, "for", lasted, "error", reason,
			"check", "the connect string, the network, and the servers: a majority has to run, and their logs name whom they turn away")
	})
}

var (
	errUnheard = errors.New("no server has answered")
	errUnseen  = errors.New("unknown: the connection is the caller's, and the driver keeps the reason to its own log")
)

// reason is why there is no connection, as far as that is known.
func (l *sessionLog) reason() error {
	err := l.sess.LastError()
	switch {
	case err != nil:
		return err
	case l.sess.Adopted():
		return errUnseen
	}
	return errUnheard
}

// outage reports whether there is no connection, and whether the log has said so.
func (l *sessionLog) outage() (out, logged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out != nil, l.out != nil && l.out.logged
}

// close stops the timers that would outlive the session.
func (l *sessionLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.out.stop()
	l.out = nil
	l.lines.run(l.changes.close)
}

// wait returns when all lines are written, or ctx ends.
func (l *sessionLog) wait(ctx context.Context) { l.lines.wait(ctx) }

// changeLog logs the changes of a client's session: one line for each change, as long as
// changes are rare. A server that greets and hangs up, since it wants another
// authentication say, would make thousands of lines an hour, none of which says that
// anything is wrong. So a connection that flaps gets a warning, another one each time
// that it has been lost twice as often, and an ordinary line when it has come to rest.
type changeLog struct {
	sess  *session.Session
	log   *slog.Logger
	lines *serial

	// Only functions of lines use the following.
	state   session.Status
	changed time.Time
	losses  []time.Time // of the last rest; while it flaps, the first ones
	lost    int         // how often, while it flaps; 0 while it does not
	warned  int         // at how many losses
	rest    *time.Timer
	closed  bool
}

const (
	// flapLimit is how many losses within one rest make a connection flap.
	flapLimit = 3
	// minRest is the least time without a change that counts as rest; else it is a
	// session timeout. It is several times the pause between two attempts, which keeps a
	// session of short timeout from looking at rest in between.
	minRest = 5 * time.Second
)

// note takes a change that came at a given time.
func (l *changeLog) note(st session.Status, at time.Time) {
	loss := l.state.Connected && !st.Connected
	l.state, l.changed = st, at
	switch {
	case loss && l.lost > 0:
		l.lost++
	case loss:
		l.losses = append(l.losses, at)
		for at.Sub(l.losses[0]) > l.restTime() {
			l.losses = l.losses[1:]
		}
		if len(l.losses) == flapLimit {
			l.lost = flapLimit
		}
	}

	if l.lost == 0 {
		l.write()
		return
	}

	if l.lost >= 2*l.warned {
		l.warn()
	}

	l.awaitRest()
}

func (l *changeLog) restTime() time.Duration { return max(l.sess.Timeout(), minRest) }

func (l *changeLog) write() {
	switch log, st := l.log, l.state; {
	case st.Connected:
		log.Info("zookeeper session up", "session", hexID(st.ID), "timeout", st.Timeout)
	case st.ID == 0:
		log.Info("zookeeper session expired")
	default:
		log.Info("zookeeper disconnected", "session", hexID(st.ID))
	}
}

func (l *changeLog) warn() {
	l.warned = l.lost
	attrs := []any{"lost", l.lost, "in", l.changed.Sub(l.losses[0]).Round(time.Millisecond)}
	if err := cmp.Or(l.sess.LastError(), l.sess.LastLoss()); err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	l.log.Warn("zookeeper connection flaps: it is made and lost again; quiet until it lasts", attrs...)
}

// awaitRest ends the flapping when nothing has changed for long enough.
func (l *changeLog) awaitRest() {
	if l.rest != nil {
		l.rest.Stop()
	}
	if l.closed {
		return
	}
	l.rest = time.AfterFunc(l.restTime(), func() { l.lines.run(l.settle) })
}

func (l *changeLog) settle() {
	if l.closed || l.lost == 0 || time.Since(l.changed) < l.restTime() {
		return
	}
	l.losses, l.lost, l.warned = nil, 0, 0
	l.write()
}

// close logs nothing more, except for the lines that are queued.
func (l *changeLog) close() {
	l.closed = true
	if l.rest != nil {
		l.rest.Stop()
	}
}

// givenUpLog warns of sessions that are given up because no server will serve them again:
// of the first, the second, the fourth and so on, until none has been given up for
// rareSilence. It has a queue of its own, since a log handler is the user's code and may
// call the client.
type givenUpLog struct {
	log   *slog.Logger
	lines serial

	// Only the session's calls use the following.
	id    int64 // of the latest session
	said  bool  // it has been given up
	times int
	last  time.Time
}

func logGivenUp(sess *session.Session, log *slog.Logger) {
	sess.Subscribe((&givenUpLog{log: log}).heard)
}

func (l *givenUpLog) heard(st session.Status) {
	if st.ID != 0 {
		l.id, l.said = st.ID, false
	}

	if st.GivenUp == nil || l.said {
		return
	}

	now := time.Now()
	if now.Sub(l.last) > rareSilence {
		l.times = 0
	}

	l.said, l.last, l.times = true, now, l.times+1
	if l.times&(l.times-1) != 0 {
		return
	}

	attrs := []any{"session", hexID(l.id), "reason", st.GivenUp, "times", l.times}
	l.lines.run(func() { l.log.Warn("zookeeper session given up: a new one is asked for", attrs...) })
}
