// Package machine is the election as one candidate lives it, as a pure state machine:
// events go in, actions come out. It has no clock, no I/O, no goroutine and no lock. Its
// owner, package internal/driver, calls Step from one goroutine, carries out the actions,
// and feeds the outcome back as events.
//
//	Closed ◀── Idle ──▶ Joining ──▶ Following ──▶ Elected ──▶ Leading
//	            ▲         ▲ │           │           ▲ │           │
//	            │         │ ▼           ▼           │ ▼           ▼
//	            └──────── Leaving ◀─────┴───────────┴─┴────── Stopping
//
// Leaving may also end in Closed or Unhealthy. If the znode is lost, Following, Elected
// and Stopping lead to Joining.
//
//   - Idle: takes no part.
//   - Unhealthy: would take part, but its health check forbids it.
//   - Joining: creates its znode and reads it back.
//   - Following: another candidate is ahead.
//   - Elected: nobody is ahead, and the lease is still to be proved.
//   - Leading: has a term.
//   - Stopping: the term is over, and its work still runs.
//   - Leaving: removes its znode.
//   - Closed: has left for good.
//
// One rule holds the code together. An event's apply only notes facts, and ends a term at
// once. What follows from the facts is decided by advance alone, which Step calls until
// the state moves no more. So each decision is written down once, and none depends on the
// order in which the facts became known. (Two more things follow from an event by itself,
// and do not wait: a failed request begins a pause or refuses a start, and a Tick has the
// znodes checked.)
//
// Three rules keep it safe.
//   - A term begins only in the step in which the znode is known to be this session's,
//     nobody is ahead and the lease is good.
//   - Nothing is done with the znode while the work of a term still runs.
//   - A znode is forgotten only when the server has said that it is gone, or that its
//     session is.
package machine

import (
	"fmt"
	"slices"
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

// Machine is one candidate. The zero value is not ready: use New.
type Machine struct {
	cfg   Config
	keep  int // names ahead that are kept
	state State

	wishes

	session int64 // as last heard of; 0 before the first and between two

	// The znode. A name is set from the answer to a create until the znode is known to be
	// gone.
	node     string
	owner    int64  // session that owns node; 0 until it has been read
	token    int64  // czxid of node, once read
	watching bool   // node is watched
	verified bool   // node has been seen since the last disconnect
	nodeGen  uint64 // raised with every change of node: results for an older one are dropped
	connGen  uint64 // raised with every disconnect: what was seen before it proves nothing after it
	stood    bool   // has stood in line since the last Start: failures are retried from then on
	unsure   bool   // a create may have happened, or may yet happen, without an answer
	making   bool   // a Create or Recover is under way; its result is never dropped
	evicting bool   // an Evict is under way; its result is never dropped

	lineAhead // the line ahead of node
	reigning
	asking

	term     uint64 // number of the latest term
	working  bool   // that term is over, its work is not
	renewing bool   // the lease is being kept up
	beating  bool   // the own znode is written again and again

	out []Action
}

// wishes are what the user wants.
type wishes struct {
	started, healthy, closed bool   // closed never goes back to false
	rejoin                   bool   // give up the present znode and take part again at the back
	successor                string // the ID of the one that is to lead when the znode goes; "": the next in line
}

func (w *wishes) wanted() bool { return w.started && w.healthy && !w.closed }

// Config is what a Machine is made with.
type Config struct {
	StepDownOnDisconnect bool
	StrictHandover       bool // it begins with a record of its reign: see package reign
	Fast                 bool // it beats, and evicts whoever is ahead and has stopped beating: see package beat
	Unhealthy            bool // wait for a Health event before the first attempt
	PathBytes            int  // length of the election path, by which requests are weighed
	Strict               bool // panic on an illegal move (tests); else it is reported and survived
}

// New returns a candidate that takes no part yet.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, keep: manyAhead, wishes: wishes{healthy: !cfg.Unhealthy}}
}

