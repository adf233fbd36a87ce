package zksim

import (
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// leadership is one term of a server as leader (Leader).
type leadership struct {
	server  *server
	epoch   int64
	active  bool // a quorum has synced: clients are let in
	zxid    int64
	outlook *tree // the tree as it will be once all proposals are applied (outstandingChanges)
	tracker *tracker

	outstanding []*proposal
	learners    []*learner
	beats       int
}

type proposal struct {
	txn   *txn
	acks  uint64 // a bit for each server
	syncs []func()
}

// learner is the leader's end of the connection to a follower (LearnerHandler). It owns
// the sessions that come through that follower.
type learner struct {
	ch     *channel
	synced bool
	heard  time.Duration
}

// local takes a request of the leader's own clients (PrepRequestProcessor,
// ProposalRequestProcessor). It also refuses reads if the session is not owned by this
// server.
func (l *leadership) local(r *request) {
	r.owner = l.server
	if !writes(r.op) {
		r.err = l.tracker.check(r.session, r.owner)
		l.server.enqueue(r)
		return
	}
	x := l.prepare(r)
	l.server.enqueue(r)
	l.propose(x)
}

// own submits a request of the leader itself, and returns its error code.
func (l *leadership) own(r *request) jute.Code {
	r.trusted = true
	x := l.prepare(r)
	l.propose(x)
	return x.err
}

func (l *leadership) closeSession(id int64) { l.own(&request{session: id, op: jute.OpCloseSession}) }

// request takes a request that a follower forwards. The request is checked against the
// session, but does not touch it: touches come only with the follower's answers to pings.
func (n *learner) request(r *request) {
	l := n.ch.leader.lead
	r.owner = n
	if r.op != jute.OpSync {
		l.propose(l.prepare(r))
		return
	}
	answer := func() { n.commit(func(f *server) { f.release(r, nil) }) }
	if len(l.outstanding) == 0 {
		answer()
		return
	}
	last := l.outstanding[len(l.outstanding)-1]
	last.syncs = append(last.syncs, answer)
}

// commit sends the follower something to do in the order of commits.
func (n *learner) commit(do func(f *server)) {
	n.ch.toFollower(func(f *server) {
		learn := f.learn
		f.lagging(func() {
			if f.learn == learn {
				do(f)
			}
		})
	})
}

func (l *leadership) propose(x *txn) {
	s := l.server
	l.outstanding = append(l.outstanding, &proposal{txn: x})
	for _, n := range l.learners {
		n.ch.toFollower(func(f *server) {
			f.log(x, func() { n.ch.toLeader(func(*learner) { l.ack(x.zxid, f) }) })
		})
	}
	s.log(x, func() {
		if s.lead == l {
			l.ack(x.zxid, s)
		}
	})
}

func (l *leadership) ack(zxid int64, from *server) {
	for _, p := range l.outstanding {
		if p.txn.zxid == zxid {
			p.acks |= 1 << from.id
		}
	}
	l.commitReady()
}

// commitReady commits, in order, all proposals that a quorum has on disk
// (Leader.tryToCommit).
func (l *leadership) commitReady() {
	for len(l.outstanding) > 0 && bits.OnesCount64(l.outstanding[0].acks) >= l.server.e.quorum() {
		p := l.outstanding[0]
		l.outstanding = l.outstanding[1:]
		l.announce(p.txn)
		l.server.commit(p.txn)
		for _, answer := range p.syncs {
			answer()
		}
	}
}

func (l *leadership) announce(x *txn) {
	for _, n := range l.learners {
		n.commit(func(f *server) {
			if x.zxid > f.applied.txn.zxid { // the follower may have got it with the leader's log
				f.commit(x)
			}
		})
	}
}

// beat runs every half tick (Leader.lead). It sends the pings that fetch the touches, and
// checks every second time that a quorum is still there.
func (l *leadership) beat() {
	if l.server.lead != l {
		return
	}
	l.beats++
	for _, n := range l.learners {
		if !l.server.e.pingsStalled {
			n.ch.toFollower(func(f *server) { f.learn.pong() })
		}
	}
	if l.beats%2 == 0 && l.supporters() < l.server.e.quorum() {
		l.server.retire()
		return
	}
	l.server.after(l.server.e.ownTime(l.server.e.cfg.Tick/2), l.beat)
}

func (l *leadership) supporters() int {
	n := 1
	for _, f := range l.learners {
		if f.synced {
			n++
		}
	}
	return n
}

// drop removes a learner whose connection is gone.
func (l *leadership) drop(ch *channel) {
	l.learners = slices.DeleteFunc(l.learners, func(n *learner) bool { return n.ch == ch })
	ch.closeLeader()
}

func (l *leadership) find(ch *channel) *learner {
	if l == nil {
		return nil
	}
	for _, n := range l.learners {
		if n.ch == ch {
			return n
		}
	}
	return nil
}

// learning is a follower's end (Follower, LearnerSessionTracker).
type learning struct {
	ch      *channel
	heard   time.Duration
	touched map[int64]int32 // since the last ping: session → its timeout in ms
}

// pong answers the leader's ping with the sessions that were touched since the last ping.
func (l *learning) pong() {
	touched := l.touched
	l.touched = make(map[int64]int32)
	l.ch.toLeader(func(n *learner) {
		for _, session := range slices.Sorted(maps.Keys(touched)) {
			n.ch.leader.lead.tracker.touch(session, touched[session])
		}
	})
}

// channel is one connection between a follower and its leader. Each end closes on its
// own. The other end notices after the network's delay.
type channel struct {
	leader, follower             *server
	leaderLife, followerLife     int
	leaderClosed, followerClosed bool
}

func newChannel(follower, leader *server) *channel {
	return &channel{leader: leader, follower: follower,
		leaderLife: leader.incarnation, followerLife: follower.incarnation}
}

func (c *channel) toLeader(do func(*learner)) {
	if c.followerClosed {
		return
	}
	c.follower.e.send(c.follower.name, c.leader.name, func() {
		c.leader.deliver(c.leaderLife, func() {
			if n := c.leader.lead.find(c); n != nil {
				n.heard = c.leader.e.now()
				do(n)
			}
		})
	})
}

func (c *channel) toFollower(do func(*server)) {
	if c.leaderClosed {
		return
	}
	c.leader.e.send(c.leader.name, c.follower.name, func() {
		c.follower.deliver(c.followerLife, func() {
			if l := c.follower.learn; l != nil && l.ch == c {
				l.heard = c.follower.e.now()
				do(c.follower)
			}
		})
	})
}

func (c *channel) closeLeader() {
	if c.leaderClosed {
		return
	}
	// The end of the stream travels like a message, behind all that were sent before.
	c.toFollower(func(f *server) { f.retire() })
	c.leaderClosed = true
}

func (c *channel) closeFollower() {
	if c.followerClosed {
		return
	}
	c.toLeader(func(n *learner) { c.leader.lead.drop(c) })
	c.followerClosed = true
}
