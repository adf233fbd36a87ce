package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// pair has one process of ours and one of theirs. Each may run several participants.
type pair struct {
	*stage
	kind         kind
	ours, theirs *Process
}

// with returns the pair for a subtest.
func (p *pair) with(t *testing.T) *pair {
	s := *p.stage
	s.T = t
	return &pair{&s, p.kind, p.ours, p.theirs}
}

func TestOursAndTheirs(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			p := &pair{s, k, s.launch(Ours(k.naming)), s.launch(k.theirs)}
			for name, test := range map[string]func(*pair){
				"theirs behind ours keeps its watch while ours proves its lease":         (*pair).watchBehindOurs,
				"ours behind theirs stays in line while theirs changes its data":         (*pair).dataAhead,
				"theirs behind ours may be lost if data of ours is changed by hand":      (*pair).dataOfOurs,
				"theirs that left while it was elected does not lead afterwards":         (*pair).leftWhileElected,
				"ours hands over when its work has stopped":                              (*pair).ourWorkStopsFirst,
				"theirs hands over when its work has stopped, if its recipe waits":       (*pair).theirWorkStops,
				"an election that has only theirs is seen from outside":                  (*pair).discovery,
				"ours is not disturbed by children that are no candidates":               (*pair).junkAndOurs,
				"theirs is disturbed by the children that are known to disturb it":       (*pair).junkAndTheirs,
				"ours waits its turn behind a candidate of another kind, theirs may not": (*pair).otherKinds,
			} {
				t.Run(name, func(t *testing.T) { test(p.with(t)) })
			}
		})
	}
}

// id returns an ID for a participant that is unique in the log.
func (p *pair) id(name string) string { return fmt.Sprintf("%s-%d", name, Now()) }

// standing starts a participant, which then leads or is behind others, and returns its
// ID.
func (p *pair) standing(proc *Process, name, path string, linger time.Duration) string {
	p.Helper()
	id := p.id(name)
	p.stand(proc, id, path, linger)
	return id
}

func (p *pair) watchBehindOurs() {
	path := p.path("behind")
	begin := p.log.Len()
	a := p.standing(p.ours, "ours", path, 0)
	p.await(begin, a, "gained")
	b := p.standing(p.theirs, "theirs", path, 0)
	node, made := p.node(path, a)
	p.watched(node, b)
	proofs := p.ours.Proxy.Stats().Requests[jute.OpMulti].Frames
	require.Eventually(p, func() bool { return p.ours.Proxy.Stats().Requests[jute.OpMulti].Frames >= proofs+5 },
		patience, 10*time.Millisecond, "ours does not prove its lease")
	_, now := p.node(path, a)
	assert.Equal(p, made, now, "the znode has been changed")
	assert.Zero(p, now.Version)
	assert.Equal(p, now.Czxid, now.Mzxid)
	assert.Zero(p, p.ours.Proxy.Stats().Requests[jute.OpSetData].Frames)
	p.watched(node, b)
	mark := p.log.Len()
	p.leave(p.ours, a)
	p.await(mark, b, "gained")
	p.leave(p.theirs, b)
}

// dataOfOurs shows why a lease must not be proved by a write to the znode. A change of
// its data uses up the watch of the participant behind, and two of the recipes set no
// other watch. They would wait for ever.
func (p *pair) dataOfOurs() {
	path := p.path("written")
	begin := p.log.Len()
	a := p.standing(p.ours, "ours", path, 0)
	p.await(begin, a, "gained")
	b := p.standing(p.theirs, "theirs", path, 0)
	node, _ := p.node(path, a)
	p.watched(node, b)
	_, err := p.conn.Set(node, []byte(a), -1)
	require.NoError(p, err)
	mark := p.log.Len()
	if p.kind.theirs.Recipe != "latch" && p.kind.theirs.Recipe != "recipe" {
		p.leave(p.ours, a)
		p.await(mark, b, "gained")
		p.leave(p.theirs, b)
		return
	}
	p.unwatched(node, b)
	p.leave(p.ours, a)
	require.Equal(p, "false", p.ask(p.theirs, "leader", "leader?", b), "this recipe was known to lose its watch: has it been corrected?")
	p.leave(p.theirs, b)
}

