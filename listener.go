package election

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Listener is told when its candidate begins and ceases to lead: the callbacks of Curator's LeaderLatchListener.
//
// For each listener the calls strictly alternate, IsLeader first, never overlap, come in order and carry the same
// Term in pairs; none is lost. They come on a goroutine of the listener's own, so a term may be over by the time
// that a slow listener hears of it: use the term's context, not the callback, to tell whether it lasts. A listener
// that is slow, panics (which is logged with its stack) or never returns holds up nobody but itself. A callback may
// call every method of the candidate; Shutdown, Resign and Close wait for the callback they are called from a tenth of
// a second at most.
//
// Work that a callback starts is the caller's to stop: before a resigning or closing candidate hands on, it gives
// the callbacks that tell of the end a tenth of a second to return, and no more; a listener that took longer once is
// not waited for again until it has caught up. Use Run for work that must have stopped first.
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

// mailbox is one listener with what it has still to be told.
type mailbox struct {
	listener Listener
	notices  sequence
	open     int  // notices that it has not returned from
	late     bool // it has outstayed a hand-over, and has not caught up since
	removed  bool // it is told nothing more
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
		m.removed = true
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

// lost tells everybody of t's end and calls told when all have returned from it, or after tellGrace. One that is still in
// an earlier callback is waited for like the others: often that one is the work, and returns since the term is over. But
// it may be the one that we are called from, or never return; so who was late is not waited for again.
func (h *hub) lost(t *Term, told func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leading = nil
	f := &farewell{told: told, open: map[*mailbox]struct{}{}}
	for m := range h.listeners {
		n := notice{term: t, lost: true}
		if !m.late {
			f.open[m] = struct{}{}
			n.done = func() { h.returned(f, m) }
		}
		h.put(m, n)
	}
	if len(f.open) == 0 {
		told()
		return
	}
	f.grace = time.AfterFunc(tellGrace, func() { h.giveUp(f) })
}

// farewell is a term's end being told. It is guarded by the hub's lock.
type farewell struct {
	told  func() // called once; nil from then on
	open  map[*mailbox]struct{}
	grace *time.Timer
}

func (h *hub) returned(f *farewell, m *mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(f.open, m)
	if len(f.open) == 0 && f.told != nil {
		f.grace.Stop()
		f.end()
	}
}

func (h *hub) giveUp(f *farewell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.told == nil {
		return
	}
	for m := range f.open {
		m.late = true
	}
	f.end()
}

func (f *farewell) end() {
	f.told()
	f.told = nil
}

// put is called with the lock held.
func (h *hub) put(m *mailbox, n notice) {
	m.open++
	m.notices.run(func() { h.tell(m, n) })
}

func (h *hub) tell(m *mailbox, n notice) {
	defer h.told(m, n)
	defer logPanic(h.log, "a leadership listener panicked")
	h.mu.Lock()
	removed := m.removed
	h.mu.Unlock()
	switch {
	case removed:
	case n.lost:
		m.listener.NotLeader(n.term)
	default:
		m.listener.IsLeader(n.term)
	}
}

func (h *hub) told(m *mailbox, n notice) {
	if n.done != nil {
		n.done()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.open--; m.open == 0 {
		m.late = false
	}
}

// sequence runs functions in the order given, on a goroutine that lives only while there are any. One that ends its
// goroutine, as a test's FailNow does, ends only itself. The zero value is ready.
type sequence struct {
	mu    sync.Mutex // guards the following; no function runs under it
	queue []func()
	busy  bool // the goroutine runs
}

func (s *sequence) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.busy {
		s.busy = true
		go s.drain()
	}
}

func (s *sequence) drain() {
	done := false
	defer func() {
		if !done {
			go s.drain()
		}
	}()
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.busy, done = false, true
			s.mu.Unlock()
			return
		}
		f := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		f()
	}
}

// wait returns when what was given before has run, or ctx has ended.
func (s *sequence) wait(ctx context.Context) {
	s.mu.Lock()
	idle := !s.busy
	s.mu.Unlock()
	if idle {
		return
	}
	done := make(chan struct{})
	s.run(func() { close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// logPanic is deferred around the user's code where a panic must not end the election.
func logPanic(log *slog.Logger, what string) {
	if r := recover(); r != nil {
		log.Error(what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}

// Metrics is told what happens to a candidate, for counters and gauges. The calls come one at a time, in order, on a
// goroutine of their own: one that is slow delays those behind it, and nothing else. A panic is logged.
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
