package machine

import "time"

// record is what the candidate knows of the record of the last reign, which candidates with
// strict hand-over keep in the data of the election path. See package reign.
type record struct {
	known   bool
	stale   bool // the record has been written since it was read
	alone   bool // no one was ahead when the record was read
	version int32
	reign   int64         // the token of the reign that the record names; 0: it names none
	left    bool          // that reign is known to be over
	lasts   time.Duration // b of that reign: how long after its last proof its candidate may lead
}

// reigning is the machine's state of strict hand-over for one znode.
type reigning struct {
	record record
	begun  bool // the record names this candidate's znode
	sure   bool // the candidate has waited, so the reign that the record names is over
	waits  bool // Wait has been asked for and not been answered
}

// leftInOrder reports whether the record's next version must say that the reign has left.
// That is so if the record names the candidate that was directly ahead and has departed.
// That candidate writes the record twice, when its reign begins and when it leaves. No
// other candidate writes the record while this candidate is behind it.
func (r *reigning) leftInOrder(departed int64) bool {
	return r.record.known && !r.record.left && r.record.reign != 0 && r.record.reign == departed
}

// note stores the record as read. A wait counts only for the version that it was for.
func (r *reigning) note(read record) {
	r.sure = r.sure && r.record.version == read.version
	r.record = read
}

// begin asks for the next step towards a record that names this candidate's znode. The
// record is written as soon as no earlier reign can still last. A second term on the same
// znode needs no second record and must not write one: the next in line would take it for
// the record that says that the reign has left.
func (m *Machine) begin() {
	r := m.record
	switch {
	case m.leftInOrder(m.departed):
		m.askBegin(r.version + 1)
	case !r.known || r.stale:
		m.readRecord()
	case r.reign == m.token && !r.left: // a beginning whose answer was lost
		m.begun = true
	case r.left || m.sure:
		m.askBegin(r.version)
	case !r.alone: // it may have changed before the last candidate ahead left
		m.readRecord()
	case !m.waits:
		m.waits = true
		m.do(Wait{m.nodeGen, r.version, r.lasts})
	}
}

func (m *Machine) askBegin(version int32) {
	if m.ask(askBegin) {
		m.do(Begin{m.nodeGen, m.node, m.token, version})
	}
}

func (m *Machine) readRecord() {
	if m.ask(askRecord) {
		m.do(ReadRecord{m.nodeGen, m.first()})
	}
}

// keepRecord reads the record for a candidate that is second in line. The candidate then
// needs only one round trip to begin when the first has left.
func (m *Machine) keepRecord() {
	if m.cfg.StrictHandover && m.state == Following && m.listed && m.place() == 2 && (!m.record.known || m.record.stale) {
		m.readRecord()
	}
}

// Answers and events about the record.
type (
	// RecordRead answers ReadRecord. A path without a record has Reign 0.
	RecordRead struct {
		NodeGen uint64
		Version int32
		Reign   int64
		Left    bool
		Lasts   time.Duration
		Alone   bool // as asked
		Fault   Fault
	}
	// RecordStale: somebody has written the record, or the watch on it has ended.
	RecordStale struct{ NodeGen uint64 }
	// Begun answers Begin. If the record had another version, Fault is Failed.
	Begun struct {
		NodeGen uint64
		Version int32 // that was expected
		Changed bool  // the server says that the record has another version
		Fault   Fault
	}
	// Waited answers Wait: no one was ahead for so long that the reign in this version of the
	// record is over, and so is any reign without a record.
	Waited struct {
		NodeGen uint64
		Version int32
	}
)

func (ev RecordRead) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.answered(askRecord)
	switch {
	case m.begun && m.state != Leaving: // an answer to a read that was sent before Begin was answered
	case ev.Fault == OK:
		m.note(record{known: true, alone: ev.Alone, version: ev.Version, reign: ev.Reign, left: ev.Left, lasts: ev.Lasts})
		m.departed = 0 // the record that was read includes the leave of that candidate
		if m.state == Leaving && (ev.Reign != m.token || ev.Left) {
			m.begun = false // somebody has overwritten it
		}
	case m.state == Leaving && (ev.Fault == NoNode || ev.Fault == Denied): // leave without a record, and the next in line waits
		m.begun = false
	case ev.Fault == NoNode: // the path is gone, and the own znode with it
		m.watching = false
		m.fail()
	default:
		m.fail()
	}
}

func (ev RecordStale) apply(m *Machine) {
	if ev.NodeGen == m.nodeGen && !m.begun {
		m.record.stale = true
	}
}

func (ev Begun) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.answered(askBegin)
	switch {
	case ev.Fault == OK:
		m.begun, m.failures = true, 0
		m.record = record{known: true, version: ev.Version + 1, reign: m.token}
	case ev.Changed:
		m.record.known, m.departed = false, 0
	case ev.Fault == NoNode: // the own znode is gone, or the whole path
		m.watching = false
		m.fail()
	default: // it may have been written or not: read it
		m.record.known, m.departed = false, 0
		m.fail()
	}
}

func (ev Waited) apply(m *Machine) {
	if ev.NodeGen != m.nodeGen {
		return
	}
	m.waits = false
	m.sure = m.record.known && m.record.version == ev.Version
}
