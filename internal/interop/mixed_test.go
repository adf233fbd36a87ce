package interop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// way is a way in which a leader's time ends.
type way string

const (
	leaves  way = "close"    // in good order
	resigns way = "resign"   // only ours: it goes to the back of the line
	killed  way = "SIGKILL"  // its process is killed, and the session expires
	cutOff  way = "cut off"  // nothing passes between it and ZooKeeper until its session has expired
	expired way = "expiry"   // the server ends its session while it is connected
	deleted way = "deletion" // its znode is deleted by hand
)

// kind is a recipe of another library, and the overlaps that it permits.
type kind struct {
	name   string
	theirs Program
	naming election.Naming // of ours in the same election
	// permits has the ways after which a participant of this kind may go on leading when
	// the next one leads already.
	permits map[way]permit
	// rejoins lists the ways after which it joins again by itself.
	rejoins []way
	// leaderOnly is set if the recipe reports the leader's ID but no participants.
	leaderOnly bool
}

// saysLate is how long a process may take on a busy machine to write that its work has
// stopped.
const saysLate = 500 * time.Millisecond

// permit is how long, and why, a participant may go on leading when the next one leads
// already.
type permit struct {
	why    string
	within time.Duration // the overlap must be shorter than this
	// fromOver is set if the overlap is not counted before the fault that hit the first
	// one was over. It could not have heard of its loss sooner.
	fromOver bool
}

var (
	// None of the recipes promises how soon its client is connected again and notified.
	// The test requires that this takes less than two session timeouts. It has been seen
	// to take half of one (a Java client waits up to a second before it connects again).
	notNoticed   = permit{"it does not watch its own znode, and leads until it is closed", 2 * timeout, true}
	toldLate     = permit{"it learns of it from ZooKeeper, when the message comes", 2 * timeout, false}
	noClock      = permit{"it has no clock of its own, and learns of it when it is connected again", 2 * timeout, true}
	deletesFirst = permit{"close deletes the znode before it tells the listeners", timeout / 3, false}
	// For an overlap its process must be frozen for a third of a session timeout, and for
	// as long again to fail here.
	heardLate = permit{"it counts two thirds of a session timeout from the last byte, which a paused process counts late", timeout / 3, false}
	// This is what the package documentation says of ours if an operator ends the session
	// or deletes the znode.
	byHand = permit{"the next one hears of it as soon as it does itself, and its lease ends by then", timeout/3 + saysLate, false}
)

var kinds = []kind{
	{name: "Curator LeaderLatch", theirs: Latch, naming: election.CuratorLatch, rejoins: []way{cutOff, expired},
		permits: map[way]permit{leaves: deletesFirst, cutOff: heardLate, expired: toldLate, deleted: notNoticed}},
	{name: "Curator LeaderSelector", theirs: Selector, naming: election.CuratorSelector,
		permits: map[way]permit{cutOff: heardLate, expired: toldLate, deleted: notNoticed}},
	{name: "LeaderElectionSupport", theirs: Recipe, naming: election.ZooKeeperRecipe, leaderOnly: true,
		permits: map[way]permit{cutOff: noClock, expired: toldLate, deleted: notNoticed}},
	{name: "Kazoo Election", theirs: Kazoo(), naming: election.KazooLock,
		permits: map[way]permit{cutOff: noClock, expired: toldLate, deleted: notNoticed}},
	{name: "Kazoo Election with extra patterns", theirs: Kazoo("-latch-"), naming: election.CuratorLatch,
		permits: map[way]permit{cutOff: noClock, expired: toldLate, deleted: notNoticed}},
}

var ourPermits = map[way]permit{expired: byHand, deleted: byHand}

const (
	rounds  = 50 // for each kind; each round is an election of its own
	leaders = 4  // how many leaders are ended in each round

	// Four of five rounds have a slow ending. Each of the two sides and three slow ways
	// gets about a sixth of these forty, give or take what chance makes of the order in
	// line.
	slowRounds  = 5
	leastOfAWay = 5
)

func TestALineOfThreeOfOursAndThreeOfTheirsHasOneLeaderAtATime(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newMixed(newStage(t), k)
			for i := range rounds {
				m.round(i)
			}
			m.report()
		})
	}
}

// ending is what was done to a participant to end its time as leader, and from when until
// when.
type ending struct {
	who      string
	way      way
	at, over int64
}

