package machine

import "slices"

// Event is something that happened to a candidate.
type Event interface{ apply(*Machine) }

// Fault is how a request ended, as far as the election cares.
type Fault int

const (
	OK     Fault = iota
	NoNode       // the server answered that the znode is not there
	Lost         // no answer: it may have been done, may yet be done, or never be
	Denied       // the server refuses, and will refuse again until somebody changes something there
	Failed       // the server answered something else; worth another try
)

// Reason says why a term ended.
type Reason int

const (
	Resigned Reason = iota + 1
	ClosedByUser
	Disconnected
	SessionExpired
	LeaseExpired
	NodeDeleted
	BecameUnhealthy
)

// The user's wishes.
type (
	// Start: take part, now and after every loss.
	Start struct{}
	// Withdraw: leave the line; Start comes back.
	Withdraw struct{}
	// Resign: if first in line, go to the back. The one with the ID To is to lead next,
	// or the next in line if To is empty. A znode other than the one with this Token
	// keeps its place; 0 stands for any.
	Resign struct {
		To    string
		Token int64
	}
	// Close: leave the line for good.
	Close struct{}
	// Health is the outcome of the user's health check.
	Health struct{ OK bool }
)

func (Start) apply(m *Machine) {
	if !m.started {
		m.started, m.stood = true, false
		m.paused, m.failures = false, 0
	}
}

func (Withdraw) apply(m *Machine) {
	m.started = false
	m.rejoinLater()
	m.endTerm(Resigned)
}

// rejoinLater has a leader's znode removed once its work has returned, even if the
// candidate is to take part again by then.
func (m *Machine) rejoinLater() {
	if m.state == Leading || m.state == Stopping {
		m.rejoin = m.node != ""
	}
}

// A candidate that is not at the front has nothing to give up, and keeps its place. A
// Resign without a successor does not take back one that names one.
func (ev Resign) apply(m *Machine) {
	if ev.Token != 0 && ev.Token != m.token {
		return
	}
	switch m.state {
	case Leading, Elected, Stopping:
		if m.rejoin = m.node != ""; m.rejoin && ev.To != "" {
			m.successor = ev.To
		}
		m.endTerm(Resigned)
	}
}

func (Close) apply(m *Machine) {
	m.closed = true
	m.paused = false
	m.endTerm(ClosedByUser)
}

func (ev Health) apply(m *Machine) {
	m.healthy = ev.OK
	if !ev.OK {
		m.rejoinLater()
		m.endTerm(BecameUnhealthy)
	}
}

// What the session says.
type (
	// Online: there is a session and its connection is up. A number other than the last
	// one means that the last session is over, and with it all its znodes.
	Online struct{ Session int64 }
	// Offline: the connection is down; the session may live on.
	Offline struct{}
	// Expired: the server said that the session is over.
	Expired struct{}
	// LeaseGood: the session's lease has just been proved again.
	LeaseGood struct{}
	// LeaseOver: the lease ran out under a term.
	LeaseOver struct{ Term uint64 }
)

func (ev Online) apply(m *Machine) {
	if m.session != ev.Session {
		m.endSession()
	}
	m.session, m.connected = ev.Session, true
	m.paused = false
}

func (Offline) apply(m *Machine) {
	m.connected, m.verified = false, false
	m.connGen++
	m.answered(askCheck)
	if m.cfg.StepDownOnDisconnect {
		m.endTerm(Disconnected)
	}
}

func (Expired) apply(m *Machine) {
	m.endSession()
	m.session, m.connected, m.verified = 0, false, false
	m.connGen++
	m.answered(askCheck)
}

// endSession drops a znode that went with its session. A znode that has not been read yet
// may belong to the next session (a create that was sent late): reading it will tell.
func (m *Machine) endSession() {
	if m.node != "" && m.owner != 0 {
		m.loseNode(SessionExpired)
	}
}

func (LeaseGood) apply(*Machine) {}

func (ev LeaseOver) apply(m *Machine) {
	if ev.Term == m.term {
		m.endTerm(LeaseExpired)
	}
}

