package driver_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

const path = "/job"

// host notes what it is told. A term's work stops at once.
type host struct {
	d     *driver.Driver
	calls []string
	term  uint64
	began []string // the znodes of the terms
}

func (h *host) note(call string) { h.calls = append(h.calls, call) }

func (h *host) BeginTerm(b machine.BeginTerm, _ session.Belief, publish func(func())) {
	publish(func() { h.term = b.Term })
	h.began = append(h.began, b.Node)
	h.note("begin")
}

func (h *host) EndTerm(machine.Reason) {
	h.d.Post(machine.Stopped{Term: h.term})
	h.note("end")
}

func (h *host) Moved(_, to machine.State)            { h.note(to.String()) }
func (h *host) LeaseShortened()                      {}
func (h *host) Retrying(error, time.Duration, int)   {}
func (h *host) Evicted(queue.Member)                 { h.note("evicted") }
func (h *host) Log(slog.Level, string, ...any)       {}
func (h *host) Report(text string)                   { h.note("fault: " + text) }
func (h *host) Flush()                               {}
func (h *host) SessionEnding() bool                  { return false }
func (h *host) Ended()                               { h.note("ended") }
func (h *host) calledInOrder(t *testing.T, s string) { assert.Equal(t, s, strings.Join(h.calls, " ")) }

// drive calls test with the driver of a candidate, in virtual time.
func drive(t *testing.T, test func(t *testing.T, e *zksim.Ensemble, s *session.Session, d *driver.Driver, h *host)) {
	synctest.Test(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{})
		defer e.Close()
		s, err := session.Dial(session.Config{Servers: strings.Split(e.ConnectString(), ","), Timeout: 10 * time.Second,
			Dialer: func(context.Context) zk.Dialer { return e.Dialer() }, Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer s.Close()
		require.NoError(t, s.Wait(t.Context()))

		h := &host{}
		h.d = driver.NewDriver(driver.Config{Host: h, Session: s, Machine: machine.Config{Strict: true},
			Entry: &queue.Entry{Session: s, Path: path, Prefix: "n-", Unique: true, ACL: zk.WorldACL(zk.PermAll),
				Claims: queue.NewClaims()},
			Jitter: rand.New(rand.NewPCG(1, 2))})
		test(t, e, s, h.d, h)
	})
}

func admit() error { return nil }

// start launches a candidate and waits until it leads.
func start(t *testing.T, d *driver.Driver) {
	d.BeginStart()
	defer d.EndStart()
	require.NoError(t, d.Launch(admit))
	require.NoError(t, d.Send(t.Context(), machine.Start{}))
	require.NoError(t, d.Wait(t.Context(), func(v driver.View) (bool, error) { return v.State == machine.Leading, nil }))
}

func TestACandidateLeadsAndLeavesForGood(t *testing.T) {
	drive(t, func(t *testing.T, e *zksim.Ensemble, _ *session.Session, d *driver.Driver, h *host) {
		assert.Equal(t, driver.Resting, d.Life())
		start(t, d)
		assert.Equal(t, driver.Running, d.Life())
		var term uint64
		assert.Equal(t, machine.Leading, d.View(func() { term = h.term }).State)
		assert.NotZero(t, term, "what is published with a view is seen with it")
		assert.Len(t, e.Children(path), 1)

		d.BeginClosing()
		assert.Equal(t, driver.Closing, d.Life())
		require.NoError(t, d.Send(t.Context(), machine.Close{}))
		<-d.Context().Done()
		assert.Equal(t, driver.Closed, d.Life())
		assert.Empty(t, e.Children(path))
		assert.False(t, d.View(nil).Aborted)
		h.calledInOrder(t, "joining elected leading begin stopping end leaving closed ended")
	})
}

func TestACandidateWhoseSessionIsClosedIsAborted(t *testing.T) {
	drive(t, func(t *testing.T, _ *zksim.Ensemble, s *session.Session, d *driver.Driver, h *host) {
		start(t, d)
		s.Close()
		<-d.Context().Done()
		assert.True(t, d.View(nil).Aborted)
		h.calledInOrder(t, "joining elected leading begin stopping end closed ended")
	})
}