// mixed runs rounds with one kind of participants.
type mixed struct {
	*stage
	kind     kind
	procs    []*Process // three of ours, then three of theirs
	done     map[string]int
	slowOnes map[string]int             // how many slow endings, by side
	over     map[string][]time.Duration // the overlaps that were permitted
	late     map[string]time.Duration   // the longest part of an overlap that counts for its limit
	writes   int                        // how often theirs have written to their own znodes
	took     map[string]time.Duration   // the longest time without a leader after one of ours

	// The rest is about the present round.
	path    string
	line    []string            // the participants, in order
	homes   map[string]*Process // the process of each participant
	endings []ending            // of all participants, in the order of time
	gone    map[string]bool     // participants that need not be closed any more
	slow    bool                // a slow way has still to come
}

func newMixed(s *stage, k kind) *mixed {
	m := &mixed{stage: s, kind: k, done: map[string]int{}, slowOnes: map[string]int{},
		over: map[string][]time.Duration{}, late: map[string]time.Duration{}, took: map[string]time.Duration{}}
	for i := range 6 {
		m.procs = append(m.procs, m.launch(m.program(i)))
	}
	return m
}

func (m *mixed) program(i int) Program {
	if i < 3 {
		return Ours(m.kind.naming)
	}
	return m.kind.theirs
}

// round starts all six participants in random order, with junk among them. It ends four
// leaders, lets one participant leave from between, and then lets all leave.
func (m *mixed) round(round int) {
	m.revive()
	m.path = m.stage.path("%d", round)
	m.line, m.homes = nil, map[string]*Process{}
	m.endings, m.gone, m.slow = nil, map[string]bool{}, round%slowRounds != 0
	begin := m.log.Len()
	litter := m.kind.harmless()
	m.rng.Shuffle(len(litter), func(i, j int) { litter[i], litter[j] = litter[j], litter[i] })
	for i, n := range m.rng.Perm(6) {
		m.litter(m.path, litter[i*len(litter)/6:(i+1)*len(litter)/6]...)
		id := fmt.Sprintf("r%d-%s%d", round, m.side(m.procs[n]), n%3)
		m.homes[id], m.line = m.procs[n], append(m.line, id)
		m.stand(m.procs[n], id, m.path, 0)
	}
	m.await(begin, m.line[0], "gained")
	m.compareViews()
	m.theirsWrite()
	for n := range leaders {
		m.endOne(n == leaders-1)
		if n == 0 {
			m.leaveFromTheMiddle()
		}
	}
	m.finish()
	m.judge()
}

// revive replaces the processes that were killed in the last round.
func (m *mixed) revive() {
	for i, p := range m.procs {
		if p.child.Ended() {
			require.NoError(m, p.Close())
			m.procs[i] = m.launch(m.program(i))
		}
	}
}

func (m *mixed) side(p *Process) string {
	if p.Program.Recipe == "go" {
		return "ours"
	}
	return "theirs"
}

// leaveFromTheMiddle lets a participant leave that does not lead. The one behind it must
// find the next one ahead to watch, and gets the time to do so. If another one left
// meanwhile, a LeaderElectionSupport would fail: it reads all znodes, and takes a znode
// that has just gone for a failure.
func (m *mixed) leaveFromTheMiddle() {
	n := 1 + m.rng.IntN(len(m.line)-1)
	id := m.line[n]
	mark := m.log.Len()
	m.ends(id, leaves)
	m.leave(m.homes[id], id)
	m.gone[id] = true
	m.line = slices.Delete(m.line, n, n+1)
	if n < len(m.line) {
		ahead, _ := m.node(m.path, m.line[n-1])
		m.watched(ahead, m.line[n])
	}
	m.onlyGained(mark, m.line[0])
}

// compareViews asks each side who takes part and who leads.
func (m *mixed) compareViews() {
	all, err := m.client.Participants(m.ctx(), m.path)
	require.NoError(m, err)
	told := make([]string, len(all))
	for i, p := range all {
		told[i] = p.ID
		require.Equal(m, i == 0, p.Leader, "%v", p)
	}
	require.Equal(m, m.line, told, "our view of the line")
	m.untouched()
	leader, err := m.client.Leader(m.ctx(), m.path)
	require.NoError(m, err)
	require.Equal(m, m.line[0], leader.ID)
	want := strings.Join(m.line, ",")
	for _, id := range m.line {
		if m.kind.leaderOnly && m.side(m.homes[id]) == "theirs" {
			require.Equal(m, m.line[0], m.ask(m.homes[id], "participants", "participants", id), "%s's view", id)
			continue
		}
		told := strings.Split(m.ask(m.homes[id], "participants", "participants", id, m.path), ",")
		if m.side(m.homes[id]) == "theirs" { // Curator lists the junk too, behind all others
			told = slices.DeleteFunc(told, func(id string) bool { return id == litterID })
		}
		require.Equal(m, want, strings.Join(told, ","), "%s's view", id)
	}
	for i, id := range m.line {
		require.Equal(m, fmt.Sprint(i == 0), m.ask(m.homes[id], "leader", "leader?", id), "%s, number %d", id, i)
	}
}

