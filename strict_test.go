package election_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// The tests of WithStrictHandover on real servers. An election without the option stands beside those with it, and has
// the same faults at the same moments. It must show two leaders, or the faults prove nothing.

// rival is an election of a few candidates, one of a kind.
type rival struct {
	name  string
	t     *testing.T
	peers []*peer

	mu       sync.Mutex // guards the following
	rounds   int        // that have begun
	overlaps []overlapping
}

// overlapping is a time in which two candidates of an election led, as far as it was seen.
type overlapping struct {
	round    int
	from, to time.Time
}

func newRival(t *testing.T, name string, timeout time.Duration, addrs []string, opts ...election.Option) *rival {
	r := &rival{name: name, t: t}
	path := newPath(t) + "-" + name
	for i, addr := range addrs {
		id := election.WithID(fmt.Sprint(i))
		r.peers = append(r.peers, newPeerAt(t, addr, path, timeout, append(opts, id)...))
	}
	startAll(r.peers...)
	return r
}

// look notes whether two candidates lead. A term that is live at a first look and at a third was live at the second, for
// it never comes back.
func (r *rival) look() {
	live := map[*peer]*election.Term{}
	for _, p := range r.peers {
		if term := p.Term(); p.HasLeadership() && term != nil {
			live[p] = term
		}
	}
	if len(live) < 2 {
		return
	}
	n := 0
	for p, term := range live {
		if p.HasLeadership() && p.Term() == term {
			n++
		}
	}
	if n > 1 {
		r.note(time.Now())
	}
}

func (r *rival) note(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.overlaps); n == 0 || now.Sub(r.overlaps[n-1].to) > 20*time.Millisecond {
		r.overlaps = append(r.overlaps, overlapping{r.rounds, now, now})
	}
	r.overlaps[len(r.overlaps)-1].to = now
}

// deaf reports whether the link of the leader dies in a round: in every other one.
func deaf(round int) bool { return round%2 == 0 }

// begin begins a round in which the leader's term is to end before its time, and returns that term.
func (r *rival) begin(leader *peer) *election.Term {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rounds++
	leader.proxy.Heal()
	if deaf(r.rounds) {
		leader.dieWhenDeleted()
	}
	return leader.Term()
}

// dieWhenDeleted has the peer's link pass nothing any more, from the moment at which the server says that the peer's
// znode is gone.
func (p *peer) dieWhenDeleted() {
	own := p.Status().Znode
	p.proxy.Hold(func(f zktest.Frame) bool {
		const deleted = 2
		gone := f.Kind == zktest.Notification && f.Event == deleted && f.Path == own
		if gone {
			p.proxy.Blackhole()
		}
		return gone
	})
}

// report says in how many rounds two led, and for how long at most.
func (r *rival) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var longest time.Duration
	in := map[bool]map[int]bool{true: {}, false: {}}
	for _, o := range r.overlaps {
		longest = max(longest, o.to.Sub(o.from))
		in[deaf(o.round)][o.round] = true
	}
	ends := map[string]int{}
	for _, p := range r.peers {
		for _, term := range p.log.terms() {
			ends[cause(term)]++
		}
	}
	r.t.Logf("%s: two leaders in %d of %d rounds in which the leader's link died, and in %d of %d others, for %v at most; terms by their ends: %v",
		r.name, len(in[true]), r.rounds/2, len(in[false]), r.rounds-r.rounds/2, longest, ends)
}

func cause(term *election.Term) string {
	for _, err := range []error{election.ErrSessionExpired, election.ErrLeaseExpired, election.ErrNodeDeleted, election.ErrResigned} {
		if errors.Is(term.Err(), err) {
			return err.Error()
		}
	}
	return fmt.Sprint(term.Err())
}

// leader waits until everybody is in line and one leads.
func (r *rival) leader() (leads *peer) {
	r.t.Helper()
	eventually(r.t, func() bool {
		leads = nil
		in := 0
		for _, p := range r.peers {
			s := p.Status()
			if s.Leading {
				leads = p
			} else if s.State == election.StateFollowing && s.Ahead != nil {
				in++
			}
		}
		return leads != nil && in == len(r.peers)-1
	}, "%s: a leader, and the others behind it", r.name)
	return leads
}

