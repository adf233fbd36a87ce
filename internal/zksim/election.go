package zksim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// elect schedules a vote. Everything that may change the outcome calls it: a server that
// starts to look, a link that heals, a restart, a thaw. So nothing has to poll.
func (e *Ensemble) elect() {
	if e.voting {
		return
	}
	e.voting = true
	e.at(e.now()+e.cfg.ElectionTime, func() { e.vote() })
}

// vote lets every looking server join a leader that it can reach. If servers are left
// that a quorum can reach, the one with the most advanced log, and then the highest id,
// becomes leader (FastLeaderElection.totalOrderPredicate). vote decides at once what the
// original's servers find out by exchanging votes.
func (e *Ensemble) vote() {
	e.voting = false
	for _, s := range e.candidates() {
		if l := e.leaderFor(s); l != nil {
			s.follow(l)
		}
	}

	for _, s := range e.candidates() {
		voters := e.votersFor(s)
		if len(voters) < e.quorum() {
			continue
		}
		s.becomeLeader()
		for _, v := range voters {
			if v != s {
				v.follow(s)
			}
		}
		break
	}
}

// candidates returns the servers that look for a leader, the best one first.
func (e *Ensemble) candidates() []*server {
	var out []*server
	for _, s := range e.servers {
		if s.looking() && !s.frozen {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *server) int {
		return cmp.Or(b.compareLog(a), cmp.Compare(b.id, a.id))
	})
	return out
}

// compareLog orders servers by how advanced their logs are. The epoch counts before the
// last zxid. Otherwise a proposal that died with its leader could come back to life.
func (s *server) compareLog(o *server) int {
	return cmp.Or(cmp.Compare(s.epoch, o.epoch), cmp.Compare(s.lastLogged(), o.lastLogged()))
}

// lastLogged is the last zxid of the log, committed or not.
func (s *server) lastLogged() int64 {
	if n := len(s.tail); n > 0 {
		return s.tail[n-1].zxid
	}
	return s.applied.txn.zxid
}

// leaderFor returns the newest leader that s can reach and may follow, or nil. s may not
// follow a leader of an earlier epoch than it has promised (Learner.registerWithLeader).
// That could undo what a quorum has committed since, or help an old leader to commit what
// the next leader's quorum has not seen.
func (e *Ensemble) leaderFor(s *server) *server {
	var best *server
	for _, l := range e.servers {
		reachable := l.lead != nil && l.lead.epoch >= s.promised && !l.frozen && e.connected(s.name, l.name)
		if reachable && (best == nil || l.lead.epoch > best.lead.epoch) {
			best = l
		}
	}
	return best
}

func (e *Ensemble) votersFor(s *server) []*server {
	var out []*server
	for _, v := range e.candidates() {
		if v == s || v.compareLog(s) <= 0 && e.connected(s.name, v.name) {
			out = append(out, v)
		}
	}
	return out
}

func (s *server) becomeLeader() {
	if len(s.e.servers) > 1 {
		s.e.epoch++
	}
	l := &leadership{server: s, epoch: s.e.epoch}
	s.lead, s.promised = l, l.epoch
	s.e.stats.Elections++
	if s.e.quorum() == 1 {
		l.activate()
		return
	}
	s.after(time.Duration(s.e.cfg.InitLimit)*s.e.cfg.Tick, func() {
		if s.lead == l && !l.active {
			s.retire()
		}
	})
}

// follow connects to a leader (Follower.followLeader).
func (s *server) follow(leader *server) {
	s.promised = leader.lead.epoch
	ch := newChannel(s, leader)
	l := &learning{ch: ch, heard: s.e.now(), touched: make(map[int64]int32)}
	s.learn = l
	s.watchdog(&l.heard, s.e.cfg.InitLimit, func() bool { return s.learn == l && !s.serving }, s.retire)
	s.e.send(s.name, leader.name, func() {
		leader.deliver(ch.leaderLife, func() { leader.join(ch) })
	})
}

