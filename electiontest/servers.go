package electiontest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/znode"
)

// Servers is a ZooKeeper in memory, of one server or several. [Start] makes one outside of
// tests, and [New] for a test. Its methods may be called from any goroutine. Paths are full
// paths: if the service's connect string has a chroot, they begin with it.
type Servers struct {
	sim      *zksim.Ensemble
	count    int
	contacts contacts

	mu     sync.Mutex // guards the following; no call to sim or to a rival is made under it
	closed bool
	names  int // rivals made so far
	rivals map[*Rival]struct{}
}

// Option changes what [Start] and [New] make.
type Option func(*options)

type options struct {
	tick    time.Duration
	servers int
}

// WithTick sets the server's tick. The server grants session timeouts of 2 to 20 ticks,
// whatever a client asks for, and ends sessions on whole ticks. The default is 2 s, as in
// ZooKeeper; 0 means the default. A shorter tick saves time in tests that run in real
// time.
func WithTick(d time.Duration) Option {
	return func(o *options) { o.tick = d }
}

// WithServers sets how many servers the ensemble has. They serve while more than half of
// them run. The default is 1.
func WithServers(n int) Option {
	return func(o *options) { o.servers = n }
}

// mostServers is more than an ensemble needs. Each vote is one bit in the simulation.
const mostServers = 9

// Start starts a ZooKeeper outside of tests, such as for a demonstration, or in a TestMain.
// Close it. A test uses [New]. An error names the option that is wrong.
func Start(opts ...Option) (*Servers, error) {
	all := options{servers: 1}
	for _, o := range opts {
		o(&all)
	}
	if err := all.check(); err != nil {
		return nil, err
	}
	return serve(zksim.Config{Tick: all.tick, Servers: all.servers}), nil
}

func (o options) check() error {
	var errs []error
	if o.tick < 0 {
		errs = append(errs, fmt.Errorf("electiontest: WithTick: %v is negative", o.tick))
	}
	if o.servers < 1 || o.servers > mostServers {
		errs = append(errs, fmt.Errorf("electiontest: WithServers: %d is not from 1 to %d", o.servers, mostServers))
	}
	return errors.Join(errs...)
}

func serve(cfg zksim.Config) *Servers {
	s := &Servers{sim: zksim.New(cfg), count: cfg.Servers, rivals: map[*Rival]struct{}{}}
	s.sim.OnReply(s.contacts.note)
	return s
}

// Close ends the rivals, all connections and the servers, and waits for their goroutines.
// A second Close does no harm.
func (s *Servers) Close() {
	s.mu.Lock()
	s.closed = true
	rivals := s.rivals
	s.rivals = nil
	s.mu.Unlock()
	for r := range rivals {
		r.close()
	}
	s.sim.Close()
}

// ConnectString returns the connect string for [election.Connect]. Append a chroot if the
// service uses one. Nothing listens at its addresses: it works only together with
// [Servers.Dialer].
func (s *Servers) ConnectString() string { return s.sim.ConnectString() }

// Dialer returns a dialer for [election.WithDialer]. client is a name of your choice.
// [Servers.Cut] cuts all connections that were made under the same name. The connections
// are pipes in this process, so they obey the virtual time of a synctest bubble.
func (s *Servers) Dialer(client string) zk.Dialer { return s.sim.DialerFor(client) }

// ListenTCP opens the ensemble to services that cannot take a dialer, such as other
// processes, and returns the connect string for them: a free port of the loopback
// interface for each server. [Servers.Cut] knows them all as "tcp". Sockets do not obey
// virtual time, so do not use it in a synctest bubble.
//
// A stopped server's port still accepts connections, and closes them at once.
func (s *Servers) ListenTCP() (connectString string, err error) {
	if s.isClosed() {
		return "", errClosed
	}
	at, err := s.sim.ListenTCP("127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("electiontest: %w", err)
	}
	return at, nil
}

var errClosed = errors.New("electiontest: the servers are closed")

func (s *Servers) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Leader returns the participant that is first in line at electionPath now. Only the
// participant itself knows whether it already leads: it may not have heard of its place
// yet, or its lease may be over. [Servers.AwaitLeader] waits until it does. If no one takes
// part, Leader returns the zero [election.Participant].
func (s *Servers) Leader(electionPath string) election.Participant {
	for p := range s.line(electionPath) {
		return p
	}
	return election.Participant{}
}

