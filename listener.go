package election

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Listener is told when its candidate begins and ceases to lead: the callbacks of Curator's LeaderLatchListener.
//
// For each listener the calls strictly alternate, IsLeader first, never overlap, come in order and carry the same
// Term in pairs; none is lost. They come on a goroutine of the listener's own, so a term may be over by the time
// that a slow listener hears of it: use the term's context, not the callback, to tell whether it lasts. A listener
// that is slow, panics (which is logged with its stack) or never returns holds up nobody but itself. A callback may
// call every method of the candidate; Shutdown and Resign do not wait for the callback they are called from.
//
// Work that a callback starts is the caller's to stop: before a resigning or closing candidate hands on, it gives
// the NotLeader callbacks a tenth of a second to return, and no more. Use Run for work that must have stopped first.
type Listener interface {
	// IsLeader: t has begun.
	IsLeader(t *Term)
	// NotLeader: t is over; t.Err says why.
	NotLeader(t *Term)
}

// ListenerFuncs makes a Listener of two functions; a nil one is skipped.
type ListenerFuncs struct{ OnIsLeader, OnNotLeader func(*Term) }

// IsLeader calls OnIsLeader.
func (l ListenerFuncs) IsLeader(t *Term) {
	if l.OnIsLeader != nil {
		l.OnIsLeader(t)
	}
}

// NotLeader calls OnNotLeader.
func (l ListenerFuncs) NotLeader(t *Term) {
	if l.OnNotLeader != nil {
		l.OnNotLeader(t)
	}
}

// tellGrace bounds how long a hand-over waits for NotLeader callbacks to return.
const tellGrace = 100 * time.Millisecond

// hub hands each term's beginning and end to every listener, in order and without loss.
type hub struct {
	log *slog.Logger

	mu        sync.Mutex // guards all below; no callback runs under it
	listeners map[*mailbox]struct{}
	leading   *Term // begun and not ended, as far as listeners have been told
}

// mailbox is one listener with what it has still to be told. Its goroutine lives only while there is something.
type mailbox struct {
	listener Listener
	queue    []notice
	busy     bool // the goroutine runs
}

type notice struct {
	term *Term
	lost bool
	done func() // called when the callback has returned; nil if nobody waits
}

func newHub(log *slog.Logger) *hub {
	return &hub{log: log, listeners: map[*mailbox]struct{}{}}
}

// add has l told from now on; of a term that lasts, at once.
func (h *hub) add(l Listener) (remove func()) {
	m := &mailbox{listener: l}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[m] = struct{}{}
	if h.leading != nil {
		h.put(m, notice{term: h.leading})
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, m)
		for _, n := range m.queue {
			n.finish()
		}
		m.queue = nil
	}
}

func (h *hub) gained(t *Term) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leading = t
	for m := range h.listeners {
		h.put(m, notice{term: t})
	}
}

// lost tells everybody of t's end and calls told when all who were free have returned from it, or after tellGrace.
// A listener that is still in an earlier callback is not waited for: the call that we are in may be that one.
func (h *hub) lost(t *Term, told func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leading = nil
	free := 0
	for m := range h.listeners {
		if !m.busy {
			free++
		}
	}
	all := newCountdown(free, told)
	for m := range h.listeners {
		n := notice{term: t, lost: true}
		if !m.busy {
			n.done = all.one
		}
		h.put(m, n)
	}
}

// countdown calls f once: when one has been called n times, or after tellGrace.
type countdown struct {
	left atomic.Int32
	once sync.Once
	f    func()
}

func newCountdown(n int, f func()) *countdown {
	c := &countdown{f: f}
	c.left.Store(int32(n))
	if n == 0 {
		c.once.Do(f)
		return c
	}
	time.AfterFunc(tellGrace, func() { c.once.Do(f) })
	return c
}

func (c *countdown) one() {
	if c.left.Add(-1) == 0 {
		c.once.Do(c.f)
	}
}

// put is called with the lock held.
func (h *hub) put(m *mailbox, n notice) {
	m.queue = append(m.queue, n)
	if !m.busy {
		m.busy = true
		go h.deliver(m)
	}
}

func (h *hub) deliver(m *mailbox) {
	for {
		h.mu.Lock()
		if len(m.queue) == 0 {
			m.busy = false
			h.mu.Unlock()
			return
		}
		n := m.queue[0]
		m.queue = m.queue[1:]
		h.mu.Unlock()
		h.call(m.listener, n)
	}
}

func (h *hub) call(l Listener, n notice) {
	defer n.finish()
	defer logPanic(h.log, "a leadership listener panicked")
	if n.lost {
		l.NotLeader(n.term)
	} else {
		l.IsLeader(n.term)
	}
}

func (n notice) finish() {
	if n.done != nil {
		n.done()
	}
}

// logPanic is deferred around the user's code where a panic must not end the election.
func logPanic(log *slog.Logger, what string) {
	if r := recover(); r != nil {
		log.Error(what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// Metrics is told what happens to a candidate, for counters and gauges. The calls come one at a time, in order, on the
// goroutine that runs the election: they must return at once. A panic is logged.
type Metrics interface {
	// TermBegan: the candidate leads.
	TermBegan(t *Term)
	// TermEnded: it does not lead any more; lasted is how long it did, t.Err why it ceased.
	TermEnded(t *Term, lasted time.Duration)
	// StateChanged: what Status.State shows.
	StateChanged(from, to State)
	// Failed: a request to ZooKeeper failed and will be made again.
	Failed(err error)
}
