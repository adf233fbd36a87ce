package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// IsLeader checks the beginning of every term.
func (p *player) IsLeader(t *election.Term) {
	w := p.w
	job, _ := w.e.Get(path) // not under w's lock, which onReply takes under the ensemble's lock
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Terms++
	w.noteLocked("%s leads, token %#x", p.name, t.Token())
	if p.notified {
		w.fail("G7", "%s was notified of a term before the end of the last", p.name)
	}
	p.term, p.notified = t, true
	if id := p.cand.Status().SessionID; id != 0 {
		p.session = id
	}
	go w.judgeDeadline(p.name, t)
	w.made = max(w.made, job.Stat.Czxid)

	// A znode that is made while the whole path is being deleted may be deleted with it.
	// If a znode is deleted by hand while its proof is pending, nothing is promised.
	if w.strict {
		w.judgeLeaders()
	}
	if w.deleted(t) || w.excused(p) || time.Since(w.swept) < time.Second {
		return
	}
	w.judgeLeaders()
	w.judgeToken(p, t)
}

// judgeToken checks G4: it compares the token with the last leader's. Within one instant
// callbacks come in any order.
func (w *world) judgeToken(p *player, t *election.Term) {
	now := time.Now()
	// While pings are stalled, a candidate that has not noticed the end of its session
	// may lead once more with its old token.
	ordered := now.After(w.stalled) && now.After(w.lastAt)
	if w.last != nil && ordered && (t.Token() < w.last.Token() || t.Token() == w.last.Token() && w.leader != p) {
		w.fail("G4", "%s leads with token %#x after %#x", p.name, t.Token(), w.last.Token())
	}
	if w.last == nil || t.Token() >= w.last.Token() {
		w.last, w.leader, w.lastAt = t, p, now
	}
}

// judgeLeaders checks G1. With strict hand-over nothing excuses two leaders. It looks at every player twice, because goroutines run
// meanwhile. A term that is over stays over, so two that are live at the second look were
// live together at the first.
func (w *world) judgeLeaders() {
	var all []*election.Term
	for _, p := range w.everyone {
		if p.cand == nil {
			continue
		}
		w.judgeClock(p)
		t := p.cand.Term()
		if t == nil && p.notified && p.term.Context().Err() == nil {
			t = p.term // its context may outlive HasLeadership
		}
		if t != nil && (w.strict || !w.deleted(t) && !w.excused(p)) {
			all = append(all, t)
		}
	}
	all = slices.DeleteFunc(all, func(t *election.Term) bool { return t.Err() != nil })
	if len(all) > 1 && (w.strict || !w.stalledPair(all[0], all[1])) {
		w.fail("G1", "%d consider themselves leader: %v until %v and %v until %v", len(all),
			all[0], all[0].Deadline().Sub(w.began), all[1], all[1].Deadline().Sub(w.began))
	}
}

// unheard reports whether a server has granted the session less than its client knows.
// The library does not promise anything if servers grant less than before and the answer
// that says so is lost.
func (w *world) unheard(session int64, heard time.Duration) bool {
	return w.granted[session] != 0 && w.granted[session] < heard
}

// stalledPair reports whether the two terms may be live at once, for up to T/3, because
// the pings of the ensemble's leader are held up.
func (w *world) stalledPair(a, b *election.Term) bool {
	now := time.Now()
	if pair := [2]*election.Term{a, b}; w.overlap != pair {
		w.overlap, w.overlapped = pair, now
	}
	return !now.After(w.stalled) && now.Sub(w.overlapped) <= w.timeout/3
}

// judgeClock checks the half of G2 that must hold without a call: Done is closed when the
// lease is over. It must run before any call that looks at the lease, because such a call
// ends the term.
func (w *world) judgeClock(p *player) {
	if p.notified && overdue(p.term) {
		w.fail("G2", "%s's lease was over at %v, and the term lasts", p.name, p.term.Deadline().Sub(w.began))
	}
}

// judgeDeadline checks G2 right after each moment at which the lease of a term may end.
// The steps of the schedule are rarely so close to such a moment.
func (w *world) judgeDeadline(name string, t *election.Term) {
	for {
		select {
		case <-time.After(time.Until(t.Deadline()) + time.Nanosecond):
		case <-t.Done():
			return
		}
		if overdue(t) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fail("G2", "%s's lease was over at %v, and the term lasts", name, t.Deadline().Sub(w.began))
			return
		}
	}
}

func overdue(t *election.Term) bool {
	select {
	case <-t.Done():
		return false
	default:
		return time.Now().After(t.Deadline())
	}
}

// deleted reports whether an operator has deleted the term's znode, alone or with the
// whole path.
func (w *world) deleted(t *election.Term) bool {
	return w.byHand[t.Token()] > 0 || t.Token() < w.made
}

// excused reports whether the library promises nothing for the player's session: an
// operator has ended it, or the ensemble has lost data since it was made, or a server has
// granted it less than its client knows.
func (w *world) excused(p *player) bool {
	st := p.cand.Status()
	for _, id := range []int64{st.SessionID, p.session} { // the status of a session that has just ended has no id
		if w.ended[id] || w.lost[id] || w.unheard(id, st.Timeout) {
			return true
		}
	}
	return false
}

// NotLeader checks that the end of a term follows its beginning.
func (p *player) NotLeader(t *election.Term) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("%s leads no more: %v", p.name, t.Err())
	if errors.Is(t.Err(), election.ErrResigned) {
		w.resigned = time.Now()
	}
	if !p.notified || p.term != t {
		w.fail("G7", "%s was notified of the end of a term, and not of its beginning", p.name)
	}
	if t.Err() == nil {
		w.fail("G7", "%s was notified of the end of a term that is not over", p.name)
	}
	p.notified = false
}

// onReply runs at every answer of the ensemble. It checks G1, and G3: a candidate may not
// delete its znode before its work has stopped.
func (w *world) onReply(r zksim.Reply) (lose bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.strict || time.Since(w.swept) >= time.Second {
		w.judgeLeaders()
	}
	if r.Op == jute.OpCreate || r.Op == jute.OpDelete {
		w.noteLocked("    %s of %s by %s at zk%d, session %#x: %d", r.Op, r.Path, r.Client, r.Server, r.Session, r.Code)
	}
	if r.Op != jute.OpDelete || r.Code != jute.CodeOK {
		return false
	}
	for _, p := range w.everyone {
		if p.name == r.Client && p.work == r.Path {
			w.fail("G3", "%s deleted %s while its work ran", p.name, r.Path)
		}
		if p.name == r.Client && p.holdsZnode(r.Path) {
			w.fail("G3", "%s deleted %s while its term was held", p.name, r.Path)
		}
	}
	return false
}
