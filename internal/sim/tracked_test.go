package sim

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zkelection/election"
)

// tracked checks what a client's trace reports of its one candidate, and of the session:
// calls come one at a time, terms begin and end in turn, and states follow each other.
// The listener of the same candidate tells it what the terms were.
type tracked struct {
	wrong func(format string, args ...any)

	calls, session atomic.Bool // a call runs; the session's calls have a goroutine of their own

	// No lock: calls do not overlap, and checks wait for them.
	state   election.State
	leading bool
	terms   []election.TermEndedInfo // all that have begun; without Ended while one lasts

	// Likewise, for calls of the listener.
	begun, ended []*election.Term
	deadlines    []time.Time // of the terms when the listener heard of the end
}

func newTracked(wrong func(format string, args ...any)) *tracked {
	return &tracked{wrong: wrong, state: election.StateIdle}
}

func (k *tracked) IsLeader(t *election.Term) { k.begun = append(k.begun, t) }

func (k *tracked) NotLeader(t *election.Term) {
	k.ended, k.deadlines = append(k.ended, t), append(k.deadlines, t.Deadline())
}

func (k *tracked) trace() *election.Trace {
	return &election.Trace{
		TermBegan: func(info election.TermBeganInfo) { k.one(&k.calls, func() { k.termBegan(info) }) },
		TermEnded: func(info election.TermEndedInfo) { k.one(&k.calls, func() { k.termEnded(info) }) },
		StateChanged: func(info election.StateChangedInfo) {
			k.one(&k.calls, func() {
				k.check(info.From == k.state && info.To != k.state, "from %s to %s, and it was %s", info.From, info.To, k.state)
				k.state = info.To
			})
		},
		RequestFailed: func(info election.RequestFailedInfo) {
			k.one(&k.calls, func() {
				k.check(info.Err != nil && info.RetryAfter > 0 && info.Failures > 0, "a request that failed: %+v", info)
			})
		},
		WorkOverran: func(info election.WorkOverranInfo) {
			k.one(&k.calls, func() {
				k.check(!k.leading && info.Cause != nil && info.Ended.Equal(k.terms[len(k.terms)-1].Ended), "work that overran: %+v", info)
			})
		},
		Guarded: func(election.GuardedInfo) { k.one(&k.calls, func() {}) },
		LeaseProved: func(info election.LeaseProvedInfo) {
			k.one(&k.session, func() { k.check(info.Took >= 0, "a proof took %v", info.Took) })
		},
		SessionChanged: func(info election.SessionChangedInfo) {
			k.one(&k.session, func() { k.check(!info.Connected || info.SessionID != 0, "connected without a session: %+v", info) })
		},
	}
}

func (k *tracked) check(ok bool, format string, args ...any) {
	if !ok {
		k.wrong("the trace reports "+format, args...)
	}
}

// one checks that a call does not overlap with another one.
func (k *tracked) one(busy *atomic.Bool, call func()) {
	k.check(busy.CompareAndSwap(false, true), "two things at once")
	call()
	busy.Store(false)
}

func (k *tracked) termBegan(info election.TermBeganInfo) {
	k.check(!k.leading, "the beginning of a term before the end of the last: %+v", info)
	k.leading = true
	k.terms = append(k.terms, election.TermEndedInfo{Token: info.Token, Began: info.Began})
}

func (k *tracked) termEnded(info election.TermEndedInfo) {
	if !k.leading {
		k.check(false, "the end of a term that has not begun: %+v", info)
		return
	}
	k.leading = false
	t := &k.terms[len(k.terms)-1]
	k.check(info.Token == t.Token && info.Began.Equal(t.Began), "the end of %+v as that of %+v", info, *t)
	k.check(info.Lasted >= 0 && info.Began.Add(info.Lasted).Equal(info.Ended) || info.Ended.Before(info.Began),
		"a term that lasted %v: %+v", info.Lasted, info)
	k.check(!info.Ended.After(time.Now()), "a term's end in the future: %+v", info)
	*t = info
}

// judge compares the trace's terms with the listener's. All calls have been made, and no
// term lasts.
func (k *tracked) judge() {
	if k.leading || len(k.terms) != len(k.begun) || len(k.terms) != len(k.ended) {
		k.check(false, "%d terms, and one lasts: %v; the listener heard of %d and the end of %d", len(k.terms), k.leading, len(k.begun), len(k.ended))
		return
	}
	for i, t := range k.terms {
		other := fmt.Sprintf("the term %+v; the listener had %v, %v until %v", t, k.begun[i], k.begun[i].Err(), k.deadlines[i])
		k.check(t.Token == k.begun[i].Token() && t.Cause == k.ended[i].Err(), "another term: %s", other)
		// The lease has no end any more if the client has ended its session: then the term ended when that began.
		k.check(k.deadlines[i].IsZero() || !t.Ended.After(k.deadlines[i]), "an end after the lease's: %s", other)
		k.check(election.Cause(t.Cause) != "other" && election.Cause(t.Cause) != "", "a cause without a label: %s", other)
	}
}