// endOne ends the present leader's time, in the way that was used least, and waits until
// the next one leads.
func (m *mixed) endOne(last bool) {
	leader := m.line[0]
	w := m.choose(leader, last)
	m.done[m.side(m.homes[leader])+" "+string(w)]++
	mark := m.log.Len()
	m.ends(leader, w)
	m.end(leader, w)
	m.line = m.line[1:]
	next := m.await(mark, m.line[0], "gained")
	m.aftermath(leader, w, mark, next)
	m.awaitLine(m.path, func(ids []string) bool { return slices.Equal(ids, m.line) }, strings.Join(m.line, " "))
	m.onlyGained(mark, m.line[0])
	m.untouched()
}

// untouched checks that nobody has written to a znode of ours. A write would use up the
// watch of the participant behind it, and two of the recipes set no other watch.
func (m *mixed) untouched() {
	line, _ := m.stage.line(m.path)
	for _, c := range line {
		if m.side(m.homes[c.id]) == "ours" {
			require.Zero(m, c.stat.Version, "the znode of %s", c.id)
			require.Equal(m, c.stat.Czxid, c.stat.Mzxid, "the znode of %s", c.id)
		}
	}
}

// theirsWrite lets those of theirs that have one of ours directly behind them change the
// data of their own znodes. Ours must stay in line and set another watch. (One of theirs
// in its place may wait for ever: see dataOfOurs.)
func (m *mixed) theirsWrite() {
	mark := m.log.Len()
	for i, id := range m.line[:len(m.line)-1] {
		behind := m.line[i+1]
		if m.side(m.homes[id]) == "ours" || m.side(m.homes[behind]) == "theirs" {
			continue
		}
		node, _ := m.node(m.path, id)
		m.watched(node, behind)
		m.ask(m.homes[id], "written", "write", id, id)
		m.watched(node, behind)
		m.writes++
	}
	m.onlyGained(mark, m.line[0])
}

// slowWays are the ways that last as long as a session, or until a client has a new
// session.
var slowWays = []way{killed, cutOff, expired}

// choose picks the way that this side has used least. A round has at most one slow way,
// on the side whose turn it is, because the slow ways take most of the test's time.
func (m *mixed) choose(leader string, last bool) way {
	side, ways := m.side(m.homes[leader]), []way{leaves, deleted}
	if side == "ours" {
		ways = append(ways, resigns)
	}
	if m.slow && (m.slowOnes[side] <= min(m.slowOnes["ours"], m.slowOnes["theirs"]) || last) {
		ways, m.slow = slices.Clone(slowWays), false
		m.slowOnes[side]++
	}
	m.rng.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	return slices.MinFunc(ways, func(a, b way) int {
		return cmp.Compare(m.done[side+" "+string(a)], m.done[side+" "+string(b)])
	})
}

// ends notes an ending that is about to happen. What was done to the same participant
// before is over now.
func (m *mixed) ends(who string, w way) {
	now := Now()
	m.isOver(who, now)
	m.endings = append(m.endings, ending{who, w, now, now})
}

// isOver notes that what is being done to a participant, if anything, is over now.
func (m *mixed) isOver(who string, now int64) {
	for i := range m.endings {
		if e := &m.endings[i]; e.who == who && (e.way == cutOff || e.way == deleted) && e.over == e.at {
			e.over = now
		}
	}
}

func (m *mixed) end(leader string, w way) {
	p := m.homes[leader]
	switch w {
	case leaves:
		require.NoError(m, p.Leave(leader))
		m.gone[leader] = true
	case resigns:
		require.NoError(m, p.Send("resign", leader))
	case killed:
		p.Kill()
		m.gone[leader] = true
	case cutOff:
		p.Proxy.Blackhole()
	case expired:
		require.NoError(m, p.Proxy.ExpireSession(m.ctx()))
	case deleted:
		name, _ := m.node(m.path, leader)
		require.NoError(m, m.conn.Delete(name, -1))
	}
}