// What came of a request. Session is the session in which it was answered.
type (
	// Created answers Create and Recover. A Recover that found nothing has OK and no
	// name.
	Created struct {
		Name    string
		Fault   Fault
		Listing bool // the line is being listed too: Listed follows
	}
	// OwnRead answers ReadOwn. The znode is watched if Fault is OK, unless the watch is
	// spent already.
	OwnRead struct {
		NodeGen uint64
		ConnGen uint64
		Token   int64
		Owner   int64
		Session int64
		Spent   bool // the watch has fired, for another reason than the znode's end
		Fault   Fault
	}
	// Listed answers List.
	Listed struct {
		NodeGen  uint64
		Children []string
		Fault    Fault
	}
	// AheadRead answers WatchAhead. Gone and Watched hold whatever Fault says of the
	// others.
	AheadRead struct {
		NodeGen uint64
		Names   []string
		Gone    []string // those of Names that are gone
		Watched bool     // the last of Names is there, and watched
		Token   int64    // its token
		Beats   bool     // it has been written since it was made, and says how long it may be silent
		Fault   Fault
	}
	// Evicted answers Evict. The znode ahead is gone if Fault is OK, and only then.
	Evicted struct {
		NodeGen uint64
		Name    string
		Fault   Fault
	}
	// Checked answers Check with those of its names that are gone.
	Checked struct {
		NodeGen uint64
		ConnGen uint64
		Gone    []string
		Fault   Fault
	}
	// Deleted answers Delete. NoNode is as good as OK.
	Deleted struct {
		NodeGen uint64
		Changed bool // the server says that the record is of another version
		Fault   Fault
	}
)

// The result of a create is used whenever it comes: the znode must be used or removed.
func (ev Created) apply(m *Machine) {
	m.making = false
	switch ev.Fault {
	case OK:
		m.unsure = false
		m.node = ev.Name
		m.nodeGen++
		if m.pending = 0; ev.Listing {
			m.pending = askList
		}
	case Lost:
		m.unsure = true
		m.fail()
	case Denied:
		m.refuse()
	default:
		m.fail()
	}
}

// noteStood notes that everything a candidate needs has been permitted: its znode was
// created and read, and the line listed.
func (m *Machine) noteStood() {
	m.stood = m.stood || m.watching && m.listed
}

// refuse ends a start that cannot succeed. A candidate that has taken part before goes on
// trying. The cause may be mended, and giving up would lose the candidate.
func (m *Machine) refuse() {
	if m.stood || !m.started {
		m.fail()
		return
	}
	m.started = false
	m.do(Refuse{})
}

func (ev OwnRead) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen || m.node == "" {
		return
	}
	m.answered(askRead)
	switch {
	case ev.Fault == NoNode:
		m.loseNode(NodeDeleted)
	case ev.Fault == Denied:
		m.refuse()
	case ev.Fault != OK:
		m.fail()
	case ev.Session != m.session: // answered between two sessions: ask again
	case ev.Owner != ev.Session:
		m.disown()
	default:
		m.owner, m.token = ev.Owner, ev.Token
		m.watching, m.failures = !ev.Spent, 0
		m.noteStood()
		m.verified = m.verified || ev.ConnGen == m.connGen && m.connected
	}
}

// disown drops a znode whose name is ours but whose owner is another session: a create of
// an earlier session made it, or one that was sent late. Recover will delete it.
//
// A name without a UUID may also have become another candidate's, after the whole path
// was deleted and created again. Then our znode, and the term on it, is gone.
func (m *Machine) disown() {
	m.loseNode(NodeDeleted)
	m.unsure = true // Recover removes every znode of ours that is not this session's
}

func (ev Listed) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.answered(askList)
	switch {
	case ev.Fault == OK && m.relist(ev.Children, m.node, m.keep):
		m.noteStood()
	case ev.Fault == Denied:
		m.refuse()
	default: // not in the list, or no list: the own znode may be gone
		m.watching = false
		m.fail()
	}
}