func TestOneThatWasNeverLaunchedIsClosedAtOnce(t *testing.T) {
	drive(t, func(t *testing.T, _ *zksim.Ensemble, _ *session.Session, d *driver.Driver, h *host) {
		d.BeginClosing()
		assert.Equal(t, driver.Closed, d.Life())
		assert.ErrorIs(t, d.Launch(func() error { panic("it is asked nothing") }), session.ErrClosed)
		assert.ErrorIs(t, d.Send(t.Context(), machine.Start{}), session.ErrClosed)
		assert.ErrorIs(t, d.Wait(t.Context(), func(driver.View) (bool, error) { return false, nil }), session.ErrClosed)
		assert.Empty(t, h.calls)
	})
}

func TestALaunchThatIsRefusedMayBeTriedAgain(t *testing.T) {
	drive(t, func(t *testing.T, _ *zksim.Ensemble, _ *session.Session, d *driver.Driver, _ *host) {
		full := errors.New("no room")
		assert.ErrorIs(t, d.Launch(func() error { return full }), full)
		assert.Equal(t, driver.Resting, d.Life())
		start(t, d)
		require.NoError(t, d.Launch(func() error { panic("it is asked once") }))

		d.BeginClosing()
		assert.ErrorIs(t, d.Launch(admit), session.ErrClosed)
	})
}

func TestALaunchThatIsRefusedSinceTheClientIsClosedIsTheEnd(t *testing.T) {
	drive(t, func(t *testing.T, _ *zksim.Ensemble, _ *session.Session, d *driver.Driver, _ *host) {
		assert.ErrorIs(t, d.Launch(func() error { return session.ErrClosed }), session.ErrClosed)
		assert.Equal(t, driver.Closed, d.Life())
	})
}

// A call that gives up undoes the start that it began, unless another call waits or there
// is a znode.
func TestAStartThatNobodyWaitsForIsUndone(t *testing.T) {
	drive(t, func(t *testing.T, e *zksim.Ensemble, _ *session.Session, d *driver.Driver, _ *host) {
		e.Unplug("client")
		for range 2 {
			assert.Zero(t, d.BeginStart())
		}
		require.NoError(t, d.Launch(admit))
		require.NoError(t, d.Send(t.Context(), machine.Start{}))
		d.EndStart()
		synctest.Wait()
		assert.True(t, d.View(nil).Started, "the other call waits")
		d.EndStart()
		synctest.Wait()
		assert.False(t, d.View(nil).Started)
	})
}

func TestWhatIsDoneOnTheOwnerComesBeforeItsEvent(t *testing.T) {
	drive(t, func(t *testing.T, _ *zksim.Ensemble, _ *session.Session, d *driver.Driver, h *host) {
		d.BeginStart()
		require.NoError(t, d.Launch(admit))
		d.Do(func() { h.note("first") }, machine.Start{})
		d.Do(func() { h.note("second") }, nil)
		synctest.Wait()
		assert.Equal(t, []string{"first", "joining", "second"}, h.calls[:3])
	})
}

func TestACandidateThatTakesNoPartIsAtRest(t *testing.T) {
	drive(t, func(t *testing.T, e *zksim.Ensemble, _ *session.Session, d *driver.Driver, h *host) {
		for range 3 {
			start(t, d)
			require.NoError(t, d.Send(t.Context(), machine.Withdraw{}))
			synctest.Wait()
			assert.Empty(t, e.Children(path))
			assert.Equal(t, driver.Resting, d.Life())
			require.NoError(t, d.Send(t.Context(), machine.Resign{}), "there is nothing to do")
		}
		h.calls = nil
		d.BeginClosing()
		assert.Equal(t, driver.Closed, d.Life())
		assert.Equal(t, machine.Closed, d.View(nil).State)
		assert.ErrorIs(t, d.Send(t.Context(), machine.Close{}), session.ErrClosed)
		h.calledInOrder(t, "closed")
	})
}

