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
	// Start: stand, now and after every loss.
	Start struct{}
	// Withdraw: leave the line; Start comes back.
	Withdraw struct{}
	// Resign: if first in line, go to the back.
	Resign struct{}
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
	m.giveUp()
	m.endTerm(Resigned)
}

// giveUp has a leader's znode go once its work has returned, even if the candidate is to stand again by then.
func (m *Machine) giveUp() {
	if m.state == Leading || m.state == Stopping {
		m.rejoin = m.node != ""
	}
}

// A candidate that is not first has nothing to give up and keeps its place.
func (Resign) apply(m *Machine) {
	switch m.state {
	case Leading, Elected, Stopping:
		m.rejoin = m.node != ""
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
		m.giveUp()
		m.endTerm(BecameUnhealthy)
	}
}

// What the session says.
type (
	// Online: the session stands and its connection is up. A number other than the last one means
	// that the last session is over, and with it all its znodes.
	Online struct{ Session int64 }
	// Offline: the connection is down; the session may live on.
	Offline struct{}
	// Expired: the server said that the session is over.
	Expired struct{}
	// LeaseGood: the session's lease has just been proved anew.
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
	m.link++
	m.answered(askCheck)
	if m.cfg.StepDownOnDisconnect {
		m.endTerm(Disconnected)
	}
}

func (Expired) apply(m *Machine) {
	m.endSession()
	m.session, m.connected, m.verified = 0, false, false
	m.link++
	m.answered(askCheck)
}

// endSession drops a znode that its session has taken along. One that has not been read may belong to the next
// session (a create that was sent late): reading it will tell.
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
	// Created answers Create and Recover. A Recover that found nothing has OK and no name.
	Created struct {
		Name  string
		Fault Fault
	}
	// OwnRead answers ReadOwn; a watch stands on the znode if Fault is OK.
	OwnRead struct {
		Epoch   uint64
		Link    uint64
		Token   int64
		Owner   int64
		Session int64
		Fault   Fault
	}
	// Listed answers List.
	Listed struct {
		Epoch    uint64
		Children []string
		Fault    Fault
	}
	// AheadRead answers WatchAhead; a watch stands on the znode if Fault is OK.
	AheadRead struct {
		Epoch uint64
		Name  string
		Fault Fault
	}
	// Checked answers Check with those of its names that are gone.
	Checked struct {
		Epoch uint64
		Link  uint64
		Gone  []string
		Fault Fault
	}
	// Deleted answers Delete. NoNode is as good as OK.
	Deleted struct {
		Epoch uint64
		Fault Fault
	}
)

// A create's result is used whenever it comes: what it made must be used or removed.
func (ev Created) apply(m *Machine) {
	m.making = false
	switch ev.Fault {
	case OK:
		m.unsure = false
		m.node = ev.Name
		m.epoch++
		m.pending = 0
	case Lost:
		m.unsure = true
		m.fail()
	case Denied:
		m.refuse()
	default:
		m.fail()
	}
}

// stand notes that everything a candidate needs has been permitted: its znode was made and read, and the line listed.
func (m *Machine) stand() {
	m.stood = m.stood || m.held && m.listed
}

// refuse ends a start that cannot succeed. One who has stood before goes on trying: the cause may be
// mended, and giving up would lose the candidate.
func (m *Machine) refuse() {
	if m.stood || !m.started {
		m.fail()
		return
	}
	m.started = false
	m.do(Refuse{})
}

func (ev OwnRead) apply(m *Machine) {
	if ev.Epoch != m.epoch || m.node == "" {
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
		m.held, m.failures = true, 0
		m.stand()
		m.verified = m.verified || ev.Link == m.link && m.connected
	}
}

// disown has a znode removed that another session owns: made by a create of an earlier session, or by one
// that went out late. Its name is ours, so is the duty to remove it.
//
// A name without a UUID may also have come to be another's, after the whole path was deleted and made anew: then ours,
// and the term on it, is gone.
func (m *Machine) disown() {
	m.loseNode(NodeDeleted)
	m.unsure = true // Recover removes every znode of ours that is not this session's
}

func (ev Listed) apply(m *Machine) {
	if ev.Epoch != m.epoch {
		return
	}
	m.answered(askList)
	switch {
	case ev.Fault == OK && m.relist(ev.Children):
		m.stand()
	case ev.Fault == Denied:
		m.refuse()
	default: // not in the list, or no list: the own znode may be gone
		m.held = false
		m.fail()
	}
}

func (ev AheadRead) apply(m *Machine) {
	if ev.Epoch != m.epoch {
		return
	}
	m.answered(askWatch)
	switch ev.Fault {
	case OK:
		m.misses, m.failures, m.walking = 0, 0, false
		if slices.Contains(m.ahead, ev.Name) {
			m.watched = ev.Name
		}
	case NoNode:
		m.shrink(ev.Name)
		m.misses++
		if m.misses >= manyMisses && len(m.ahead) > manyAhead {
			m.listed = false // everybody ahead may have left: one listing is cheaper than the walk
		}
	default:
		m.fail()
	}
}

func (ev Checked) apply(m *Machine) {
	if ev.Epoch != m.epoch || ev.Link != m.link {
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
	if ev.Epoch != m.epoch {
		return
	}
	m.answered(askDelete)
	if ev.Fault == OK || ev.Fault == NoNode {
		m.failures = 0
		m.dropNode()
		return
	}
	m.fail()
}

// What watches, timers and the term's work say.
type (
	// OwnGone: the watch on the own znode says that it was deleted.
	OwnGone struct{ Epoch uint64 }
	// OwnStale: the watch on the own znode fired for another reason, or ended.
	OwnStale struct{ Epoch uint64 }
	// AheadGone: the watch on a znode ahead says that it was deleted.
	AheadGone struct {
		Epoch uint64
		Name  string
	}
	// AheadStale: the watch on a znode ahead fired for another reason, or ended.
	AheadStale struct {
		Epoch uint64
		Name  string
	}
	// Stopped: the work of a term that is over has returned and its listeners have been told.
	Stopped struct{ Term uint64 }
	// Retry: the time of the last Backoff is over.
	Retry struct{}
	// Tick: look whether a watch has been lost.
	Tick struct{}
)

func (ev OwnGone) apply(m *Machine) {
	if ev.Epoch == m.epoch && m.node != "" {
		m.loseNode(NodeDeleted)
	}
}

func (ev OwnStale) apply(m *Machine) {
	if ev.Epoch == m.epoch {
		m.held = false
	}
}

func (ev AheadGone) apply(m *Machine) {
	if ev.Epoch == m.epoch {
		m.shrink(ev.Name)
	}
}

func (ev AheadStale) apply(m *Machine) {
	if ev.Epoch == m.epoch && m.watched == ev.Name {
		m.watched = ""
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
