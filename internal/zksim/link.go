package zksim

import "time"

// link is one direction of the network between two parties. As TCP does, it keeps
// messages in order and loses none. A cut link holds them and delivers them when it is
// healed, unless the connection was given up meanwhile. Late delivery is a nastier fault
// than loss, and the one that happens in practice.
type link struct {
	cut     bool
	delay   func() time.Duration // nil: none
	lastDue time.Duration
	queue   []message
}

type message struct {
	due time.Duration
	do  func()
}

type route struct{ from, to string }

func (e *Ensemble) link(from, to string) *link {
	l := e.links[route{from, to}]
	if l == nil {
		l = &link{}
		e.links[route{from, to}] = l
	}
	return l
}

// send runs do at the other end, when the message arrives there.
func (e *Ensemble) send(from, to string, do func()) {
	l := e.link(from, to)
	due := e.now()
	if l.delay != nil {
		due += max(0, l.delay())
	}
	l.lastDue = max(l.lastDue, due)
	l.queue = append(l.queue, message{l.lastDue, do})
	e.at(l.lastDue, func() { e.pump(l) })
}

// pump delivers what has arrived. Each message schedules one call. On a cut link the call
// does nothing, and heal schedules another.
func (e *Ensemble) pump(l *link) {
	for !l.cut && len(l.queue) > 0 && l.queue[0].due <= e.now() {
		m := l.queue[0]
		l.queue[0] = message{}
		l.queue = l.queue[1:]
		m.do()
	}
}

func (e *Ensemble) connected(a, b string) bool {
	return !e.link(a, b).cut && !e.link(b, a).cut
}
