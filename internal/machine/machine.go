// Package machine is the election as one candidate lives it, as a pure state machine: events go in, actions
// come out. It has no clock, no I/O, no goroutine and no lock; whoever owns a Machine calls Step from one
// goroutine, carries out the actions and feeds what came of them back as events.
//
//	Closed ◀── Idle ──▶ Joining ──▶ Following ──▶ Elected ──▶ Leading
//	            ▲         ▲ │           │           ▲ │           │
//	            │         │ ▼           ▼           │ ▼           ▼
//	            └──────── Leaving ◀─────┴───────────┴─┴────── Stopping
//
// Leaving may also end in Closed or Unhealthy. A znode that is lost leads from Following, Elected and Stopping to Joining.
//
// Idle: does not stand (Unhealthy: would, but its health check forbids it). Joining: makes its znode and reads it
// back. Following: somebody is ahead. Elected: nobody is ahead, the lease is still to be proved. Leading: has a
// term. Stopping: the term is over, its work still runs. Leaving: removes its znode.
//
// Three rules keep it safe. A term begins only in the step in which the znode is known to be this session's,
// nobody is ahead and the lease is good. Nothing is done with the znode while the work of a term still runs.
// And a znode is forgotten only when the server said that it is gone, or its session is.
package machine

import (
	"fmt"
	"slices"

	"github.com/zkelection/election/internal/znode"
)

// State is where a candidate is in its life.
type State int

const (
	Idle State = iota
	Unhealthy
	Joining
	Following
	Elected
	Leading
	Stopping
	Leaving
	Closed
)

var stateNames = [...]string{"idle", "unhealthy", "joining", "following", "elected", "leading", "stopping", "leaving", "closed"}

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return stateNames[s]
}

// moves lists the legal transitions.
var moves = [...][]State{
	Idle:      {Unhealthy, Joining, Leaving, Closed},
	Unhealthy: {Idle, Joining, Leaving, Closed},
	Joining:   {Following, Elected, Leaving},
	Following: {Elected, Joining, Leaving},
	Elected:   {Leading, Joining, Leaving},
	Leading:   {Stopping},
	Stopping:  {Elected, Joining, Leaving},
	Leaving:   {Idle, Unhealthy, Joining, Closed},
	Closed:    {},
}

// Misses in a row after which the line is listed afresh instead of walked, if more are left to ask for than one asks for in
// a moment. A listing names those behind, too, of whom nobody here knows how many they are: when some leaders leave one
// soon after another, it would cost the more the longer the line is.
const (
	manyMisses = 3
	manyAhead  = 16
)

// Machine is one candidate. The zero value is not ready; use New.
type Machine struct {
	cfg   Config
	state State

	// What the user wants. closed never goes back to false.
	started, healthy, closed bool
	rejoin                   bool // give up the present znode and stand again at the back

	// The session as last heard of; 0 before the first and between two.
	session   int64
	connected bool

	// The znode. A name is set from the answer to a create until the znode is known to be gone.
	node     string
	owner    int64  // session that owns node; 0 until it has been read
	token    int64  // czxid of node, once read
	held     bool   // a watch stands on node
	verified bool   // node has been seen since the last disconnect
	epoch    uint64 // raised with every change of node: results of an older epoch are dropped
	link     uint64 // raised with every disconnect: what was seen before it verifies nothing after it
	stood    bool   // has stood in line since the last Start: failures are retried from then on
	unsure   bool   // a create may have happened, or may yet happen, without an answer
	making   bool   // a Create or Recover is under way; its result is never dropped

	// The line ahead of node. It only shrinks: whoever comes later gets a higher number.
	listed  bool
	ahead   []string
	watched string // the znode ahead that a watch stands on
	misses  int    // znodes ahead found gone since the last one found there
	walking bool   // the one ahead is gone and the next has not been found yet

	pending  ask    // what has been asked in this epoch and not been answered
	paused   bool   // an attempt failed: nothing is asked until Retry or Connected
	failures int    // in a row
	term     uint64 // number of the latest term
	working  bool   // that term is over, its work is not
	renewing bool   // the lease is being kept up

	out []Action
}

// ask is a set of requests under way.
type ask uint8

const (
	askRead ask = 1 << iota
	askList
	askWatch
	askCheck
	askDelete
)

// Config is what a Machine is made with.
type Config struct {
	StepDownOnDisconnect bool
	Unhealthy            bool // wait for a Health event before the first attempt
	Strict               bool // panic on an illegal move (tests); else it is reported and survived
}