// leftWhileElected closes a LeaderElectionSupport that has just heard that the one ahead
// is gone. It still calls its listener to say that it was elected (process looks at the
// state before it lists the children, and holds no lock), after it has said that it stops.
// Its user has closed it, so this must not count as a time as leader.
func (p *pair) leftWhileElected() {
	if p.kind.theirs.Recipe != "recipe" {
		p.Skip("the other recipes' close and election exclude each other")
	}
	path := p.path("left")
	begin := p.log.Len()
	a := p.standing(p.ours, "ours", path, 0)
	p.await(begin, a, "gained")
	b := p.standing(p.theirs, "theirs", path, 0)
	node, _ := p.node(path, a)
	p.watched(node, b)
	read := p.theirs.Proxy.Hold(zktest.IsKind(zktest.Reply, zktest.IsOp(jute.OpGetData)))
	mark := p.log.Len()
	p.leave(p.ours, a)
	require.NoError(p, read.Wait(p.ctx()))
	require.NoError(p, p.theirs.Leave(b))
	p.awaitLine(path, func(ids []string) bool { return len(ids) == 0 }, "nobody")
	read.Remove()
	p.await(mark, b, "closed")
	c := p.standing(p.theirs, "after", path, 0)
	p.await(mark, c, "gained") // and b has said what it had to say
	p.leave(p.theirs, c)
	events, _ := p.log.Since(mark)
	for _, e := range events {
		require.False(p, e.Who == b && e.What == "gained", "%v", e)
	}
}

func (p *pair) dataAhead() {
	path := p.path("data")
	begin := p.log.Len()
	a := p.standing(p.theirs, "theirs", path, 0)
	p.await(begin, a, "gained")
	b := p.standing(p.ours, "ours", path, 0)
	node, _ := p.node(path, a)
	for i := range 20 {
		p.watched(node, b)
		p.ask(p.theirs, "written", "write", a, fmt.Sprintf("%s-%d", a, i))
		leader, err := p.client.Leader(p.ctx(), path)
		require.NoError(p, err)
		require.Equal(p, fmt.Sprintf("%s-%d", a, i), leader.ID)
	}
	require.Equal(p, "false", p.ask(p.ours, "leader", "leader?", b))
	mark := p.log.Len()
	p.leave(p.theirs, a)
	p.await(mark, b, "gained")
	p.leave(p.ours, b)
}

// linger is how long work takes to stop in tests that look at that.
const linger = 300 * time.Millisecond

func (p *pair) ourWorkStopsFirst() {
	lap := p.handOver(p.ours, p.theirs)
	require.Negative(p, lap, "theirs led while the work of ours went on")
}

// Whether the work stops first depends on the recipe's close. Curator's LeaderLatch
// deletes its znode first.
func (p *pair) theirWorkStops() {
	lap := p.handOver(p.theirs, p.ours)
	if _, deletesFirst := p.kind.permits[leaves]; !deletesFirst {
		require.Negative(p, lap, "ours led while the work of theirs went on")
		return
	}
	p.Logf("ours led for %v while the work of theirs went on", lap)
	require.Positive(p, lap, "this recipe was known to hand over first: has it been corrected?")
}

// handOver lets the first participant leave, whose work takes a while to stop. It returns
// for how long both worked.
func (p *pair) handOver(first, second *Process) (overlap time.Duration) {
	path := p.path("hand")
	begin := p.log.Len()
	a := p.standing(first, "first", path, linger)
	p.await(begin, a, "gained")
	b := p.standing(second, "second", path, 0)
	mark := p.log.Len()
	p.leave(first, a)
	p.await(mark, b, "gained")
	p.leave(second, b)
	spans := map[string]Span{}
	for _, s := range p.log.Spans() {
		spans[s.Who] = s
	}
	return time.Duration(spans[a].To - spans[b].From)
}