// line yields the participants at electionPath, the first in line first. Those that go
// meanwhile are left out.
func (s *Servers) line(electionPath string) func(yield func(election.Participant) bool) {
	return func(yield func(election.Participant) bool) {
		first := true
		for _, name := range znode.Sort(s.sim.Children(electionPath)) {
			node, ok := s.sim.Get(path.Join(electionPath, name))
			if !ok {
				continue
			}
			id, metadata := znode.Unpack(string(node.Data))
			p := election.Participant{ID: id, Path: node.Path, Token: node.Stat.Czxid, SessionID: node.Stat.EphemeralOwner,
				Leader: first, Since: time.UnixMilli(node.Stat.Ctime).UTC(), Metadata: metadata}
			first = false
			if !yield(p) {
				return
			}
		}
	}
}

// ExpireSession ends the session id, as if the server had not heard of its client for the
// session timeout. The session's znodes are deleted, and its candidates join again at the
// back of the line. A term ends with [election.ErrNodeDeleted] or
// [election.ErrSessionExpired], depending on which of the two the client hears of first;
// a service should treat both alike. Take the id from [Servers.Leader],
// [election.Candidate.Status] or [election.Client.Participants]. If there is no such
// session, or no server that leads the others, ExpireSession returns an error.
//
// A real ensemble does not end the session of a client that it hears from. So
// ExpireSession is as sudden as the deletion of a znode by hand: the successor may learn
// of it a moment before the old leader does. Use [Servers.Cut] if that matters to your
// test.
func (s *Servers) ExpireSession(id int64) error {
	if !s.sim.ExpireSession(id) {
		return fmt.Errorf("electiontest: there is no session %#x%s", id, s.unserved())
	}
	return nil
}

// TakeLeadership deletes the znode of the participant that is first in line at
// electionPath, as an operator may do, and returns that participant. Its term ends with
// [election.ErrNodeDeleted]. It keeps its session and joins again at the back of the
// line. As with [Servers.ExpireSession], the successor may learn of it a moment before
// the old leader does. If no one takes part, TakeLeadership returns an error.
func (s *Servers) TakeLeadership(electionPath string) (election.Participant, error) {
	leader := s.Leader(electionPath)
	err := fmt.Errorf("no one takes part at %s", electionPath)
	if leader.Path != "" {
		err = s.sim.Delete(leader.Path)
	}
	if err != nil {
		return election.Participant{}, fmt.Errorf("electiontest: take leadership: %w%s", err, s.unserved())
	}
	return leader, nil
}

// unserved adds to an error that no server can do anything now.
func (s *Servers) unserved() string {
	if s.LeadingServer() == 0 {
		return ", and fewer than a majority of the servers run, or they are electing their leader"
	}
	return ""
}

// Cut takes a client's network away: nothing arrives in either direction, and no
// connection is closed, as if the cable had been pulled. If the client leads, its lease
// runs out and its term ends with [election.ErrLeaseExpired]. The next participant leads
// after the session timeout, or after the time of [election.WithFastFailover], and never
// before that term is over. So Cut is how to test that two leaders do not overlap.
func (s *Servers) Cut(client string) { s.sim.Unplug(client) }

// Heal gives the network back after [Servers.Cut]. What was sent meanwhile arrives,
// unless its connection was given up.
func (s *Servers) Heal(client string) { s.sim.Plug(client) }

// StopServer stops the server id, as if its process were killed. Its clients' connections
// break, and they go to the other servers. Ids count from 1 to [WithServers]. What the
// ensemble has committed stays. While no majority runs, nothing is committed, and no
// session ends. If the server leads the others, they elect another one. Stopping a stopped
// server does nothing.
func (s *Servers) StopServer(id int) error { return s.toServer("stop", id, s.sim.Crash) }

// RestartServer starts a stopped server again. It serves clients once it has found the
// server that leads the others. Restarting a server that runs does nothing.
func (s *Servers) RestartServer(id int) error { return s.toServer("restart", id, s.sim.Restart) }

func (s *Servers) toServer(what string, id int, do func(int)) error {
	if id < 1 || id > s.count {
		return fmt.Errorf("electiontest: %s server: there is no server %d, only 1 to %d: see WithServers", what, id, s.count)
	}
	do(id)
	return nil
}

// LeadingServer returns the id of the server that leads the ensemble, which has nothing to
// do with the leaders of elections. It returns 0 while there is none.
func (s *Servers) LeadingServer() int { return s.sim.Leader() }

// ServingServers returns the ids of the servers that serve clients now.
func (s *Servers) ServingServers() []int {
	var all []int
	for id := range s.count {
		if s.sim.Serving(id + 1) {
			all = append(all, id+1)
		}
	}
	return slices.Clip(all)
}