// aftermath checks what becomes of the former leader: whether it joins again, and that it
// does not go on leading for ever.
func (m *mixed) aftermath(leader string, w way, mark int, next Event) {
	p := m.homes[leader]
	if w == cutOff {
		p.Proxy.Heal()
		m.isOver(leader, Now())
	}
	ours := m.side(p) == "ours"
	again := ours && w != leaves && w != killed || slices.Contains(m.kind.rejoins, w)
	if w == deleted && !ours {
		// It leads on at the same time as the next one, until it is asked to leave.
		require.Equal(m, "true", m.ask(p, "leader", "leader?", leader), "%s would notice a deletion", m.kind.name)
		m.ends(leader, leaves)
		m.leave(p, leader)
		m.gone[leader] = true
	}
	if again {
		m.line = append(m.line, leader)
	}
	lost := m.await(mark, leader, "lost", "killed")
	if ours && w != killed {
		took := time.Duration(next.At - lost.At)
		m.took[string(w)] = max(m.took[string(w)], took)
	}
}

// onlyGained checks that since mark only who has begun to lead, and that nothing has
// failed.
func (m *mixed) onlyGained(mark int, who string) {
	events, _ := m.log.Since(mark)
	for _, e := range events {
		if e.What == "gained" && e.Who != who {
			require.FailNow(m, "out of turn", "%s gained, it was the turn of %s: %v", e.Who, who, events)
		}
		require.NotContains(m, []string{"failed", "error"}, e.What, "%v", e)
	}
}

// finish lets all participants leave, and waits until the line is empty.
func (m *mixed) finish() {
	mark := m.log.Len()
	for id, p := range m.homes {
		if !m.gone[id] {
			m.ends(id, leaves)
			require.NoError(m, p.Leave(id))
		}
	}
	for id := range m.homes {
		if !m.gone[id] {
			m.await(mark, id, "closed")
		}
	}
	m.awaitLine(m.path, func(ids []string) bool { return len(ids) == 0 }, "nobody")
}

// judge checks all times as leader in this round. Two may overlap only if the kind of the
// earlier one permits it.
func (m *mixed) judge() {
	var spans []Span
	for _, s := range m.log.Spans() {
		if m.homes[s.Who] != nil {
			require.NotEqual(m, int64(Lasting), s.To, "%v still considers itself leader", s)
			spans = append(spans, s)
		}
	}
	for i, first := range spans {
		for _, second := range spans[i+1:] {
			if lap := first.Overlap(second); lap > 0 {
				m.excuse(first, second, lap)
			}
		}
	}
}

// excuse fails the test unless the first one's kind permits the overlap after the way in
// which its time ended.
func (m *mixed) excuse(first, second Span, lap time.Duration) {
	e, side, permits := m.ended(first), m.side(m.homes[first.Who]), m.kind.permits
	if side == "ours" {
		permits = ourPermits
	}
	p, ok := permits[e.way]
	require.True(m, ok, "two leaders for %v: %v (ended by %s) and %v", lap, first, e.way, second)
	late := lap
	if p.fromOver {
		late = time.Duration(first.To - max(second.From, e.over))
	}
	require.Less(m, late, p.within, "%v (ended by %s) led on for too long at the same time as %v", first, e.way, second)
	key := side + " " + string(e.way)
	m.over[key] = append(m.over[key], lap)
	m.late[key] = max(m.late[key], late)
}

// ended returns what ended a span: the first ending of its participant after the span
// began. If there is none, the span began while the last ending was still going on.
func (m *mixed) ended(s Span) (found ending) {
	for _, e := range m.endings {
		if e.who == s.Who {
			found = e
			if e.at >= s.From {
				break
			}
		}
	}
	return found
}

// report prints what was done and seen, and checks that every way was used on both sides.
func (m *mixed) report() {
	for _, key := range slices.Sorted(maps.Keys(m.done)) {
		laps := m.over[key]
		text := fmt.Sprintf("%-18s %3d times", key, m.done[key])
		if len(laps) > 0 {
			text += fmt.Sprintf(", two leaders %d times, for %v at most, %v of that counted",
				len(laps), slices.Max(laps).Round(time.Microsecond), m.late[key].Round(time.Microsecond))
		}
		m.Log(text)
		require.GreaterOrEqual(m, m.done[key], leastOfAWay, key)
	}
	for _, w := range []way{leaves, killed, cutOff, expired, deleted} {
		require.Contains(m, m.done, "ours "+string(w))
		require.Contains(m, m.done, "theirs "+string(w))
	}
	m.Log("theirs changed the data ahead of ours so many times:", m.writes)
	require.Positive(m, m.writes)
	m.Log("from our work's end to the next one's beginning, at most:", m.took)
}