func (ev AheadRead) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.answered(askWatch)
	for _, name := range ev.Gone {
		m.shrink(name)
	}

	nearest := m.nearest()
	switch {
	case ev.Watched && nearest == ev.Names[len(ev.Names)-1]:
		m.watched, m.nearToken, m.lookout, m.failures = nearest, ev.Token, false, 0
		m.noteBeat(ev.Beats)
	case ev.Fault != OK:
		m.fail()
	default:
		m.failures = 0
		if slices.Contains(ev.Names, nearest) { // it was there a moment ago
			m.lookout = false
		}
	}
}

func (ev Checked) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen || ev.ConnGen != m.connGen {
		return
	}
	m.answered(askCheck)
	switch {
	case ev.Fault != OK:
		m.fail()
	case slices.Contains(ev.Gone, m.node):
		m.loseNode(NodeDeleted)
	default:
		m.verified = true
		for _, name := range ev.Gone {
			m.shrink(name)
		}
	}
}

func (ev Deleted) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.answered(askDelete)
	if ev.Fault == OK || ev.Fault == NoNode {
		m.failures = 0
		m.dropNode()
		return
	}
	if ev.Fault == Denied { // the next in line has to wait then, but the znode must not stay
		m.begun = false
	}
	if m.record.known = false; !ev.Changed {
		m.fail()
	}
}

// apply has a znode that is still there read again. Its silence counts from then on.
func (ev Evicted) apply(m *Machine) {
	m.evicting = false
	switch {
	case ev.NodeGen != m.nodeGen:
	case ev.Fault == OK:
		m.shrink(ev.Name)
	case m.watched == ev.Name:
		m.watched = ""
	}
}

// What watches, timers and the term's work say.
type (
	// OwnGone: the watch on the own znode says that it was deleted.
	OwnGone struct{ NodeGen uint64 }
	// OwnStale: the watch on the own znode fired for another reason, or ended.
	OwnStale struct{ NodeGen uint64 }
	// AheadGone: the watch on a znode ahead says that it was deleted.
	AheadGone struct {
		NodeGen uint64
		Name    string
	}
	// AheadStale: the watch on a znode ahead fired for another reason, or ended.
	AheadStale struct {
		NodeGen uint64
		Name    string
	}
	// AheadSilent: the znode ahead beats, and has stayed at this version for as long as it
	// may be silent.
	AheadSilent struct {
		NodeGen uint64
		Name    string
		Version int32
	}
	// Stopped: the work of a term that is over has returned and its listeners have been
	// told.
	Stopped struct{ Term uint64 }
	// Retry: the time of the last Backoff is over.
	Retry struct{}
	// Tick: look whether a watch has been lost.
	Tick struct{}
)

func (ev OwnGone) apply(m *Machine) {
	if ev.NodeGen == m.nodeGen && m.node != "" {
		m.loseNode(NodeDeleted)
	}
}

func (ev OwnStale) apply(m *Machine) {
	if ev.NodeGen == m.nodeGen {
		m.watching = false
	}
}

func (ev AheadGone) apply(m *Machine) {
	if ev.NodeGen == m.nodeGen {
		m.shrink(ev.Name)
	}
}

func (ev AheadStale) apply(m *Machine) {
	if ev.NodeGen == m.nodeGen && m.watched == ev.Name {
		m.watched = ""
	}
}

// apply evicts only the one directly ahead, which is the one that this candidate watches,
// and only if that is first or second in line. Others do not beat, even if somebody has
// written to their znodes.
func (ev AheadSilent) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen || m.state != Following || !m.wanted() || ev.Name != m.watched || ev.Name != m.nearest() {
		return
	}
	switch {
	case m.place() > third:
		m.list()
	case m.mayAsk() && !m.evicting:
		m.evicting = true
		m.do(Evict(ev))
	}
}

func (ev Stopped) apply(m *Machine) {
	if ev.Term == m.term {
		m.working = false
	}
}

func (Retry) apply(m *Machine) { m.paused = false }

func (Tick) apply(m *Machine) {
	switch m.state {
	case Following, Elected, Leading:
		m.check()
	}
}
