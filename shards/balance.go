package shards

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zkelection/election"
)

// balancer hands over the elections that this process leads beyond its share. All its fields
// but the view belong to the goroutine that calls run.
type balancer struct {
	*view
	client *election.Client
	log    *slog.Logger
	settle time.Duration
	id     string // of this process's candidates

	line   []member            // who was in line at the first path when that line was last read
	readAt time.Time           // when that was
	reads  int                 // how often the line has been read
	stale  bool                // the line must be read again as soon as possible
	barred map[member]*bar     // who gets no elections
	twice  map[string]struct{} // the IDs that several sessions have
	calm   calm
}

func newBalancer(client *election.Client, cfg *config) *balancer {
	return &balancer{view: &view{changed: make(chan struct{}, 1)}, client: client, log: cfg.log, settle: cfg.settle,
		barred: map[member]*bar{}, calm: calm{settle: cfg.settle}}
}

// add is called before run, in the order of the paths.
func (b *balancer) add(path string, c *election.Candidate) {
	b.id = c.Status().ID
	b.shards = append(b.shards, &shard{path: path, cand: c, refused: map[member]*bar{}})
}

// order returns the order in which to enter the elections. It differs from process to
// process, so if several start at once, none is first in all lines.
func (b *balancer) order() []int {
	seed := fnv.New64a()
	seed.Write([]byte(b.id))
	return rand.New(rand.NewPCG(seed.Sum64(), 0)).Perm(len(b.shards))
}

func (b *balancer) follow(ctx context.Context, s *shard) { b.view.follow(ctx, b.client, s) }

// run balances until ctx ends.
func (b *balancer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.changed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(b.step(ctx))
	}
}

// step hands over at most one election. It returns how long to wait for a change before the
// next step.
func (b *balancer) step(ctx context.Context) time.Duration {
	b.readLine(ctx)
	me := member{b.id, b.client.Status().SessionID}
	p := b.look(me)
	led := b.eligible(p, me)
	mine := b.movable(p.mine, led)
	led[me] -= len(p.mine) - len(mine)
	b.judge(p, led, me)
	rest := max(time.Until(b.due()), 0)
	if !p.whole {
		return rest
	}

	to, ok := next(led, me)
	if !ok {
		return rest
	}
	if wait := b.calm.wait(time.Now()); wait > 0 {
		return min(wait, rest)
	}
	s := b.choose(mine, to)
	if s == nil {
		return rest
	}
	b.handOver(ctx, s, to, me)
	return 0
}

// Reading the line takes one request for the list and one for each participant.
const (
	settlesPerRead    = 3 // so that a new process is noticed within a few seconds
	requestsPerSecond = 2 // at most, as for the checks of a client's candidates
	quickReads        = 5 // the first reads follow quickly, because other processes start, too
)

// due returns when to read the line again.
func (b *balancer) due() time.Time {
	if b.stale || b.reads < quickReads {
		return b.readAt.Add(b.settle)
	}
	requests := time.Duration(1 + len(b.line))
	return b.readAt.Add(max(settlesPerRead*b.settle, requests*time.Second/requestsPerSecond))
}

// readLine reads who takes part, if that is due.
func (b *balancer) readLine(ctx context.Context) {
	now := time.Now()
	if now.Before(b.due()) {
		return
	}
	b.readAt, b.stale, b.reads = now, false, b.reads+1
	own, cancel := context.WithDeadline(ctx, b.due())
	defer cancel()
	all, err := b.client.Participants(own, b.shards[0].path)
	if err != nil { // go on with the participants known so far, which does no harm
		b.log.Debug("who takes part cannot be read", "election", b.shards[0].path, "error", err)
		return
	}

	line := make([]member, 0, len(all))
	for _, p := range all {
		line = append(line, member{p.ID, p.SessionID})
	}
	slices.SortFunc(line, compareMembers)
	line = slices.Compact(line)
	if b.line == nil || !slices.Equal(line, b.line) {
		b.log.Info("the participants have changed", "before", len(b.line), "now", len(line))
		b.line = line
		b.calm.disturb(now)
	}
	b.forget(now)
}

// eligible returns the members that count for the shares, and how many elections each leads.
func (b *balancer) eligible(p picture, me member) map[member]int {
	led := make(map[member]int, len(b.line))
	for _, m := range b.line {
		led[m] = p.led[m]
	}
	for m, n := range p.led {
		led[m] = n
	}

	sessions := map[string]int{}
	for m := range led {
		sessions[m.id]++
	}
	b.noteTwice(sessions)
	now := time.Now()
	for m := range led {
		if m != me && (sessions[m.id] > 1 || b.barred[m].holds(now)) {
			delete(led, m)
		}
	}
	return led
}