// join takes a follower in. The follower gets the leader's log, and then every proposal
// and commit.
func (s *server) join(ch *channel) {
	l := s.lead
	if l == nil || ch.followerClosed {
		ch.closeLeader()
		return
	}
	n := &learner{ch: ch, heard: s.e.now()}
	l.learners = append(l.learners, n)
	s.watchdog(&n.heard, s.e.cfg.InitLimit, func() bool { return n.known() && !n.synced }, func() { l.drop(ch) })
	committed, tail := s.applied, slices.Clone(s.tail)
	ch.toFollower(func(f *server) {
		f.adopt(l.epoch, committed, tail)
		ch.toLeader(func(n *learner) { n.ready(tail) })
	})
}

// adopt replaces the server's log by the leader's. It stands for DIFF, TRUNC and SNAP.
func (s *server) adopt(epoch int64, committed *entry, tail []*txn) {
	s.epoch, s.tail = epoch, nil
	for s.applied.txn.zxid < committed.txn.zxid {
		s.commit(s.applied.next.txn)
	}
	for _, x := range tail {
		if x.zxid > s.applied.txn.zxid {
			s.tail = append(s.tail, x)
		}
	}
	s.flushed = s.lastLogged()
}

// ready takes the follower's message that it has the leader's log (the ACK of NEWLEADER).
// It is a vote for the leader and for everything in the log.
func (n *learner) ready(tail []*txn) {
	l := n.ch.leader.lead
	n.synced = true
	if !l.active {
		if l.supporters() >= l.server.e.quorum() {
			l.activate()
		}
		return
	}
	for _, x := range tail {
		l.ack(x.zxid, n.ch.follower)
	}
	n.upToDate()
}

// upToDate lets the follower serve clients. From now on both ends give up the connection
// after syncLimit ticks of silence.
func (n *learner) upToDate() {
	s := n.ch.leader
	s.watchdog(&n.heard, s.e.cfg.SyncLimit, n.known, func() { s.lead.drop(n.ch) })
	n.commit(func(f *server) {
		l := f.learn
		f.serving = true
		f.watchdog(&l.heard, f.e.cfg.SyncLimit, func() bool { return f.learn == l }, f.retire)
	})
}

// known reports whether the leader still has the learner.
func (n *learner) known() bool { return n.ch.leader.lead.find(n.ch) == n }

// activate starts to lead (Leader.startZkServer). It commits the log that a quorum now
// shares, starts the timers of all sessions, and lets clients in.
func (l *leadership) activate() {
	s := l.server
	for _, x := range slices.Clone(s.tail) {
		l.announce(x)
		s.commit(x)
	}

	l.active, s.epoch = true, l.epoch
	l.zxid = s.applied.txn.zxid
	if len(s.e.servers) > 1 {
		l.zxid = l.epoch << 32
		// Only the leader's own zxid starts at the new epoch. Followers keep the zxid of
		// their last transaction until there is a newer one, so they may refuse a client
		// of the leader.
		s.processed = l.zxid
	}

	l.outlook = s.tree.clone()
	l.tracker = newTracker(s)
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		l.tracker.track(id, s.sessions[id], nil)
	}

	s.serving = true
	for _, n := range l.learners {
		if n.synced {
			n.upToDate()
		}
	}
	if len(s.e.servers) > 1 {
		s.after(s.e.ownTime(s.e.cfg.Tick/2), l.beat)
	}
	s.after(s.e.cfg.ContainerCheck, l.sweep)
}

// sweep removes containers that had a child and have none now, and, by
// [Config].ContainerNeverUsed, those that never had one
// (ContainerManager.checkContainers).
func (l *leadership) sweep() {
	s := l.server
	if s.lead != l {
		return
	}
	for _, path := range s.tree.emptyContainers(s.e.wallMs(), s.e.cfg.ContainerNeverUsed) {
		l.own(&request{op: jute.OpDeleteContainer, path: path})
	}
	s.after(s.e.cfg.ContainerCheck, l.sweep)
}

func (t *tree) emptyContainers(nowMs int64, neverUsed time.Duration) []string {
	var out []string
	for path := range t.containers {
		n := t.nodes[path]
		unused := neverUsed > 0 && nowMs-n.mtime > neverUsed.Milliseconds()
		if len(n.children) == 0 && (n.cversion > 0 || unused) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}
