package election

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Listener is notified when its candidate begins and ceases to lead: the callbacks of
// Curator's LeaderLatchListener.
//
// For each listener, the calls strictly alternate, IsLeader first. They never overlap,
// come in order and carry the same [Term] in pairs, and none is lost. They come on a
// goroutine of the listener's own, so a term may be over by the time that a slow listener
// hears of it. Use the term's context, not the callback, to tell whether it lasts. A
// listener that is slow, panics (which is logged with its stack) or never returns holds
// up no other.
//
// A callback may call every method of the candidate. Called from a callback, Shutdown,
// Resign and Close wait at most a tenth of a second for that callback, whatever context
// they are called with.
//
// Work that a callback starts is the caller's to stop. Before a resigning or closing
// candidate hands over, it gives NotLeader callbacks a tenth of a second to return, and
// no more. A listener that once took longer is not waited for again until it has caught
// up. Use [Candidate.Run] for work that must have stopped first.
type Listener interface {
	// IsLeader says that t has begun.
	IsLeader(t *Term)
	// NotLeader says that t is over. t.Err says why.
	NotLeader(t *Term)
}

// ListenerFuncs makes a [Listener] of two functions. A nil function is skipped.
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

// listeners notifies every listener of each term's beginning and end, in order and
// without loss.
type listeners struct {
	log *slog.Logger

	mu      sync.Mutex // guards all below; no callback runs under it
	all     map[*subscriber]struct{}
	leading *Term // begun and not ended, as far as listeners have been notified
}

// subscriber is one listener, with the events that it has not heard of yet.
type subscriber struct {
	listener Listener
	events   serial
	open     int  // events that it has not returned from
	late     bool // it has outstayed a hand-over, and has not caught up since
	removed  bool // it is notified no more
}

type event struct {
	term *Term
	lost bool
	done func() // called when the callback has returned; nil if nobody waits
}

func newListeners(log *slog.Logger) *listeners {
	return &listeners{log: log, all: map[*subscriber]struct{}{}}
}

// add registers l. If a term lasts, l hears of it at once.
func (ls *listeners) add(l Listener) (remove func()) {
	s := &subscriber{listener: l}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all[s] = struct{}{}
	if ls.leading != nil {
		ls.put(s, event{term: ls.leading})
	}
	return func() {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		delete(ls.all, s)
		s.removed = true
	}
}

func (ls *listeners) gained(t *Term) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.leading = t
	for s := range ls.all {
		ls.put(s, event{term: t})
	}
}

// lost notifies all listeners of t's end. It calls done when all have returned from that,
// or after tellGrace. A listener that is still in an earlier callback is waited for like
// the others: often that callback is the work, and returns since the term is over. But it
// may be the callback that we are called from, or never return, so a listener that was
// late is not waited for again.
func (ls *listeners) lost(t *Term, done func()) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.leading = nil
	f := &handover{done: done, open: map[*subscriber]struct{}{}}
	for s := range ls.all {
		ev := event{term: t, lost: true}
		if !s.late {
			f.open[s] = struct{}{}
			ev.done = func() { ls.returned(f, s) }
		}
		ls.put(s, ev)
	}
	if len(f.open) == 0 {
		done()
		return
	}
	f.grace = time.AfterFunc(tellGrace, func() { ls.graceOver(f) })
}

// handover is the end of a term, while listeners are notified of it. It is guarded by the
// listeners' lock.
type handover struct {
	done  func() // called once; nil from then on
	open  map[*subscriber]struct{}
	grace *time.Timer
}

func (ls *listeners) returned(f *handover, s *subscriber) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(f.open, s)
	if len(f.open) == 0 && f.done != nil {
		f.grace.Stop()
		f.end()
	}
}

func (ls *listeners) graceOver(f *handover) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if f.done == nil {
		return
	}
	for s := range f.open {
		s.late = true
	}
	f.end()
}

func (f *handover) end() {
	f.done()
	f.done = nil
}

// put is called with the lock held.
func (ls *listeners) put(s *subscriber, ev event) {
	s.open++
	s.events.run(func() { ls.tell(s, ev) })
}

func (ls *listeners) tell(s *subscriber, ev event) {
	defer ls.delivered(s, ev)
	defer logPanic(ls.log, "a leadership listener panicked")
	ls.mu.Lock()
	removed := s.removed
	ls.mu.Unlock()
	switch {
	case removed:
	case ev.lost:
		s.listener.NotLeader(ev.term)
	default:
		s.listener.IsLeader(ev.term)
	}
}

func (ls *listeners) delivered(s *subscriber, ev event) {
	if ev.done != nil {
		ev.done()
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if s.open--; s.open == 0 {
		s.late = false
	}
}

// serial runs functions in the order given, on a goroutine that lives only while there
// are any. A function that ends its goroutine, as a test's FailNow does, ends only
// itself. The zero value is ready.
type serial struct {
	mu    sync.Mutex // guards the following; no function runs under it
	queue []func()
	busy  bool // the goroutine runs
}

func (s *serial) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.busy {
		s.busy = true
		go s.drain()
	}
}

func (s *serial) drain() {
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

// idle reports whether all functions given so far have run.
func (s *serial) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.busy
}

// wait returns when all functions given before have run, or ctx has ended.
func (s *serial) wait(ctx context.Context) {
	if s.idle() {
		return
	}
	done := make(chan struct{})
	s.run(func() { close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// logPanic is deferred around the user's code if a panic there must not end the election.
func logPanic(log *slog.Logger, what string) {
	if r := recover(); r != nil {
		log.Error(what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	}
}
