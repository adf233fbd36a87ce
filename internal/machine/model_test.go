package machine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

// The rest of this file is a ZooKeeper and a driver as dumb as can be: everything happens one at a time, in an order that a
// random number chooses. What real ones can do to a candidate is to be possible here: answers in any order, replies lost
// after the deed, creates that go out under the next session, sessions that end unheard of, notifications that are
// lost, listings that still hold who has just gone, operators who delete what they please. What they cannot do is
// not: a session does not end while its lease is good, and its watches and its requests keep the order that the
// driver keeps.

func TestNoRandomHistoryMakesTwoLeadersOrNone(t *testing.T) {
	const histories, steps = 60, 2000
	terms, evictions := 0, 0
	for seed := range uint64(histories) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			defer w.tellOnFailure()
			for range steps {
				w.step()
			}
			w.heal()
			w.checkEnd()
			terms += w.terms
			evictions += w.evictions
		})
	}
	require.Greater(t, terms, 3*histories, "histories in which hardly anybody leads test nothing")
	require.Greater(t, evictions, histories/3, "nor do those in which hardly anybody is evicted")
}

// world is the server and all candidates.
type world struct {
	t         *testing.T
	rnd       *rand.Rand
	zxid      int64
	seq       int
	sessions  map[int64]bool // alive
	nodes     map[string]node
	order     []string // names of nodes, by their number
	recent    []string // gone lately: a server that lags still lists them
	now       int
	byHand    map[string]int // when an operator deleted it
	all       []*contender
	faults    bool
	terms     int
	evictions int
	history   []func() string // written out only when something is wrong
}

type node struct {
	owner, czxid int64
	maker        *contender
	version      int // how often it has been written
}

// contender is one candidate with its driver.
type contender struct {
	w       *world
	id      int
	m       *machine.Machine
	session int64 // as the driver has it: 0 before the first and once the server said that it is over
	up      bool
	upSince int
	leased  bool
	keeps   bool
	fast    bool
	beating beating
	paused  bool // a Backoff is under way

	queue   []machine.Action // requests on their way to the server, in order
	events  []machine.Event  // what the session said, in order
	inbox   []machine.Event  // results, in any order
	own     *watch
	ahead   *watch
	taken   map[machine.Event]*watch // watches that a result leaves behind, until the result is delivered
	listing *machine.Listed          // went out right behind the create

	term  *reign
	tails []uint64 // terms whose work has still to return
	done  bool
}

type watch struct {
	name  string
	fired machine.Event // nil until it has
	lost  bool

	version int // of the znode, as read when it was set
}

// reign is a term as the user sees it.
type reign struct {
	machine.BeginTerm
	over bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), sessions: map[int64]bool{}, nodes: map[string]node{},
		byHand: map[string]int{}, faults: true}
	fast := !w.chance(3)
	for i := range 2 + w.rnd.IntN(7) {
		cfg := machine.Config{Strict: true, StepDownOnDisconnect: w.chance(4), Unhealthy: w.chance(8), Fast: fast && !w.chance(5)}
		c := &contender{w: w, id: i, m: machine.New(cfg), fast: cfg.Fast, taken: map[machine.Event]*watch{}}
		c.m.KeepAhead(1 + w.rnd.IntN(6))
		w.all = append(w.all, c)
	}
	return w
}

func (w *world) chance(oneIn int) bool { return w.rnd.IntN(oneIn) == 0 }

func (w *world) tellOnFailure() {
	if w.t.Failed() {
		for _, line := range w.history[max(0, len(w.history)-150):] {
			w.t.Log(line())
		}
	}
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, func() string { return fmt.Sprintf(format, args...) })
}

// step lets one thing happen.
func (w *world) step() {
	w.now++
	c := w.all[w.rnd.IntN(len(w.all))]
	if n := w.rnd.IntN(1000); n < 960 {
		c.progress()
	} else if n < 980 {
		c.user()
	} else {
		c.fault()
	}
	w.check()
}

// progress is what happens by itself as long as nothing fails.
func (c *contender) progress() {
	switch c.w.rnd.IntN(12) {
	case 10:
		c.beatOnce()
	case 11:
		c.findSilent()
	case 0, 1, 2:
		c.serve()
	case 3, 4, 5:
		c.deliver()
	case 6:
		c.watches()
	case 7:
		c.connect()
	case 8:
		c.prove()
	case 9:
		c.timers()
	}
}

