package zksim

import (
	"container/heap"
	"time"
)

// event is something that happens at a time of the ensemble's clock. Events of the same
// time happen in the order of scheduling them. This order makes a run repeatable, and
// Go's scheduler has no part in it.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return last
}

// now is the time since the ensemble was made. It is virtual inside a synctest bubble.
func (e *Ensemble) now() time.Duration { return time.Since(e.born) }

// ownTime returns how long d takes by a server's own clock.
func (e *Ensemble) ownTime(d time.Duration) time.Duration {
	return d - time.Duration(e.cfg.Drift*float64(d))
}

func (e *Ensemble) wallMs() int64 { return time.Now().UnixMilli() }

// at schedules do, which runs under e.mu.
func (e *Ensemble) at(t time.Duration, do func()) {
	e.seq++
	heap.Push(&e.events, event{at: t, seq: e.seq, do: do})
}

// do runs f, and whatever became due by it, under the lock. The public methods, the
// goroutines of the transports and the timer all use it: there is no other way to the
// ensemble's state.
func (e *Ensemble) do(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	f()
	e.settle()
}

// settle runs what is due, and sets the one timer to the next event. Due work runs in the
// calling goroutine, so an ensemble without delays answers without waking another one.
func (e *Ensemble) settle() {
	for len(e.events) > 0 {
		wait := e.events[0].at - e.now()
		if wait > 0 {
			e.timer.Reset(wait)
			return
		}
		heap.Pop(&e.events).(event).do()
	}
}