// Step takes one event and returns what is to be done now, in order. leased says whether
// the lease of the session that owns the znode is good at this instant.
func (m *Machine) Step(ev Event, leased bool) []Action {
	m.out = nil
	ev.apply(m)
	for before := State(-1); before != m.state; {
		before = m.state
		m.advance(leased)
	}
	m.keepLease(leased)
	m.keepBeat()
	m.keepRecord()
	return m.out
}

// View is a snapshot for reports.
type View struct {
	State   State
	Node    string
	NodeGen uint64 // raised with every change of Node
	Token   int64
	Owner   int64 // session that Node belongs to; 0 while that is not known
	Place   int   // in line, 1 being the first, or a larger number; 0 while that is not known
	Nearest string
	Started bool
	Stood   bool // has stood in line since the last Start
	Working bool
	Rejoin  bool
}

// View returns a snapshot.
func (m *Machine) View() View {
	v := View{State: m.state, Node: m.node, NodeGen: m.nodeGen, Token: m.token, Owner: m.owner, Started: m.started,
		Stood: m.stood, Working: m.working, Rejoin: m.rejoin, Nearest: m.nearest()}
	if m.listed {
		v.Place = m.place()
	}
	return v
}

// advance does what the present state calls for.
func (m *Machine) advance(leased bool) {
	switch m.state {
	case Idle, Unhealthy:
		m.rest()
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

// rest goes where a candidate without a znode belongs.
func (m *Machine) rest() {
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
	case !m.watching || !m.listed:
		m.read()
		switch {
		case !m.listed:
			m.list()
		case !m.first():
			m.lookAhead() // at once with the look at the own znode
		}
	case m.first():
		m.become(Elected)
	default:
		m.become(Following)
	}
}

// lost reports whether the znode's session is known to be over.
func (m *Machine) lost() bool { return m.owner != 0 && m.session != 0 && m.owner != m.session }

// make asks for a znode. If an earlier create may have made one, it first looks for that.
// An Evict under way is waited for. It rests on the old znode being gone. If the whole path
// is deleted and made anew, a new znode may have the same name.
func (m *Machine) make() {
	if m.making || m.evicting || !m.mayAsk() {
		return
	}
	m.making = true
	if m.unsure {
		m.do(Recover{Session: m.session})
		return
	}
	m.do(Create{Session: m.session, NodeGen: m.nodeGen + 1, ConnGen: m.connGen})
}

func (m *Machine) read() {
	if !m.watching && m.ask(askRead) {
		m.do(ReadOwn{m.nodeGen, m.connGen, m.node})
	}
}

func (m *Machine) list() {
	if m.ask(askList) {
		m.do(List{m.nodeGen})
	}
}

func (m *Machine) advanceFollowing() {
	switch {
	case m.node == "":
		m.become(Joining)
	case !m.wanted():
		m.become(Leaving)
	case m.first():
		m.become(Elected)
	default:
		m.look() // also before a listing, which does not say why the own znode is not in it
		m.lookAhead()
	}
}

// lookAhead finds out who is nearest now, and watches that one.
//
// While nobody knows, all may have left: those further back are not told who leaves. So
// one round trip has to do for all of them, by a listing or by looks that are sent
// together. Otherwise the nearest one was there a moment ago, and the watch finds it.
func (m *Machine) lookAhead() {
	few := len(m.ahead) <= m.keep/4
	switch {
	case m.beyond > 0 && (m.lookout || few) || m.lookout && m.cheaperToList(m.cfg.PathBytes, len(m.node)):
		m.list()
	case m.doubt && m.place() > third:
		m.list()
	case m.watched == m.nearest():
	case m.lookout || m.doubt:
		m.watchAhead(m.ahead)
	default:
		m.watchAhead(m.ahead[len(m.ahead)-1:])
	}
}

func (m *Machine) watchAhead(names []string) {
	if m.ask(askWatch) {
		m.do(WatchAhead{m.nodeGen, slices.Clone(names)})
	}
}

// look checks the candidate's own znode. After a disconnect it checks again, and the
// znode ahead too. What watches say about the time in between may come in any order, and
// a watch that could not be set again says nothing.
func (m *Machine) look() {
	m.read()
	if m.watching && !m.verified {
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
		// One probe a tick at the front, as far as it is known, keeps the list from growing
		// stale: those who lead leave first.
		if n > 1 {
			names = append(names, m.ahead[0])
		}
	}
	m.do(Check{m.nodeGen, m.connGen, names})
}

func (m *Machine) advanceElected(leased bool) {
	switch {
	case m.node == "":
		m.become(Joining)
	case !m.wanted() || m.rejoin:
		m.become(Leaving)
	case !m.connected:
	case !m.verified || !m.watching:
		m.look()
	case m.cfg.StrictHandover && !m.begun:
		m.begin()
	case leased:
		m.term++
		m.become(Leading)
		m.do(BeginTerm{m.term, m.node, m.token, m.owner})
	}
}

// endTerm ends the term at once. What is done with the znode waits for the work (G3).
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
		if m.beating && m.node != "" { // whose version has to be known
			m.read()
		}
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
	case m.node != "" && m.pending&askBegin != 0: // its answer says what the record has to say
	case m.node != "" && m.begun && !m.record.known:
		m.readRecord()
	case m.node != "":
		if m.ask(askDelete) {
			m.do(Delete{m.nodeGen, m.node, m.successor, m.begun, m.token, m.record.version})
		}
	case m.making, m.evicting: // an Idle candidate may be at rest, and hears no answers
	case m.unsure:
		m.make()
	default:
		m.rejoin = false
		m.rest()
	}
}