// timers are all that takes its time: the tick, the backoff, the work of a term that is over.
func (c *contender) timers() {
	switch {
	case c.paused && c.w.chance(2):
		c.paused = false
		c.take(machine.Retry{})
	case len(c.tails) > 0 && c.w.chance(2):
		n := c.tails[0]
		c.tails = c.tails[1:]
		c.take(machine.Stopped{Term: n})
	case c.w.chance(3):
		c.take(machine.Tick{})
	}
}

// user is what the service wants. Most of the time it wants to stand.
func (c *contender) user() {
	n := c.w.rnd.IntN(40)
	switch {
	case n < 20:
		c.take(machine.Start{})
	case n < 30:
		c.take(machine.Health{OK: true})
	case n < 33:
		c.take(machine.Health{OK: false})
	case n < 36:
		c.take(machine.Resign{})
	case n < 39:
		c.take(machine.Withdraw{})
	case c.w.chance(4):
		c.done = true
		c.take(machine.Close{})
	}
}

func (c *contender) fault() {
	switch c.w.rnd.IntN(8) {
	case 6:
		c.starve()
	case 7:
		c.loseBeat()
	case 0:
		c.disconnect()
	case 1:
		c.lapse()
	case 2, 3:
		if !c.leased && c.w.sessions[c.session] {
			c.w.end(c.session)
		}
	case 4:
		if len(c.w.order) > 0 {
			name := c.w.order[c.w.rnd.IntN(len(c.w.order))]
			c.w.byHand[name] = c.w.now
			c.w.remove(name)
		}
	case 5:
		c.touch()
	}
}

// touch is an operator's change of a znode's data: it uses up watches.
func (c *contender) touch() {
	for _, wt := range []*watch{c.own, c.ahead} {
		if wt != nil && wt.fired == nil && c.up {
			wt.fired = c.stale(wt)
		}
	}
}

func (c *contender) stale(wt *watch) machine.Event {
	if wt == c.own {
		return machine.OwnStale{NodeGen: c.m.View().NodeGen}
	}
	return machine.AheadStale{NodeGen: c.m.View().NodeGen, Name: wt.name}
}

// connect brings the connection back, and with it the word that the session is over, if it is.
func (c *contender) connect() {
	switch {
	case c.up:
		return
	case c.session != 0 && !c.w.sessions[c.session]:
		c.session = 0
		c.lapse()
		c.events = append(c.events, machine.Expired{})
		for _, wt := range []*watch{c.own, c.ahead} { // EventNotWatching
			if wt != nil && wt.fired == nil {
				wt.fired = c.stale(wt)
			}
		}
		return
	case c.session == 0:
		c.w.zxid++
		c.session = c.w.zxid
		c.w.sessions[c.session] = true
	}
	c.up, c.upSince = true, c.w.now
	c.w.note("%d connects session %d", c.id, c.session)
	c.events = append(c.events, machine.Online{Session: c.session})
	for _, wt := range []*watch{c.own, c.ahead} { // what was missed meanwhile
		c.w.missed(c, wt)
	}
}

func (w *world) missed(c *contender, wt *watch) {
	if wt == nil || wt.fired != nil || wt.lost {
		return
	}
	n, there := w.nodes[wt.name]
	switch {
	case !there:
		c.fire(wt)
	case wt == c.ahead && n.version != wt.version:
		c.fireStale(wt)
	}
}

// disconnect loses the replies under way: what was asked may have been done, may yet be done, or never be.
func (c *contender) disconnect() {
	if !c.up {
		return
	}
	c.w.note("%d is cut off", c.id)
	var later []machine.Action
	for _, a := range c.queue {
		_, create := a.(machine.Create)
		switch {
		case create && c.w.chance(3):
			later = append(later, a)
			continue
		case c.w.chance(2) && c.w.sessions[c.session]:
			c.w.serve(c, a) // and the reply is lost
		}
		c.inbox = append(c.inbox, lost(a))
	}
	c.up, c.queue = false, later
	c.events = append(c.events, machine.Offline{})
}

func lost(a machine.Action) machine.Event {
	switch a := a.(type) {
	case machine.ReadOwn:
		return machine.OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: machine.Lost}
	case machine.List:
		return &machine.Listed{NodeGen: a.NodeGen, Fault: machine.Lost}
	case machine.WatchAhead:
		return &machine.AheadRead{NodeGen: a.NodeGen, Names: a.Names, Fault: machine.Lost}
	case machine.Check:
		return &machine.Checked{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: machine.Lost}
	case machine.Delete:
		return machine.Deleted{NodeGen: a.NodeGen, Fault: machine.Lost}
	case machine.Evict:
		return machine.Evicted{NodeGen: a.NodeGen, Name: a.Name, Fault: machine.Failed}
	}
	return machine.Created{Fault: machine.Lost}
}

