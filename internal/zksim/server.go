package zksim

import (
	"slices"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// entry is one committed transaction. The ensemble has one chain of entries, because what
// a quorum committed is the same at all servers. Each server points to the last entry
// that it has applied. Entries that all servers have applied are garbage.
type entry struct {
	txn  *txn
	next *entry
}

// server is one member of the ensemble. It either leads, or learns from a leader, or
// looks for one.
type server struct {
	e     *Ensemble
	id    int
	name  string
	phase time.Duration // of its clock's ticks against the ensemble's

	incarnation int // counts crashes: what was meant for an earlier incarnation is dropped
	crashed     bool
	frozen      bool
	backlog     []func() // what happened to a frozen server, in order

	// What survives a crash. The tree holds what is applied, which is always committed.
	tree      *tree
	applied   *entry
	processed int64  // zxid of the last transaction applied, or the epoch's first (lastProcessedZxid)
	tail      []*txn // accepted, not yet known to be committed
	flushed   int64  // zxid up to which the tail is on disk
	sessions  map[int64]int32
	promised  int64 // epoch of the last leader that it turned to, even without having its log (acceptedEpoch)
	epoch     int64 // epoch of the last leader whose log it took over (currentEpoch)

	disk     func() time.Duration // what a flush takes; nil: nothing
	diskFree time.Duration
	lag      func() time.Duration // how late commits are applied; nil: at once
	lagFree  time.Duration
	greeting func() time.Duration // how late connect requests are answered; nil: at once

	// What does not survive a crash.
	serving     bool // clients are let in
	conns       []*conn
	queues      map[int64][]*request // by session: requests behind a write that waits for its commit
	lead        *leadership
	learn       *learning
	nextSession int64
}

func newServer(e *Ensemble, id int, root *entry) *server {
	s := &server{e: e, id: id, name: ServerName(id), tree: newTree(), applied: root,
		sessions: make(map[int64]int32), phase: time.Duration(e.rng.Int64N(int64(e.cfg.Tick)))}
	s.tree.watches = newWatches()
	s.reset()
	return s
}

// reset begins an incarnation, at the first start or at a restart.
func (s *server) reset() {
	s.queues = make(map[int64][]*request)
	s.lead, s.learn, s.serving = nil, nil, false
	s.diskFree, s.lagFree = 0, 0
	// SessionTrackerImpl.initializeNextSessionId: the server's id, five bytes of its
	// clock, a counter.
	s.nextSession = int64(s.id)<<56 | int64(uint64(s.e.wallMs())<<24>>8)
}

func (s *server) looking() bool { return !s.crashed && s.lead == nil && s.learn == nil }

// deliver runs do: now, or after the thaw if the server is frozen, or never if the server
// has crashed since.
func (s *server) deliver(incarnation int, do func()) {
	switch {
	case s.incarnation != incarnation || s.crashed:
	case s.frozen:
		s.backlog = append(s.backlog, do)
	default:
		do()
	}
}

// after runs do on the server d from now.
func (s *server) after(d time.Duration, do func()) {
	incarnation := s.incarnation
	s.e.at(s.e.now()+d, func() { s.deliver(incarnation, do) })
}

// watchdog runs fire once nothing was heard for so many ticks, while alive returns true.
// A sign of life moves the deadline and not the timer, so one timer serves any number of
// them.
func (s *server) watchdog(heard *time.Duration, ticks int, alive func() bool, fire func()) {
	limit := time.Duration(ticks) * s.e.cfg.Tick
	s.after(*heard+limit-s.e.now(), func() {
		switch {
		case !alive():
		case *heard+limit <= s.e.now():
			fire()
		default:
			s.watchdog(heard, ticks, alive, fire)
		}
	})
}

// log appends to the server's log and calls durable when it is on disk
// (SyncRequestProcessor).
func (s *server) log(x *txn, durable func()) {
	s.tail = append(s.tail, x)
	flushed := func() {
		s.flushed = max(s.flushed, x.zxid)
		durable()
	}
	now := s.e.now()
	if s.disk != nil {
		s.diskFree = max(s.diskFree, now+max(0, s.disk()))
	}
	if s.diskFree <= now {
		flushed()
		return
	}
	s.after(s.diskFree-now, flushed)
}

// lagging runs do in the order of commits, as late as the server's lag says.
func (s *server) lagging(do func()) {
	now := s.e.now()
	if s.lag != nil {
		s.lagFree = max(s.lagFree, now+max(0, s.lag()))
	}
	if s.lagFree <= now {
		do()
		return
	}
	s.after(s.lagFree-now, do)
}

// submit takes a request from a client or from the server itself
// (ZooKeeperServer.submitRequestNow). If the leader knows that the session is closing,
// the request is dropped without an answer.
func (s *server) submit(r *request) {
	if r.conn != nil && !s.touch(r.session, r.conn.timeout) {
		return
	}
	if r.op != jute.OpCreateSession && !s.e.knows(r.op) {
		s.refuseUnknown(r)
		return
	}

	if code := s.refusal(r); code != jute.CodeOK {
		s.refuse(r, code)
		return
	}
	if s.lead != nil {
		s.lead.local(r)
		return
	}

	s.enqueue(r)
	if r.needsCommit() {
		s.learn.ch.toLeader(func(n *learner) { n.request(r) })
	}
}

// touch touches a session (SessionTracker.touchSession). A learner only records the
// touch; at the leader it counts at once.
func (s *server) touch(session int64, timeout int32) bool {
	if s.lead != nil {
		return s.lead.tracker.touch(session, timeout)
	}
	s.learn.touched[session] = timeout
	return true
}

// enqueue keeps a session's requests in order. All requests behind a write wait for it,
// including pings and reads (CommitProcessor).
func (s *server) enqueue(r *request) {
	if q := s.queues[r.session]; r.needsCommit() || len(q) > 0 {
		s.queues[r.session] = append(q, r)
		return
	}
	s.final(r)
}

// release answers a committed write, and the reads that waited for it.
func (s *server) release(r *request, res *result) {
	q := s.queues[r.session]
	if len(q) == 0 || q[0] != r {
		return // the server has lost its leader meanwhile, and dropped its clients
	}
	r.result = res
	s.final(r)
	for q = q[1:]; len(q) > 0 && !q[0].needsCommit(); q = q[1:] {
		s.final(q[0])
	}
	if len(q) == 0 {
		delete(s.queues, r.session)
		return
	}
	s.queues[r.session] = q
}

// commit applies the next transaction of the chain. Watches fire before the write is
// answered, and both go out through the connection's one queue in this order.
func (s *server) commit(x *txn) {
	s.advance(x)
	res := s.tree.apply(x)
	s.processed = x.zxid
	s.e.stats.Applied++
	local := x.request != nil && x.request.server == s && x.entrance == s.incarnation
	switch x.op {
	case jute.OpCreateSession:
		s.sessionOpened(x)
	case jute.OpCloseSession:
		s.sessionClosed(x, local)
		s.e.readBack(x)
	}
	if s.lead != nil && s.lead.active {
		s.lead.reconcile(x)
	}
	if local {
		s.release(x.request, &res)
	}
}

// advance moves along the chain. It checks what the whole simulation rests on: no server
// commits anything else at this place.
func (s *server) advance(x *txn) {
	if s.applied.next == nil {
		s.applied.next = &entry{txn: x}
		s.e.stats.Committed++
	}
	s.applied = s.applied.next
	if s.applied.txn != x {
		panic("zksim: two servers committed different transactions")
	}
	if len(s.tail) > 0 && s.tail[0] == x {
		s.tail = s.tail[1:]
	}
}

func (s *server) sessionOpened(x *txn) {
	s.sessions[x.session] = x.timeout
	if s.learn != nil {
		s.learn.touched[x.session] = x.timeout // LearnerSessionTracker.commitSession
	}
}

// sessionClosed ends the session's connections to this server. If one of them asked for
// that, it gets its answer first (FinalRequestProcessor.applyRequest).
func (s *server) sessionClosed(x *txn, local bool) {
	delete(s.sessions, x.session)
	if s.lead != nil && s.lead.tracker != nil {
		s.lead.tracker.remove(x.session)
	}
	for _, c := range slices.Clone(s.conns) {
		if c.session == x.session && !(local && x.request.conn == c) {
			c.close()
		}
	}
}

// retire makes a server stop leading or following (QuorumPeer, ZooKeeperServer.shutdown).
// It drops all clients and their requests, and looks for a leader.
func (s *server) retire() {
	s.serving = false
	for _, c := range slices.Clone(s.conns) {
		c.close()
	}
	s.queues = make(map[int64][]*request)
	if l := s.lead; l != nil {
		s.lead = nil
		for _, n := range l.learners {
			n.ch.closeLeader()
		}
	}
	if l := s.learn; l != nil {
		s.learn = nil
		l.ch.closeFollower()
	}
	s.e.elect()
}
