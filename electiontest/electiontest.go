// Package electiontest is a ZooKeeper in memory, for the tests of services that elect their
// leader with package [election]. A test ends a session, takes leadership away or cuts a
// client off, and then lets virtual time pass:
//
//	synctest.Test(t, func(t *testing.T) {
//		zk := electiontest.New(t)
//		a, b := startService(t, zk, "a"), startService(t, zk, "b")  // with zk.Dialer and zk.ConnectString
//		time.Sleep(time.Minute)                                     // takes no time in a bubble
//		zk.ExpireSession(zk.Leader("/nightly-job").SessionID)
//		time.Sleep(time.Minute)
//		// … the work of the old leader has stopped, and the other replica works
//	})
//
// It also works outside of a bubble of [testing/synctest], in real time. Use [WithTick]
// there to make sessions short. [Start] is for programs that are not tests.
//
// The methods of [Servers] cause single faults: they end a session, depose a leader, cut a
// network or stop a server. A [Rival] is a candidate that does not belong to the service.
// [Chaos] causes hours of random faults, and checks that the service never works twice at
// once and that no token goes back.
//
// # Why it is here
//
// A service can do the wrong thing when a term ends. The end of a term is rare in production
// and hard to provoke on a real server. Many services therefore put an interface in front of
// the election, and test with a mock. But a mock behaves as its author thinks that an
// election behaves, and the author may be wrong: a term may come back under the same token,
// its context ends before anyone else leads, and [election.Candidate.Run] waits for the
// work. With this package your service uses the real [election.Client] and
// [election.Candidate]. They speak ZooKeeper's protocol to the servers on which the library
// itself is tested.
//
// # Why it is thin
//
// The servers come from internal/zksim, which tests the library itself: replies that are lost
// after their commit, links that are cut in one direction, slow disks, frozen servers. For a
// service, each of these faults has one of four effects: its session ends, it loses its
// place in line, it is cut off for a while, or nothing happens. The library's own tests
// check that there is no fifth effect, so a service's tests need not name those faults.
// [Chaos] causes them at random. zksim stays internal, so it can change.
//
// # What it is not
//
// It stores nothing and is not a server for production. It cannot show how a service behaves
// with the ACLs, TLS, load or latency of its ensemble. Keep one test on a real ensemble for
// that.
package electiontest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/zkelection/election"
)

// Ensemble is [Servers] for a test. If a method fails, it ends the test instead of returning
// an error. [New] makes an Ensemble. Ensemble also has the methods of Servers that do not
// fail. The field Servers has the methods that return errors.
type Ensemble struct {
	*Servers
	tb testing.TB
}

// New starts an ensemble and stops it when tb ends. In a synctest bubble, pass the
// bubble's own tb. Before tb ends, close everything that connects to the ensemble: with a
// defer, or with a tb.Cleanup that is registered after this call.
func New(tb testing.TB, opts ...Option) *Ensemble {
	tb.Helper()
	s, err := Start(opts...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Close)
	return &Ensemble{s, tb}
}

// ListenTCP is [Servers.ListenTCP]. If it cannot listen, it ends the test.
func (e *Ensemble) ListenTCP() (connectString string) {
	e.tb.Helper()
	at, err := e.Servers.ListenTCP()
	e.must(err)
	return at
}

// ExpireSession is [Servers.ExpireSession]. If there is no such session, it ends the test.
func (e *Ensemble) ExpireSession(id int64) {
	e.tb.Helper()
	e.must(e.Servers.ExpireSession(id))
}

// TakeLeadership is [Servers.TakeLeadership]. If no one takes part, it ends the test.
func (e *Ensemble) TakeLeadership(electionPath string) election.Participant {
	e.tb.Helper()
	leader, err := e.Servers.TakeLeadership(electionPath)
	e.must(err)
	return leader
}

// StopServer is [Servers.StopServer]. If there is no such server, it ends the test.
func (e *Ensemble) StopServer(id int) {
	e.tb.Helper()
	e.must(e.Servers.StopServer(id))
}

// RestartServer is [Servers.RestartServer]. If there is no such server, it ends the test.
func (e *Ensemble) RestartServer(id int) {
	e.tb.Helper()
	e.must(e.Servers.RestartServer(id))
}

// AwaitLeader is [Servers.AwaitLeader]. It waits for ten minutes, or until ten seconds
// before the deadline of the test if that is sooner, and then ends the test. In a bubble
// the minutes are virtual, and the test's deadline does not count.
func (e *Ensemble) AwaitLeader(electionPath string, ids ...string) election.Participant {
	e.tb.Helper()
	ctx, cancel := e.patience()
	defer cancel()
	leader, err := e.Servers.AwaitLeader(ctx, electionPath, ids...)
	e.must(err)
	return leader
}

// Rival is [Servers.Rival]. It waits as long as [Ensemble.AwaitLeader], and an error ends
// the test.
func (e *Ensemble) Rival(electionPath string, opts ...election.Option) *Rival {
	e.tb.Helper()
	ctx, cancel := e.patience()
	defer cancel()
	r, err := e.Servers.Rival(ctx, electionPath, opts...)
	e.must(err)
	return r
}

func (e *Ensemble) must(err error) {
	e.tb.Helper()
	if err != nil {
		e.tb.Fatalf("%v", err)
	}
}

// patience returns a context for a call that waits. Its error says what ended it.
func (e *Ensemble) patience() (context.Context, context.CancelFunc) {
	const most, reserve = 10 * time.Minute, 10 * time.Second
	wait, why := most, fmt.Errorf("%v have passed", most)
	if at, ok := deadline(e.tb); ok && time.Until(at)-reserve < wait {
		wait, why = time.Until(at)-reserve, fmt.Errorf("the deadline of the test is near")
	}
	return context.WithTimeoutCause(context.Background(), wait, why)
}

// deadline returns tb's deadline. There is none in a bubble: the deadline is real, and
// Deadline panics there. No other call tells whether this is a bubble.
func deadline(tb testing.TB) (at time.Time, ok bool) {
	t, has := tb.(interface{ Deadline() (time.Time, bool) })
	if !has {
		return at, false
	}
	defer func() {
		if recover() != nil {
			at, ok = time.Time{}, false
		}
	}()
	return t.Deadline()
}
