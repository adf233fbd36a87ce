package zksim

import (
	"container/heap"
	"time"
)

// event is something that happens at a time of the ensemble's clock; at the same time, in the order
// of asking. That order, and not the scheduler's, is what makes a run repeatable.
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

// now is the time since the ensemble was made: virtual inside a synctest bubble.
func (e *Ensemble) now() time.Duration { return time.Since(e.born) }

// ownTime is what a server with a clock of its own takes for d.
func (e *Ensemble) ownTime(d time.Duration) time.Duration {
	return d - time.Duration(e.cfg.Drift*float64(d))
}

func (e *Ensemble) wallMs() int64 { return time.Now().UnixMilli() }

// at schedules do; it runs under e.mu.
func (e *Ensemble) at(t time.Duration, do func()) {
	e.seq++
	heap.Push(&e.events, event{at: t, seq: e.seq, do: do})
}

// do runs f and whatever became due by it, under the lock. Every entrance to the ensemble's state
// is this one: the public methods, the transports' goroutines, the timer.
func (e *Ensemble) do(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	f()
	e.settle()
}

// settle runs what is due and sets the one timer to what comes next. Due work runs in the calling
// goroutine: an ensemble without delays answers without waking anybody.
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