// judge looks at all rivals until the test ends.
func judge(t *testing.T, rivals []*rival) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for _, r := range rivals {
					r.look()
				}
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// rivals of a test: the first is without the option.
func newRivals(t *testing.T, timeout time.Duration, addrs ...string) []*rival {
	fast := election.WithFastFailover(timeout / 3)
	all := []*rival{
		newRival(t, "without", timeout, addrs),
		newRival(t, "strict", timeout, addrs, election.WithStrictHandover()),
		newRival(t, "strict-fast", timeout, addrs, election.WithStrictHandover(), fast),
	}
	judge(t, all)
	return all
}

// verify requires that two leaders were seen without the option and never with it.
func verify(t *testing.T, rivals []*rival) {
	t.Helper()
	for i, r := range rivals {
		r.report()
		if i > 0 {
			assert.Zero(t, r.seen(), "two leaders at one instant, %s", r.name)
		}
	}
	require.NotZero(t, rivals[0].seen(), "no two led without the option either: the faults prove nothing")
}

// In the server that leads an ensemble, the thread that pings the other servers stands still for longer than a session
// lasts. The sessions of these servers' clients end then, though their proofs are answered. ELECTION_STALL=30m takes longer.
func TestStrictHandover_OneLeadsThoughTheEnsembleEndsSessionsThatAreInUse(t *testing.T) {
	const timeout, stall = 2 * time.Second, 2*time.Second + 3*500*time.Millisecond
	length, err := time.ParseDuration(cmp.Or(os.Getenv("ELECTION_STALL"), "15s"))
	require.NoError(t, err)
	zoo := zktest.StartEnsemble(t, 3, zktest.WithStall(stall))
	var addrs []string
	for _, s := range zoo.Servers() {
		addrs = append(addrs, s.Addr())
	}
	rivals := newRivals(t, timeout, addrs...)
	for began := time.Now(); time.Since(began) < length || rivals[0].seen() == 0 && time.Since(began) < length+patience; {
		stallRound(t, zoo, rivals, stall)
	}
	verify(t, rivals)
}

// seen is how often two led.
func (r *rival) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.overlaps)
}

// end waits for the ends of the leaders' terms, and heals the leaders' links.
func end(t *testing.T, terms map[*peer]*election.Term) {
	t.Helper()
	for p, term := range terms {
		eventually(t, func() bool { return term.Context().Err() != nil }, "the end of a term")
		p.proxy.Heal()
	}
}

// stallRound has leaders lead whose clients are at followers, and stalls the ensemble's leader until their terms have
// ended.
func stallRound(t *testing.T, zoo *zktest.Ensemble, rivals []*rival, stall time.Duration) {
	t.Helper()
	at, err := zoo.Leader(testContext(t))
	require.NoError(t, err)
	terms := map[*peer]*election.Term{}
	for _, r := range rivals {
		p := r.leader()
		for ; p == r.peers[at]; p = r.leader() {
			require.NoError(t, p.Resign(testContext(t)))
		}
		if term := r.begin(p); term != nil {
			terms[p] = term
		}
	}
	require.NoError(t, zoo.Servers()[at].Stall(testContext(t)))
	over := time.After(stall)
	end(t, terms)
	<-over
}

// ELECTION_DELETES=200 takes longer.
func TestStrictHandover_OneLeadsThoughAnOperatorDeletesLeadersZnodes(t *testing.T) {
	const timeout = 2 * time.Second
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("ELECTION_DELETES"), "10"))
	require.NoError(t, err)
	by := sharedAdmin(t)
	addr := zktest.Shared(t).Addr()
	rivals := newRivals(t, timeout, addr, addr)
	for range rounds {
		terms := map[*peer]*election.Term{}
		for _, r := range rivals {
			p := r.leader()
			if term := r.begin(p); term != nil {
				terms[p] = term
			}
			by.remove(p.Status().Znode)
		}
		end(t, terms)
	}
	verify(t, rivals)
}