// Starts come at any moment, also at that in which the owner goes to rest.
func TestNoStartIsLostAtTheMomentOfRest(t *testing.T) {
	drive(t, func(t *testing.T, e *zksim.Ensemble, _ *session.Session, d *driver.Driver, _ *host) {
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				for range 100 {
					d.BeginStart()
					assert.NoError(t, d.Launch(admit))
					assert.NoError(t, d.Send(t.Context(), machine.Start{}))
					assert.NoError(t, d.Wait(t.Context(), func(v driver.View) (bool, error) {
						if !v.Started {
							d.Post(machine.Start{})
						}
						return v.Started && v.Node != "", nil
					}))
					d.EndStart()
					assert.NoError(t, d.Send(t.Context(), machine.Withdraw{}))
				}
			})
		}
		calls.Wait()
		time.Sleep(time.Minute)
		assert.Equal(t, driver.Resting, d.Life())
		assert.Empty(t, e.Children(path))
	})
}

// Each watch has a channel of its own, and answers come by the inbox. So the order is lost
// in which the server sent them. The znode of a candidate in line is deleted by hand, and
// then the one ahead goes. If the candidate took the second for news first, it would lead
// for a moment, together with the one behind it.
func TestTheEndOfTheOwnZnodeComesBeforeEverythingThatFollowedIt(t *testing.T) {
	for what, use := range map[string]func(e *zksim.Ensemble, ahead string){
		// The watch is used up, and the candidate reads the znode ahead again.
		"in the answer to WatchAhead": func(e *zksim.Ensemble, ahead string) { assert.NoError(t, e.Set(ahead, []byte("x"))) },
		"in what the watch says":      func(*zksim.Ensemble, string) {},
	} {
		t.Run(what, func(t *testing.T) {
			drive(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session, d *driver.Driver, h *host) {
				const ahead = path + "/a-0000000000"
				require.NoError(t, e.Create(path, nil))
				require.NoError(t, e.Create(ahead, nil))
				d.BeginStart()
				require.NoError(t, d.Launch(admit))
				d.Post(machine.Start{})
				time.Sleep(s.Timeout())
				own := d.View(nil).Node
				require.Equal(t, machine.Following, d.View(nil).State)

				const late = time.Second
				e.Delay(zksim.ServerName(1), "client", late, late)
				use(e, ahead)
				time.Sleep(late / 2)
				require.NoError(t, e.Delete(path+"/"+own))
				require.NoError(t, e.Delete(ahead))

				time.Sleep(late * 3 / 4) // it has asked, and the word of its znode is on its way
				busy := make(chan struct{})
				d.Do(func() { <-busy }, nil)
				time.Sleep(late)
				close(busy)
				time.Sleep(s.Timeout())
				synctest.Wait() // h is the owner's
				assert.NotContains(t, h.began, own, "a term on a znode that was deleted before it came first")
				assert.Len(t, h.began, 1, "with another znode")
			})
		})
	}
}

// The own znode is written while it is read, so that its watch is spent before the answer
// is taken.
func TestAWatchThatIsSpentAtOnceIsSetAgain(t *testing.T) {
	drive(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session, d *driver.Driver, h *host) {
		start(t, d)
		own := path + "/" + d.View(nil).Node
		const late = time.Second
		e.Delay(zksim.ServerName(1), "client", late, late)
		require.NoError(t, e.Set(own, nil))
		time.Sleep(late + late/4) // it has heard of that, and reads the znode again
		busy := make(chan struct{})
		d.Do(func() { <-busy }, nil)
		require.NoError(t, e.Set(own, nil))
		time.Sleep(late + late/4)
		close(busy)
		time.Sleep(late + late/4)

		require.NoError(t, e.Delete(own))
		time.Sleep(late + late/4)
		assert.NotEqual(t, machine.Leading, d.View(nil).State, "the end of the znode was not heard")
	})
}