// New returns a candidate that does not stand.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, healthy: !cfg.Unhealthy}
}

// Step takes one event and returns what is to be done now, in order. leased says whether the lease of the
// session that owns the znode is good at this instant.
func (m *Machine) Step(ev Event, leased bool) []Action {
	m.out = nil
	ev.apply(m)
	for before := State(-1); before != m.state; {
		before = m.state
		m.advance(leased)
	}
	m.keepLease()
	return m.out
}

// View is a snapshot for reports.
type View struct {
	State   State
	Node    string
	Epoch   uint64 // raised with every change of Node
	Token   int64
	Owner   int64 // session that Node belongs to; 0 while that is not known
	Place   int   // in line, 1 being the first; 0 while that is not known
	Nearest string
	Started bool
	Stood   bool // has stood in line since the last Start
	Working bool
	Rejoin  bool
}

// View returns a snapshot.
func (m *Machine) View() View {
	v := View{State: m.state, Node: m.node, Epoch: m.epoch, Token: m.token, Owner: m.owner, Started: m.started,
		Stood: m.stood, Working: m.working, Rejoin: m.rejoin}
	if m.listed {
		v.Place = len(m.ahead) + 1
	}
	if n := len(m.ahead); n > 0 {
		v.Nearest = m.ahead[n-1]
	}
	return v
}

// advance does what the present state calls for.
func (m *Machine) advance(leased bool) {
	switch m.state {
	case Idle, Unhealthy:
		m.settle()
	case Joining:
		m.advanceJoining()
	case Following:
		m.advanceFollowing()
	case Elected:
		m.advanceElected(leased)
	case Leading:
		m.look()
	case Stopping:
		m.advanceStopping()
	case Leaving:
		m.advanceLeaving()
	}
}

func (m *Machine) wanted() bool { return m.started && m.healthy && !m.closed }

// settle goes where a candidate without a znode belongs.
func (m *Machine) settle() {
	switch {
	case m.making || m.unsure || m.node != "":
		m.become(Leaving) // a create is still to be followed to its end
	case m.closed:
		m.become(Closed)
	case !m.started:
		m.become(Idle)
	case !m.healthy:
		m.become(Unhealthy)
	default:
		m.become(Joining)
	}
}

func (m *Machine) advanceJoining() {
	switch {
	case m.node != "" && m.lost():
		m.dropNode()
	case !m.wanted() || m.rejoin:
		m.become(Leaving)
	case m.node == "":
		m.make()
	case !m.held || !m.listed:
		m.read()
		m.list()
	case len(m.ahead) == 0:
		m.become(Elected)
	default:
		m.become(Following)
	}
}

// lost reports whether the znode's session is known to be over.
func (m *Machine) lost() bool { return m.owner != 0 && m.session != 0 && m.owner != m.session }

// make asks for a znode: by looking for one first if an earlier create may have made it.
func (m *Machine) make() {
	if m.making || !m.mayAsk() {
		return
	}
	m.making = true
	if m.unsure {
		m.do(Recover{Session: m.session})
		return
	}
	m.do(Create{Session: m.session})
}

func (m *Machine) mayAsk() bool { return m.connected && !m.paused }

func (m *Machine) read() {
	if !m.held && m.ask(askRead) {
		m.do(ReadOwn{m.epoch, m.link, m.node})
	}
}

func (m *Machine) list() {
	if !m.listed && m.ask(askList) {
		m.do(List{m.epoch})
	}
}

// ask notes a request as under way; false if it is already, or nothing may be asked now.
func (m *Machine) ask(a ask) bool {
	if !m.mayAsk() || m.pending&a != 0 {
		return false
	}
	m.pending |= a
	return true
}

func (m *Machine) answered(a ask) { m.pending &^= a }

func (m *Machine) advanceFollowing() {
	switch {
	case m.node == "":
		m.become(Joining)
	case !m.wanted():
		m.become(Leaving)
	case len(m.ahead) == 0:
		m.become(Elected)
	case !m.listed:
		m.look() // else a znode of which no watch is left could go unnoticed: no listing says why it is not in it
		m.list()
	default:
		m.look()
		m.watchNearest()
	}
}

func (m *Machine) watchNearest() {
	if nearest := m.ahead[len(m.ahead)-1]; m.watched != nearest && m.ask(askWatch) {
		m.do(WatchAhead{m.epoch, nearest})
	}
}

