// Package electiontest is for the tests of services that elect their leader by package election: a ZooKeeper in
// memory, and the few things that can happen to a service because of it. A test says when the session ends, the
// leadership is taken away or the network is gone, and lets virtual time pass:
//
//	synctest.Test(t, func(t *testing.T) {
//		zk := electiontest.New(t)
//		a, b := startService(t, zk, "a"), startService(t, zk, "b")  // with zk.Dialer and zk.ConnectString
//		time.Sleep(time.Minute)                                     // takes no time in a bubble
//		zk.ExpireSession(zk.Leader("/nightly-job").SessionID)
//		time.Sleep(time.Minute)
//		// … the work of the one has stopped, the other's goes on
//	})
//
// Outside of a bubble of testing/synctest it works as well, in real time; then [WithTick] makes sessions short.
//
// # Why it is here
//
// A service can be wrong in what it does when a term ends, and that is rare in production and hard to bring about on a
// real server. The usual way out is an interface in front of the election, and a mock of it; but the mock behaves as
// its author believes that an election does, and that belief is what wants testing: that a term may come back under
// the same token, that its context ends before anybody else leads, that Run waits for the work. Here the service runs on
// the real Client and the real Candidate, which talk ZooKeeper's protocol to the servers that the library is itself
// tested against.
//
// # Why it is thin
//
// Behind it is internal/zksim, which stays internal. That is made for proving the library: replies lost after their
// commit, links cut in one direction, disks that are slow, servers that are frozen. What all this does to a service is
// one of four things: its session ends, its place in line is taken, it is cut off for a while, or nothing. The library's
// suite checks that no more comes of it; a service's test need not do so again. And what is not exported can change.
//
// # What it is not
//
// It stores nothing and is no server for production. It does not tell how a service gets on with its ensemble's ACLs,
// TLS, load or latency: have one test of that on a real one.
package electiontest

import (
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/znode"
)

// Ensemble is a ZooKeeper in memory, of one server. Its methods may be called from any goroutine. Paths are those of
// ZooKeeper, so they begin with the chroot where the service's connect string has one.
type Ensemble struct {
	tb  testing.TB
	sim *zksim.Ensemble
}

// Option changes what [New] makes.
type Option func(*options)

type options struct{ tick time.Duration }

// WithTick sets the server's tick. It grants session timeouts of 2 to 20 of it, whatever a client asks for, and ends
// sessions on whole ticks. Default: 2 s, as ZooKeeper's; a shorter one pays where time is real.
func WithTick(d time.Duration) Option {
	return func(o *options) { o.tick = d }
}

// New starts an ensemble that lasts as long as tb, which should be the inner one when called in a synctest bubble.
// Whatever connects to it has to be closed before tb ends: by a defer, or by tb.Cleanup after this call.
func New(tb testing.TB, opts ...Option) *Ensemble {
	tb.Helper()
	var all options
	for _, o := range opts {
		o(&all)
	}
	if all.tick < 0 {
		tb.Fatalf("electiontest: WithTick: %v is negative", all.tick)
	}
	e := &Ensemble{tb: tb, sim: zksim.New(zksim.Config{Tick: all.tick})}
	tb.Cleanup(e.sim.Close)
	return e
}

// ConnectString is what [election.Connect] wants, with a chroot appended if the service uses one. It leads nowhere
// without [Ensemble.Dialer].
func (e *Ensemble) ConnectString() string { return e.sim.ConnectString() }

// Dialer is for [election.WithDialer]. client is a name of the test's choice; all connections made under it are one
// to [Ensemble.Cut]. The connections are pipes in this process, so they obey the virtual time of a synctest bubble.
func (e *Ensemble) Dialer(client string) zk.Dialer { return e.sim.DialerFor(client) }

// ListenTCP opens the ensemble to services that cannot be given a dialer, other processes for instance, and returns
// the connect string for them: a free port of the loopback interface. They are "tcp" to [Ensemble.Cut]. Sockets know
// no virtual time, so it is of no use in a synctest bubble. It ends the test when it cannot listen.
func (e *Ensemble) ListenTCP() (connectString string) {
	e.tb.Helper()
	at, err := e.sim.ListenTCP("127.0.0.1:0")
	if err != nil {
		e.tb.Fatalf("electiontest: %v", err)
	}
	return at
}

// Leader is who stands first in line at an election's path now. Whether it knows so yet, and believes it, only itself
// can tell. A zero Participant means that nobody stands there.
func (e *Ensemble) Leader(electionPath string) election.Participant {
	for _, name := range znode.Sort(e.sim.Children(electionPath)) {
		if node, ok := e.sim.Get(path.Join(electionPath, name)); ok { // else it has gone this moment, and the next is first
			return election.Participant{ID: string(node.Data), Path: node.Path, Token: node.Stat.Czxid,
				SessionID: node.Stat.EphemeralOwner, Leader: true}
		}
	}
	return election.Participant{}
}

// ExpireSession ends a session as if its client had not been heard of for the session timeout: its znodes go, and its
// candidates stand again at the back. A term ends with [election.ErrNodeDeleted] or [election.ErrSessionExpired],
// whichever the client hears of first; a service should not care. The id comes from [Ensemble.Leader],
// [election.Candidate.Status] or [election.Client.Participants].
//
// On a real ensemble no session ends under a client that is in touch, so this is as sudden as a znode that is deleted
// by hand: the successor may learn of it a moment before the old leader does. Use [Ensemble.Cut] where that matters.
// It ends the test when there is no such session.
func (e *Ensemble) ExpireSession(id int64) {
	e.tb.Helper()
	if !e.sim.ExpireSession(id) {
		e.tb.Fatalf("electiontest: there is no session %#x", id)
	}
}

// TakeLeadership deletes the znode of whoever is first in line at an election's path, as an operator may, and
// returns who that was. Its term ends with [election.ErrNodeDeleted]; it keeps its session and stands again at the
// back. As with [Ensemble.ExpireSession], the successor may learn of it a moment sooner. It ends the test when
// nobody stands there.
func (e *Ensemble) TakeLeadership(electionPath string) election.Participant {
	e.tb.Helper()
	leader := e.Leader(electionPath)
	err := fmt.Errorf("nobody stands at %s", electionPath)
	if leader.Path != "" {
		err = e.sim.Delete(leader.Path)
	}
	if err != nil {
		e.tb.Fatalf("electiontest: take leadership: %v", err)
	}
	return leader
}

// Cut takes a client's network away: nothing arrives either way, and no connection is closed, as when a machine is
// switched off. A leader's lease runs out, its term ends with [election.ErrLeaseExpired], and after the session
// timeout the next one leads: never sooner, so this is how to test that two do not overlap.
func (e *Ensemble) Cut(client string) { e.sim.Unplug(client) }

// Heal gives it back. What had been sent meanwhile arrives, unless the connection was given up.
func (e *Ensemble) Heal(client string) { e.sim.Plug(client) }
