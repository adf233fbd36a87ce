package shards

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zkelection/election"
)

// shard is one election, and what is known about it.
type shard struct {
	path string
	cand *election.Candidate

	// The following belong to the view, and its lock guards them.
	heard bool   // ZooKeeper has said who leads
	fresh bool   // and the connection has not been lost since
	led   bool   // somebody is first in line
	by    member // the leader, or the last leader

	// The following belong to the balancer's goroutine.
	given   member          // to whom this process last handed the election over
	givenAt time.Time       // and when
	former  member          // who led before the present leader
	left    time.Time       // and until when, as this process has seen it
	refused map[member]*bar // to whom the election could not be handed over
}

// loss says that a member no longer leads an election.
type loss struct {
	of *shard
	by member
}

// view is who leads what, as the followers of all paths report it.
type view struct {
	changed chan struct{} // holds a value if the view has changed

	mu     sync.Mutex // guards the following, and the view's part of each shard
	shards []*shard
	losses []loss // since the last picture
}

// follow reports who leads one election, until ctx ends.
func (v *view) follow(ctx context.Context, client *election.Client, s *shard) {
	f := client.Follow(s.path)
	defer f.Close()
	for {
		changed := f.Changed()
		leader, err := f.Leader()
		v.heard(s, leader, err)
		if errors.Is(err, election.ErrClosed) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (v *view) heard(s *shard, leader election.Participant, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer v.wake()
	s.fresh = !errors.Is(err, election.ErrDisconnected)
	if !s.fresh { // keep the last known leader
		return
	}
	now, led := member{leader.ID, leader.SessionID}, err == nil
	if s.led && (!led || now != s.by) {
		v.losses = append(v.losses, loss{s, s.by})
	}
	s.heard, s.led = true, led
	if led {
		s.by = now
	}
}

func (v *view) wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// picture is the view at one moment.
type picture struct {
	led    map[member]int // how many elections each leader leads
	mine   []*shard
	losses []loss // since the last picture
	whole  bool   // for each path it is known who leads
}

// look returns the picture for member me.
func (v *view) look(me member) picture {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := picture{led: map[member]int{}, losses: v.losses, whole: true}
	v.losses = nil
	for _, s := range v.shards {
		p.whole = p.whole && s.heard && s.fresh
		if !s.led {
			continue
		}
		p.led[s.by]++
		if s.by == me {
			p.mine = append(p.mine, s)
		}
	}
	return p
}

// leader returns the leader of an election, or the last leader, as far as is known.
func (v *view) leader(s *shard) member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return s.by
}
