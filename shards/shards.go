// Package shards shares many elections fairly among the processes of a service, such as
// the shards or partitions of its data: each election has one leader, and the leaders are
// spread evenly over the processes.
//
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
//	err = shards.Run(ctx, client, []string{"/shards/0", "/shards/1", "/shards/2"},
//		func(ctx context.Context, path string, term *election.Term) error {
//			return work(ctx, path, term.Token()) // until ctx is done
//		})
//
// Call Run with the same paths in every process. If a process leads at least two elections
// more than another, it hands one over to the process with the fewest, and checks again. So
// no process keeps more than ⌈led/participants⌉ elections, and the shares differ by at most
// one. While the shares are even, no election moves.
//
// # What is promised
//
// All guarantees of package [election] hold for each path. In particular, work stops
// before its election is handed over (G3): the context of lead ends, lead returns, and
// only then does the next process lead.
//
// Balancing only chooses who leads next. If it acts on an outdated picture, or a process
// dies at that moment, the shares are uneven for a while. No path ever has two leaders.
//
// # How it works
//
// There is no coordinator, and nothing is stored. Each process reads all that it needs from
// the lines of the elections. It follows who leads each path ([election.Client.Follow]),
// which costs nothing while nothing changes. Every few seconds it also reads the line of
// the first path in alphabetical order. All processes are in that line, even those that
// lead nothing yet. A participant is one ID in one session.
//
// From this each process computes the same plan: how many elections each participant should
// lead, and who hands over how many to whom. If the elections cannot be divided evenly,
// participants that already lead one more keep it. Each process carries out its own part of
// the plan, one hand-over at a time, by [election.Candidate.HandOver]. A resignation would
// be cheaper, but the next in line may already have its share, and would have to resign in
// its turn. Each hand-over makes the shares more even, so no election moves to and fro.
//
// After processes have come or gone, balancing waits until the picture has been the same
// for the settle time ([WithSettle]).
//
// Some participants get no election for a while, and the elections that they lead do not
// count:
//   - a participant that has lost all its elections, or an election soon after it got that
//     one. Its process may be dead, or its work may fail. It gets elections again after one
//     session timeout. If it loses them again, it waits twice as long, and so on, up to 32
//     session timeouts;
//   - participants that share an ID. Usually a process was killed and started again under
//     its old ID, and the old session has not expired yet.
package shards

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// Run takes part in the elections at all paths. For each election that this process leads,
// it calls lead on a goroutine of its own. lead's context ends when the term ends, when the
// election is to be handed over, or with ctx. lead must return soon after that. Until it
// returns, no one else leads this path, and this process hands over no other election.
//
// If a term is lost, Run calls lead again for the next term of that path. If lead returns
// while its term lasts, Run does as [election.Candidate.Run] does:
//   - After nil, this process no longer takes part in that election. Run returns nil when
//     that is so for all paths.
//   - After an error, Run ends all other work, leaves all elections and returns the error,
//     which names the path.
//
// To keep the other elections going, give [election.WithRequeue] by [WithCandidate]. The
// candidate of that path then leaves its line and takes part again, after an error with a
// pause, and Run goes on.
//
// Run returns when all calls of lead have returned and this process has left the lines. It
// waits up to a second for ZooKeeper to confirm that, but not while ZooKeeper cannot be
// reached. It returns
//   - ctx's cause ([context.Cause]) when ctx ends, joined with the errors that lead has
//     returned since, except context errors;
//   - an error that wraps [election.ErrClosed] if the client is closed;
//   - an error that a retry cannot mend, such as a missing permission at the start, or
//     [election.ErrTooMany];
//   - one error that names all wrong arguments. Run has then begun nothing.
//
// If lead panics, its candidate leaves the line, and then the panic ends the program, as in
// any goroutine.
//
// All processes of a service should give the same paths. If the paths differ, such as during
// a rolling update, each path is led by one of the processes that have it. An election that
// cannot be handed over, because the receiver does not have its path, does not count for a
// while, so nothing moves to and fro.
func Run(ctx context.Context, client *election.Client, paths []string,
	lead func(ctx context.Context, path string, term *election.Term) error, opts ...Option) error {
	cfg, err := newConfig(ctx, client, paths, lead, opts)
	if err != nil {
		return fmt.Errorf("shards: Run: %w", err)
	}

	inner, stop := context.WithCancel(ctx)
	defer stop()
	g := &group{ctx: inner, stop: stop, lead: lead}
	b := newBalancer(client, cfg)
	for _, path := range slices.Sorted(slices.Values(paths)) {
		c, err := election.NewCandidate(client, path, cfg.candidate...)
		if err != nil {
			return fmt.Errorf("shards: Run: %w", err)
		}
		b.add(path, c)
	}

	g.run(b)
	if ctx.Err() != nil {
		return joined(context.Cause(ctx), g.errs)
	}
	return joined(nil, g.errs)
}

// joined leaves a single error as it is.
func joined(first error, more []error) error {
	switch {
	case len(more) == 0:
		return first
	case first == nil && len(more) == 1:
		return more[0]
	}
	return errors.Join(append([]error{first}, more...)...)
}

// group is what one Run has running.
type group struct {
	ctx  context.Context
	stop context.CancelFunc // ends ctx
	lead func(ctx context.Context, path string, term *election.Term) error

	mu   sync.Mutex // guards the following
	errs []error    // of lead, and of the Run of a candidate
}

// run returns when everything has ended.
func (g *group) run(b *balancer) {
	var all, candidates sync.WaitGroup
	defer all.Wait()
	all.Go(func() { b.run(g.ctx) })
	for _, s := range b.shards {
		all.Go(func() { b.follow(g.ctx, s) })
	}

	defer g.stop()
	defer candidates.Wait()
	for _, i := range b.order() {
		candidates.Go(func() { g.takePart(b.shards[i]) })
	}
}

// takePart takes part in one election until that is over. If it ends with an error, so
// does the group.
func (g *group) takePart(s *shard) {
	defer s.cand.Close() // which waits until the znode is gone, within a second
	err := s.cand.Run(g.ctx, func(ctx context.Context, term *election.Term) error {
		err := g.lead(ctx, s.path, term)
		g.note(s.path, err)
		return err
	})
	g.fail(s.path, err)
}

// fail ends the group with the first error. What others return is then a consequence.
func (g *group) fail(path string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || g.ctx.Err() != nil {
		return
	}
	g.errs = append(g.errs, fmt.Errorf("shards: %s: %w", znode.Brief(path), err))
	g.stop()
}

// note keeps the errors that lead returns while the group ends, except context errors.
func (g *group) note(path string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || g.ctx.Err() == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	g.errs = append(g.errs, fmt.Errorf("shards: %s: %w", znode.Brief(path), err))
}