// movable leaves out the elections that could lately not be handed over to a participant.
// They do not count for the shares. Otherwise, if this process has more paths than another,
// it would hand over other elections in their place. The other process does not see these
// paths, so it would hand those elections back.
func (b *balancer) movable(mine []*shard, led map[member]int) []*shard {
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(mine), func(s *shard) bool {
		for m, refusal := range s.refused {
			if _, here := led[m]; here && refusal.holds(now) {
				return true
			}
		}
		return false
	})
}

// noteTwice logs each ID that several sessions begin to have.
func (b *balancer) noteTwice(sessions map[string]int) {
	now := map[string]struct{}{}
	for id, n := range sessions {
		if n == 1 {
			continue
		}
		now[id] = struct{}{}
		if _, known := b.twice[id]; !known {
			b.log.Warn("several sessions take part with one ID, and are given nothing: if this does not end with a session timeout, "+
				"give each process its own ID", "id", id, "sessions", n)
		}
	}
	b.twice = now
}

// judge bars members that have lost elections since the last picture in a way that shows a
// problem.
func (b *balancer) judge(p picture, led map[member]int, me member) {
	if len(p.losses) == 0 {
		return
	}
	now, fair := time.Now(), shares(led)
	for _, l := range p.losses {
		l.of.former, l.of.left = l.by, now
		left := p.led[l.by]
		if left > 0 && left >= fair[l.by] { // it has probably handed over its surplus
			continue
		}
		b.disturb(now)
		switch {
		case l.by == me: // this process does not bar itself
		case left == 0:
			b.bar(l.by, now, "it has lost all that it led", l.of.path)
		case l.of.given == l.by && now.Sub(l.of.givenAt) < b.client.Status().Timeout:
			b.bar(l.by, now, "it has lost what it was given", l.of.path)
		}
	}
}

// choose returns the election to hand over to a member, if any can be.
func (b *balancer) choose(mine []*shard, to member) *shard {
	began := map[*shard]time.Time{}
	mine = slices.DeleteFunc(mine, func(s *shard) bool {
		term := s.cand.Term()
		if term != nil {
			began[s] = term.Began()
		}
		return term == nil
	})
	if len(mine) == 0 {
		return nil
	}
	return slices.MinFunc(mine, func(x, y *shard) int {
		return cmp.Or(
			// Rather none that the receiver led last: its work may have failed there.
			compareBool(x.former == to, y.former == to),
			compareLeft(x, y, to),
			// Try one that could not be handed over before again, before others move in its place.
			-compareBool(x.refused[to] != nil, y.refused[to] != nil),
			// The work that has begun last has the least to lose.
			-began[x].Compare(began[y]))
	})
}

// compareLeft orders two elections that to has led last. The one that it left longer ago
// comes first, because it may have handed that one over as its surplus.
func compareLeft(x, y *shard, to member) int {
	if x.former != to || y.former != to {
		return 0
	}
	return x.left.Compare(y.left)
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// handOver hands an election over, and returns when this process has seen the new leader.
func (b *balancer) handOver(ctx context.Context, s *shard, to, me member) {
	began, term := time.Now(), s.cand.Term()
	s.given, s.givenAt = to, began
	err := s.cand.HandOver(ctx, to.id)
	now := time.Now()
	switch {
	case ctx.Err() != nil:
	case err == nil:
		b.log.Info("handed an election over", "election", s.path, "to", to.id, "took", now.Sub(began))
		s.givenAt = now
		b.awaitNews(ctx, s, me)
		// If the receiver has lost the election at once, perhaps no one has seen it lead.
		if l := b.leader(s); l != to && l != me {
			b.bar(to, now, "it has left what it was given", s.path)
		}
	case term != nil && errors.Is(term.Err(), election.ErrResigned): // the member was there when that began
		b.bar(to, now, "it has left what it was to be given", s.path)
		b.disturb(now)
	default:
		// Perhaps the member does not take part at this path: try another one next. Or the
		// member has gone, and the line is out of date.
		b.log.Debug("an election could not be handed over", "election", s.path, "to", to.id, "error", err)
		s.refused[to] = s.refused[to].longer(now, b.client.Status().Timeout)
		b.stale = true
	}
}

// awaitNews returns when the view says that another member than me leads. It waits for at
// most the settle time. The view may then be out of date, which does no harm.
func (b *balancer) awaitNews(ctx context.Context, s *shard, me member) {
	defer b.wake() // because awaitNews takes values from changed
	late := time.NewTimer(b.settle)
	defer late.Stop()
	for b.leader(s) == me {
		select {
		case <-b.changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// disturb notes that the picture was wrong.
func (b *balancer) disturb(now time.Time) {
	b.calm.disturb(now)
	b.stale = true
}