// dropNode forgets a znode that is gone.
func (m *Machine) dropNode() {
	m.node, m.owner, m.token, m.watching, m.verified = "", 0, 0, false, false
	m.lineAhead, m.reigning, m.successor = lineAhead{}, reigning{}, ""
	m.pending = 0
	m.nodeGen++
}

// loseNode is dropNode for a znode that went without our doing. The term on it ends, and
// the candidate takes part again.
func (m *Machine) loseNode(why Reason) {
	m.endTerm(why)
	m.dropNode()
}

// keepLease has the lease renewed while this candidate leads or may be the next to lead.
// If the lease is good and the candidate asks who is left ahead, the proof waits for the
// answers: a server keeps the reads of a session waiting for the writes before them.
func (m *Machine) keepLease(leased bool) {
	var want bool
	switch m.state {
	case Elected, Leading:
		want = true
	case Stopping:
		want = m.node != "" && m.wanted() && !m.rejoin
	case Following: // second in line, or about to learn that it is the first
		want = m.place() == 2 || m.lookout && (m.renewing || !leased || m.pending&(askList|askWatch) == 0)
	}
	if want != m.renewing {
		m.renewing = want
		m.do(Renew{want, m.node})
	}
}

// keepBeat has a candidate with fast failover beat from the moment on at which it knows
// that it is first or second in line, until its znode is gone or is to be removed. So a
// znode ahead that has been written belongs to one that goes on writing. A candidate whose
// work still runs after its term beats even if it is to leave: nobody may follow it yet.
//
// With strict hand-over alone, the candidate only proves that its znode stands, and only
// from its beginning on.
func (m *Machine) keepBeat() {
	var want bool
	switch {
	case !m.cfg.Fast && !m.cfg.StrictHandover:
		return
	case m.state == Elected, m.state == Leading:
		want = m.cfg.Fast || m.begun
	case !m.cfg.Fast:
	case m.state == Stopping:
		want = m.node != ""
	case m.state == Following:
		want = m.beating || m.listed && m.place() == 2
	}
	if want != m.beating {
		m.beating = want
		m.do(Beat{want, m.nodeGen, m.node})
	}
}

// fail notes that a request went wrong. Nothing is asked before Retry, or before the
// connection is back.
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
