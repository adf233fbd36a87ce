package sim

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing/synctest"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/znode"
)

// toldWithin is how long a change at the front of the line may take to reach a Follower in
// a calm time: its server learns of it, notifies the client, and answers at most three
// requests.
const toldWithin = time.Second

// onlooker follows who leads on a player's session, and waits for each change, in the middle
// of the faults.
type onlooker struct {
	p *player
	f *election.Follower

	// Guarded by world.mu. What it saw when it was last woken, and the participant that an
	// outage must not make it forget.
	woken bool
	saw   view
	known view
}

// view is what Follower.Leader returned.
type view struct {
	path  string
	token int64
	err   error
}

func (o *onlooker) look() view {
	leader, err := o.f.Leader()
	return view{leader.Path, leader.Token, err}
}

func (v view) same(other view) bool {
	return v.path == other.path && v.token == other.token && errors.Is(v.err, other.err)
}

// lookOn starts up to three onlookers of the player, in every third schedule, until ctx ends.
func (p *player) lookOn(ctx context.Context) {
	if p.w.seed%3 != 1 || *focus != "" {
		return
	}
	h := fnv.New64()
	_, _ = h.Write([]byte(p.name))
	r := rand.New(rand.NewPCG(p.w.seed, h.Sum64()+1))
	for range 1 + r.IntN(3) {
		own := rand.New(rand.NewPCG(r.Uint64(), 7))
		p.done.Go(func() {
			for p.follow(ctx, own) {
			}
		})
	}
}

// follow is the life of one Follower. It returns false when the client is closed or ctx has
// ended.
func (p *player) follow(ctx context.Context, r *rand.Rand) bool {
	o := &onlooker{p: p, f: p.client.Follow(path)}
	p.w.mu.Lock()
	p.onlookers = append(p.onlookers, o)
	p.w.mu.Unlock()

	enough := time.After(time.Duration(r.IntN(300)) * time.Second)
	for {
		changed := o.f.Changed()
		o.judge(o.look())
		leader, err := o.f.Leader()
		if errors.Is(err, election.ErrClosed) {
			return false
		}
		if player, has := leader.Metadata["player"]; has && player != leader.ID {
			p.w.violated("the contract", "%s: a Follower shows %s with the metadata of %s", p.name, leader.ID, player)
		}
		select {
		case <-changed:
		case <-enough:
			p.w.mu.Lock()
			p.onlookers = slices.DeleteFunc(p.onlookers, func(other *onlooker) bool { return other == o })
			p.w.mu.Unlock()
			o.f.Close()
			o.judgeClosed()
			select {
			case <-changed:
			default:
				p.w.violated("the contract", "%s: a Follower was closed, and who waits for Changed was not woken", p.name)
			}
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// judge checks what an onlooker sees when it is woken.
func (o *onlooker) judge(now view) {
	nobody := len(o.p.w.e.Children(path)) == 0 // not under w's lock, which onReply takes under the ensemble's lock
	w := o.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("    %s sees %s, %#x, %v", o.p.name, now.path, now.token, now.err)

	var refused jute.Code // by a server that is overloaded
	switch {
	case now.err == nil:
		if now.path == "" || now.token == 0 {
			w.fail("the contract", "%s: a Follower names nobody, and no error", o.p.name)
		}
		o.known = now
	case errors.Is(now.err, election.ErrDisconnected):
		// What follows at once upon another change may be all that is seen of both.
		later := now.token > o.known.token || now.token == 0 && nobody
		if o.woken && now.token != o.known.token && !later {
			w.fail("the contract", "%s: a Follower that is cut off names %s, and knew %s", o.p.name, now.path, o.known.path)
		}
		o.known = view{path: now.path, token: now.token}
	case errors.Is(now.err, election.ErrClosed), errors.Is(now.err, election.ErrNoLeader), errors.As(now.err, &refused):
		if now.token != 0 {
			w.fail("the contract", "%s: a Follower names %s with %v", o.p.name, now.path, now.err)
		}
		o.known = view{}
	default:
		w.fail("the contract", "%s: a Follower says %v", o.p.name, now.err)
	}
	o.woken, o.saw = true, now
}

// judgeClosed checks that a Follower that is closed, or whose client is, says so.
func (o *onlooker) judgeClosed() {
	if now := o.look(); !errors.Is(now.err, election.ErrClosed) || now.token != 0 {
		o.p.w.violated("the contract", "%s: a closed Follower says %v, %v", o.p.name, now.path, now.err)
	}
}

// judgeOnlookersClosed does so for all of a player whose client is closed.
func (p *player) judgeOnlookersClosed() {
	for _, o := range p.onlookers {
		o.judgeClosed()
	}
}

// judgeFollowers checks, in a calm time, that every Follower knows who is at the front of
// the line, and that whoever waited for the change has been woken. Leaders resign in a calm
// time, too, so it waits for a moment at which the front has stayed as it is.
func (w *world) judgeFollowers() {
	front := w.front()
	for tries := 0; ; tries++ {
		time.Sleep(toldWithin)
		synctest.Wait()
		before := front
		if front = w.front(); front == before {
			break
		}
		if tries == 100 {
			w.broken("the front of the line never stays for %v", toldWithin)
			return
		}
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	want := view{path: front}
	if front == "" {
		want.err = election.ErrNoLeader
	}
	for _, p := range w.players {
		for _, o := range p.onlookers {
			now := o.look()
			if now.path != want.path || !errors.Is(now.err, want.err) {
				w.fail("the contract", "%s: in a calm time a Follower says %q, %v, and %q is at the front", p.name, now.path, now.err, front)
			}
			if !now.same(o.saw) {
				w.fail("the contract", "%s: a Follower says %q, %v, and who waits for Changed was last woken for %q, %v",
					p.name, now.path, now.err, o.saw.path, o.saw.err)
			}
		}
	}
}

// front returns the znode at the front of the line, or "" if there is none.
func (w *world) front() string {
	line := znode.Sort(w.e.Children(path))
	if len(line) == 0 {
		return ""
	}
	return path + "/" + line[0]
}