func (p *pair) discovery() {
	path := p.path("discovery")
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	seen := make(chan string)
	go func() {
		defer close(seen)
		for leader, err := range p.client.Observe(ctx, path) {
			what := leader.ID
			if err != nil {
				what = err.Error()
			}
			select {
			case seen <- what:
			case <-ctx.Done():
			}
		}
	}()
	defer func() {
		cancel()
		for range seen {
		}
	}()
	_, err := p.client.Leader(ctx, path)
	require.ErrorIs(p, err, election.ErrNoLeader)
	require.Equal(p, election.ErrNoLeader.Error(), <-seen)
	all := []string{p.standing(p.theirs, "a", path, 0), p.standing(p.theirs, "b", path, 0), p.standing(p.theirs, "c", path, 0)}
	p.seesLine(path, all)
	require.Equal(p, all[0], <-seen)
	begin := p.log.Len()
	// Before each change, wait until the participant behind watches the right znode.
	// LeaderElectionSupport fails for good if any participant leaves while it reads the
	// line.
	line, _ := p.line(path)
	p.watched(path+"/"+line[1].name, all[2])
	p.leave(p.theirs, all[1]) // it does not lead, so there is nothing to observe
	p.watched(path+"/"+line[0].name, all[2])
	p.leave(p.theirs, all[0])
	p.await(begin, all[2], "gained")
	require.Equal(p, all[2], <-seen)
	p.seesLine(path, all[2:])
	p.leave(p.theirs, all[2])
	require.Equal(p, election.ErrNoLeader.Error(), <-seen)
	p.seesLine(path, nil)
}

// seesLine checks what a client sees that takes no part in the election.
func (p *pair) seesLine(path string, want []string) {
	p.Helper()
	all, err := p.client.Participants(p.ctx(), path)
	require.NoError(p, err)
	require.Len(p, all, len(want))
	line, _ := p.line(path)
	for i, c := range all {
		require.Equal(p, election.Participant{ID: want[i], Path: path + "/" + line[i].name, Token: line[i].stat.Czxid,
			SessionID: line[i].stat.EphemeralOwner, Leader: i == 0, Since: time.UnixMilli(line[i].stat.Ctime).UTC()}, c)
		require.True(p, i == 0 || c.Token > all[i-1].Token)
	}
	leader, err := p.client.Leader(p.ctx(), path)
	if len(want) == 0 {
		require.ErrorIs(p, err, election.ErrNoLeader)
		return
	}
	require.NoError(p, err)
	require.Equal(p, all[0], leader)
}

// junk has names of children of an election path that are no participants: leftovers,
// notes, and the beginnings of names of every kind, without a number.
var junk = []string{"_c_x", "0-note", "-", "0", "~", "n_", "n_1", "__lock__", "latch-", "lock-", "_c_-latch-", "_c_-lock-",
	"0123456789abcdef0123456789abcdef__lock__", "note-12345", "n_99999", "n_0000000001x", "größe"}

// litterID is the data of junk. A recipe that takes junk for a participant takes this for
// its ID.
const litterID = "junk"

func (s *stage) litter(path string, names ...string) {
	s.Helper()
	for _, name := range names {
		_, err := s.conn.Create(path+"/"+name, []byte(litterID), 0, zk.WorldACL(zk.PermAll))
		require.NoError(s, err)
	}
}

func (p *pair) junkAndOurs() {
	path := p.path("junk")
	p.litter(path, junk...)
	begin := p.log.Len()
	a := p.standing(p.ours, "a", path, 0)
	p.await(begin, a, "gained")
	b := p.standing(p.ours, "b", path, 0)
	p.seesLine(path, []string{a, b})
	require.Equal(p, a+","+b, p.ask(p.ours, "participants", "participants", b, path))
	mark := p.log.Len()
	p.leave(p.ours, a)
	p.await(mark, b, "gained")
	p.seesLine(path, []string{b})
	p.leave(p.ours, b)
	p.seesLine(path, nil)
}

// What junk, or a participant of another kind, does to a recipe.
const (
	none  = ""                         // nothing: it leads
	waits = "waits behind it for ever" // it takes the junk for a participant ahead
	fails = "fails and leaves its znode standing"
)