// end ends a session and takes its znodes along.
func (w *world) end(session int64) {
	w.note("session %d ends", session)
	delete(w.sessions, session)
	for _, name := range slices.Clone(w.order) {
		if w.nodes[name].owner == session {
			w.remove(name)
		}
	}
	for _, c := range w.all {
		if c.session == session {
			c.disconnect()
		}
	}
}

func (w *world) remove(name string) {
	if _, there := w.nodes[name]; !there {
		return
	}
	w.note("%s is gone", name)
	delete(w.nodes, name)
	w.order = slices.DeleteFunc(w.order, func(n string) bool { return n == name })
	w.recent = append(w.recent, name)
	if len(w.recent) > 4 {
		w.recent = w.recent[1:]
	}
	for _, c := range w.all {
		for _, wt := range c.standing() {
			if wt.name == name && wt.fired == nil && c.up {
				c.fire(wt)
			}
		}
	}
}

func (c *contender) standing() []*watch {
	var all []*watch
	for _, wt := range c.taken {
		all = append(all, wt)
	}
	for _, wt := range []*watch{c.own, c.ahead} {
		if wt != nil {
			all = append(all, wt)
		}
	}
	return all
}

func (c *contender) begin(a machine.BeginTerm) {
	t := c.w.t
	require.Nil(t, c.term, "a term within a term")
	require.Empty(t, c.tails, "a term before the work of the last one has returned")
	c.term = &reign{BeginTerm: a}
	c.w.terms++
	if when, ok := c.w.byHand[a.Node]; ok { // deleted by hand, and the word of it is on its way, or was lost
		require.False(t, c.up && len(c.events) == 0 && when < c.upSince, "a term unlooked after a reconnect")
		return
	}
	require.Equal(t, node{c.session, a.Token, c, c.w.nodes[a.Node].version}, c.w.nodes[a.Node], "a term on a znode that is not there, or not ours")
	require.Equal(t, a.Node, c.w.order[0], "a term behind somebody's back")
}

// check is what must hold at every instant.
func (w *world) check() {
	var leaders []string
	for _, c := range w.all {
		if c.term != nil && !c.term.over && w.byHand[c.term.Node] == 0 {
			leaders = append(leaders, c.term.Node)
		}
		mine := 0
		for name, n := range w.nodes {
			if n.owner == c.session && strings.HasPrefix(name, c.prefix()) {
				mine++
			}
		}
		if mine > 1 {
			require.Fail(w.t, "two znodes", "of candidate %d in one session", c.id)
		}
	}
	if len(leaders) > 1 {
		require.Fail(w.t, "two leaders", "%v", leaders)
	}
}

// heal ends all faults, has everybody stand who is not closed, and gives all of them time.
func (w *world) heal() {
	w.faults = false
	w.note("--- faults end")
	for id := range w.sessions {
		if !slices.ContainsFunc(w.all, func(c *contender) bool { return c.session == id }) {
			w.end(id)
		}
	}
	for _, c := range w.all {
		c.take(machine.Health{OK: true})
		c.take(machine.Start{})
	}
	for range 400 * len(w.all) {
		w.all[w.rnd.IntN(len(w.all))].progress()
		w.check()
	}
}

// checkEnd: as many znodes as open candidates, each known to its owner, and the first in line leads.
func (w *world) checkEnd() {
	leaders, open := 0, 0
	for _, c := range w.all {
		v := c.m.View()
		if c.done {
			require.Equal(w.t, machine.Closed, v.State, "candidate %d", c.id)
			continue
		}
		open++
		require.Contains(w.t, w.nodes, v.Node, "candidate %d is %v", c.id, v.State)
		if v.State == machine.Leading {
			leaders++
			require.Equal(w.t, w.order[0], v.Node)
		} else {
			require.Equal(w.t, machine.Following, v.State, "candidate %d", c.id)
		}
	}
	require.Len(w.t, w.nodes, open, "znodes that nobody owns: %v", w.order)
	require.Equal(w.t, min(open, 1), leaders)
}

// prove renews the lease while the machine wants it.
func (c *contender) prove() {
	if c.up && c.keeps && c.w.sessions[c.session] && !c.leased {
		c.leased = true
		c.inbox = append(c.inbox, machine.LeaseGood{})
	}
}

// lapse ends the lease, and the belief at once; the machine hears of it later.
func (c *contender) lapse() {
	c.leased = false
	c.disbelieve()
}

func (c *contender) disbelieve() {
	if r := c.term; r != nil && !r.over {
		r.over = true
		c.inbox = append(c.inbox, machine.LeaseOver{Term: r.Term})
	}
}
