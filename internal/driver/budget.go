package driver

import (
	"container/list"
	"sync"
	"time"
)

// Budget spreads out what the candidates of one session ask for in case a watch was lost:
// no more than one request in lookPause on average, however many candidates there are.
// Candidates wait for their turn in two lines, each of them first come, first served.
// Those that lead or are next go first: it is they who would keep an election waiting.
//
// What a candidate asks for when it has reason to is not limited, such as after a
// reconnect. The zero value is ready. A Budget is safe for concurrent use, and has a
// timer only while somebody waits.
type Budget struct {
	mu        sync.Mutex // guards the following and the turns; nothing else is locked under it
	near, far list.List  // of *turn
	turns     int        // so far
	free      time.Time  // when the next turn may be taken
	timer     *time.Timer
}

// lookPause is the budget of one request.
const lookPause = time.Second / 2

// farShare is how many turns go by until one goes to a candidate further back, if there
// is one and others are waiting, too.
const farShare = 4

// turn is a candidate's place in a line of the Budget.
type turn struct {
	come     func() // is called when the turn has come after a wait; must not block
	requests int    // that it takes
	line     *list.List
	place    *list.Element // nil while it does not wait
}

// ask returns true if t may be taken at once. Otherwise t waits, if it does not already,
// until its come is called.
func (b *Budget) ask(t *turn, requests int, near bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := &b.far
	if near {
		line = &b.near
	}

	t.requests = requests
	if t.place != nil && t.line == line {
		return false
	}
	b.remove(t)
	if b.timer == nil && !time.Now().Before(b.free) {
		b.spend(t)
		return true
	}
	t.line, t.place = line, line.PushBack(t)
	b.arm()
	return false
}

// leave withdraws a turn that may be waiting.
func (b *Budget) leave(t *turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(t)
	if b.timer != nil && b.near.Len()+b.far.Len() == 0 {
		b.timer.Stop()
		b.timer = nil
	}
}

// remove, spend, arm and next are called with the lock held.
func (b *Budget) remove(t *turn) {
	if t.place != nil {
		t.line.Remove(t.place)
		t.line, t.place = nil, nil
	}
}

func (b *Budget) spend(t *turn) {
	b.turns++
	b.free = time.Now().Add(time.Duration(t.requests) * lookPause)
}

// arm sets the timer for the next turn if somebody waits for one.
func (b *Budget) arm() {
	if b.timer == nil && b.near.Len()+b.far.Len() > 0 {
		b.timer = time.AfterFunc(time.Until(b.free), b.serve)
	}
}

// serve gives the next turn.
func (b *Budget) serve() {
	if t := b.next(); t != nil {
		t.come()
	}
}

func (b *Budget) next() *turn {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = nil
	if time.Now().Before(b.free) { // a timer that could not be stopped any more
		b.arm()
		return nil
	}

	line := &b.near
	if line.Len() == 0 || b.turns%farShare == farShare-1 && b.far.Len() > 0 {
		line = &b.far
	}
	if line.Len() == 0 { // the last one has just left
		return nil
	}

	t := line.Front().Value.(*turn)
	b.remove(t)
	b.spend(t)
	b.arm()
	return t
}