// disturbedBy returns what one piece of junk does to theirs.
func (k kind) disturbedBy(name string) string {
	switch k.theirs.Recipe {
	case "latch", "selector":
		// It sorts names as text by what follows "latch-" or "lock-", and by the whole
		// name if there is neither. Names that sort before its own ten digits are ahead
		// of it.
		if rest, _ := afterLast(name, map[string]string{"latch": "latch-", "selector": "lock-"}[k.theirs.Recipe]); rest < "0000000000" {
			return waits
		}
	case "recipe":
		// It reads a number from the third character on. If there is none, it throws an
		// error that its own error handling does not catch.
		if name != "n_1" && name != "n_99999" {
			return fails
		}
	}
	return none
}

// harmless returns the junk that does not disturb theirs.
func (k kind) harmless() []string {
	return slices.DeleteFunc(slices.Clone(junk), func(name string) bool {
		// LeaderElectionSupport takes n_1 for the second participant ever, so it disturbs
		// those that come later.
		return k.disturbedBy(name) != none || k.theirs.Recipe == "recipe" && name == "n_1"
	})
}

func afterLast(name, sep string) (rest string, found bool) {
	if i := strings.LastIndex(name, sep); i >= 0 {
		return name[i+len(sep):], true
	}
	return name, false
}

func (p *pair) junkAndTheirs() {
	for _, name := range junk {
		p.Run(name, func(t *testing.T) { p.with(t).junkAndOneOfTheirs(name) })
	}
}

func (p *pair) junkAndOneOfTheirs(name string) {
	path := p.path("x")
	p.litter(path, name)
	id, mark := p.id("theirs"), p.log.Len()
	p.stand(p.theirs, id, path, 0)
	switch want := p.kind.disturbedBy(name); want {
	case none:
		p.await(mark, id, "gained")
		p.leave(p.theirs, id)
	case fails:
		p.await(mark, id, "error")
		p.leave(p.theirs, id)
	case waits:
		p.watched(path+"/"+name, id)
		require.Equal(p, "false", p.ask(p.theirs, "leader", "leader?", id))
		require.NoError(p, p.conn.Delete(path+"/"+name, -1))
		p.await(mark, id, "gained")
		p.leave(p.theirs, id)
	}
}

// otherKinds checks that ours take every name that ends in ten digits for a participant.
func (p *pair) otherKinds() {
	for _, naming := range []election.Naming{election.CuratorLatch, election.CuratorSelector, election.KazooLock, election.ZooKeeperRecipe} {
		if naming != p.kind.naming {
			p.Run(string(naming), func(t *testing.T) { p.with(t).behindAnotherKind(naming) })
		}
	}
}

func (p *pair) behindAnotherKind(naming election.Naming) {
	path := p.path("other")
	first, err := election.NewCandidate(p.client, path, election.WithID("first"), election.WithNaming(naming))
	require.NoError(p, err)
	term, err := first.Await(p.ctx())
	require.NoError(p, err)
	p.alsoTheirs(path, naming)
	begin := p.log.Len()
	b := p.standing(p.ours, "ours", path, 0)
	p.seesLine(path, []string{"first", b})
	require.Equal(p, "false", p.ask(p.ours, "leader", "leader?", b))
	require.NoError(p, term.Err())
	require.NoError(p, first.Close())
	p.await(begin, b, "gained")
	p.leave(p.ours, b)
}

// beside returns what theirs does behind a participant of another kind.
func (k kind) beside(naming election.Naming) string {
	switch {
	case k.theirs.Recipe == "recipe":
		return fails
	case k.theirs.Recipe == "kazoo" && naming == election.KazooLock:
		return waits
	}
	return none // Curator sorts the other one behind its own, and Kazoo does not see it, so both lead
}

// alsoTheirs puts one of theirs behind a leader of another kind, and removes it when it
// is clear what it does.
func (p *pair) alsoTheirs(path string, naming election.Naming) {
	id, mark := p.id("theirs"), p.log.Len()
	p.stand(p.theirs, id, path, 0)
	switch p.kind.beside(naming) {
	case none:
		p.await(mark, id, "gained")
	case fails:
		p.await(mark, id, "error")
	case waits:
		line, _ := p.line(path)
		p.watched(path+"/"+line[0].name, id)
		require.Equal(p, "false", p.ask(p.theirs, "leader", "leader?", id))
	}
	p.leave(p.theirs, id)
}