// look keeps an eye on the own znode. After a disconnect it looks again, at the one ahead too: what watches say
// about the time in between may come in any order, and one that could not be set again says nothing.
func (m *Machine) look() {
	m.read()
	if m.held && !m.verified {
		m.check()
	}
}

func (m *Machine) check() {
	if !m.ask(askCheck) {
		return
	}
	names := []string{m.node}
	if n := len(m.ahead); n > 0 {
		names = append(names, m.ahead[n-1])
		// One probe a tick at the front keeps the list from growing stale: those who lead leave first.
		if n > 1 {
			names = append(names, m.ahead[0])
		}
	}
	m.do(Check{m.epoch, m.link, names})
}

func (m *Machine) advanceElected(leased bool) {
	switch {
	case m.node == "":
		m.become(Joining)
	case !m.wanted() || m.rejoin:
		m.become(Leaving)
	case !m.connected:
	case !m.verified || !m.held:
		m.look()
	case leased:
		m.term++
		m.become(Leading)
		m.do(BeginTerm{m.term, m.node, m.token, m.owner})
	}
}

// endTerm takes the belief away first; what is done with the znode waits for the work (G3).
func (m *Machine) endTerm(why Reason) {
	if m.state != Leading {
		return
	}
	m.working = true
	m.become(Stopping)
	m.do(EndTerm{why})
}

func (m *Machine) advanceStopping() {
	switch {
	case m.working:
	case m.node == "":
		m.become(Joining)
	case !m.wanted() || m.rejoin:
		m.become(Leaving)
	default:
		m.become(Elected)
	}
}

func (m *Machine) advanceLeaving() {
	switch {
	case m.node != "" && m.lost():
		m.dropNode()
		m.advanceLeaving()
	case m.node != "":
		if m.ask(askDelete) {
			m.do(Delete{m.epoch, m.node})
		}
	case m.making:
	case m.unsure:
		m.make()
	default:
		m.rejoin = false
		m.settle()
	}
}

// dropNode forgets a znode that is gone.
func (m *Machine) dropNode() {
	m.node, m.owner, m.token, m.held, m.verified = "", 0, 0, false, false
	m.listed, m.ahead, m.watched, m.misses, m.walking = false, nil, "", 0, false
	m.pending = 0
	m.epoch++
}

// loseNode is dropNode for a znode that went without our doing: the term on it ends, and the candidate
// stands again.
func (m *Machine) loseNode(why Reason) {
	m.endTerm(why)
	m.dropNode()
}

// keepLease has the lease renewed while this candidate leads or may be the next to.
func (m *Machine) keepLease() {
	var want bool
	switch m.state {
	case Elected, Leading:
		want = true
	case Stopping:
		want = m.node != "" && m.wanted() && !m.rejoin
	case Following: // second in line, or on the way to the front
		want = len(m.ahead) == 1 || m.walking
	}
	if want != m.renewing {
		m.renewing = want
		m.do(Renew{want, m.node})
	}
}

// fail notes a request that went wrong. Nothing is asked again before Retry, or before the connection is back.
func (m *Machine) fail() {
	m.failures++
	if !m.paused {
		m.paused = true
		m.do(Backoff{m.failures})
	}
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

// become is the only place where the state changes.
func (m *Machine) become(to State) {
	if m.state == to {
		return
	}
	if !slices.Contains(moves[m.state], to) {
		text := fmt.Sprintf("machine: illegal move from %v to %v", m.state, to)
		if m.cfg.Strict {
			panic(text)
		}
		m.do(Report{text})
	}
	m.do(Moved{m.state, to})
	m.state = to
}

// shrink takes a znode that is gone out of the line ahead.
func (m *Machine) shrink(name string) {
	i := slices.Index(m.ahead, name)
	if i < 0 {
		return
	}
	m.walking = m.walking || i == len(m.ahead)-1
	m.ahead = slices.Delete(m.ahead, i, i+1)
	if m.watched == name {
		m.watched = ""
	}
}

// relist reads the line from a listing of the children.
func (m *Machine) relist(children []string) bool {
	ahead, found := znode.Ahead(children, m.node)
	if found {
		m.ahead, m.listed, m.misses = ahead, true, 0
		if !slices.Contains(ahead, m.watched) {
			m.watched = ""
		}
	}
	return found
}
