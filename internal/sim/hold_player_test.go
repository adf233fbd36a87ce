package sim

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// choose draws how the player works, and returns the options for it. A player that wakes
// up cut off would first have to end its work.
func (p *player) choose(r *rand.Rand) []election.Option {
	if *focus == wakeCutOff {
		return nil
	}
	switch r.IntN(5) {
	case 0:
		p.as = p.serve
	case 1:
		p.as = p.requeue
		shortest := time.Duration(1+r.IntN(500)) * time.Millisecond
		return []election.Option{election.WithRequeue(shortest, 2*shortest)}
	}
	return nil
}

// serve leads whenever it can, and works under Hold, as HTTP handlers do.
func (p *player) serve(ctx context.Context, r *rand.Rand) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		term, err := p.cand.Await(ctx)
		if err != nil {
			return
		}
		for range 1 + r.IntN(3) {
			own := rand.New(rand.NewPCG(r.Uint64(), 7))
			handlers.Go(func() { p.handle(term, own) })
		}
		select {
		case <-term.Done():
		case <-ctx.Done():
			return
		}
	}
}

// handle writes under Hold, one request after the other, until the term is over. A
// request that has begun goes on after that, for up to 3 s.
func (p *player) handle(term *election.Term, r *rand.Rand) {
	for {
		release, err := term.Hold()
		if err != nil {
			if !errors.Is(err, election.ErrTermOver) || term.Err() == nil || !errors.Is(err, term.Err()) {
				p.w.broken("%s: Hold: %v, and the term: %v", p.name, err, term.Err())
			}
			return
		}
		h := p.hold(term)
		p.w.judgeOverlap(p, h)
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		p.endHold(h)
		release()
		if r.IntN(3) == 0 {
			release()
		}
		time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
	}
}

// held is work under Hold.
type held struct {
	term  *election.Term
	znode string
	owner int64 // the znode's session; 0 if that is not known
}

// hold notes that a term is held. While it is, the candidate has the term's znode, or
// knows that it has lost it.
func (p *player) hold(term *election.Term) *held {
	h := &held{term: term, znode: p.cand.Status().Znode}
	if n, ok := p.w.e.Get(h.znode); ok && n.Stat.Czxid == term.Token() {
		h.owner = n.Stat.EphemeralOwner
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.holds == nil {
		p.holds = map[*held]struct{}{}
	}
	p.holds[h] = struct{}{}
	return h
}

func (p *player) endHold(h *held) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	delete(p.holds, h)
}

// holdsZnode reports whether the player holds a term on this znode. The world's lock must
// be held.
func (p *player) holdsZnode(znode string) bool {
	for h := range p.holds {
		if h.znode == znode {
			return true
		}
	}
	return false
}

// fastHolds returns what is held by candidates with fast failover.
func (w *world) fastHolds() map[*held]struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[*held]struct{}{}
	for _, p := range w.everyone {
		if p.fast {
			maps.Copy(all, p.holds)
		}
	}
	return all
}

// judgeOverlap checks the other half of G3 when p writes: no write under an earlier term
// still runs. It may if something other than its candidate has removed its znode: the end
// of the session, an operator, the loss of the ensemble's data, or the next in line, if its
// candidate has fast failover (onReply sees it if the candidate itself has). If that has
// removed the znode of p's own term, p's token says nothing about the others'.
func (w *world) judgeOverlap(p *player, own *held) {
	sessions := w.e.Sessions() // not under w's lock, which onReply takes under the ensemble's lock
	job, _ := w.e.Get(path)
	evicted := map[*held]bool{}
	for h := range w.fastHolds() {
		n, ok := w.e.Get(h.znode)
		evicted[h] = !ok || n.Stat.Czxid != h.term.Token()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	removed := func(h *held) bool {
		lives := slices.ContainsFunc(sessions, func(s zksim.Session) bool { return s.ID == h.owner && !s.Closing })
		return !lives || evicted[h] || w.deleted(h.term) || h.term.Token() < job.Stat.Czxid || w.ended[h.owner] || w.lost[h.owner]
	}
	if time.Since(w.swept) < time.Second || removed(own) {
		return
	}
	for _, q := range w.everyone {
		for h := range q.holds {
			if q != p && h.term.Token() < own.term.Token() && !removed(h) {
				w.fail("G3", "%s writes with token %#x, and %s, whose session lives, still writes with token %#x",
					p.name, own.term.Token(), q.name, h.term.Token())
			}
		}
	}
}

var errWork = errors.New("the work failed")

// requeue leads whenever it can, by Run with WithRequeue. Its function fails at times
// while there are faults, so that no pause delays the leader of a calm time.
func (p *player) requeue(ctx context.Context, r *rand.Rand) {
	lead := p.lead(r)
	for {
		err := p.cand.Run(ctx, func(ctx context.Context, term *election.Term) error {
			err := lead(ctx, term)
			if p.w.isStruck() && r.IntN(2) == 0 {
				return errWork
			}
			return err
		})
		switch {
		case errors.Is(err, election.ErrClosed), ctx.Err() != nil:
			return
		case err == nil, errors.Is(err, errWork): // else a server refuses what Start needs
			p.w.broken("%s: Run with WithRequeue returned %v", p.name, err)
			return
		}
	}
}

// isStruck reports whether faults have been going on since the last calm time.
func (w *world) isStruck() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.struck
}

func (w *world) setStruck(struck bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.struck = struck
}
