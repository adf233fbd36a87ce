package sim

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// runOnce leads under Run until its context is cancelled, and waits for Run.
func runOnce(s story, x *election.Candidate) {
	ctx, cancel := context.WithCancel(s.Context())
	err := x.Run(ctx, func(context.Context, *election.Term) error { cancel(); return nil })
	require.ErrorIs(s, err, context.Canceled)
	require.False(s, x.HasLeadership(), "Run has returned")
}

// leave closes a candidate and waits for its work and its callbacks, for which its client
// does not wait.
func leave(s story, x *election.Candidate) {
	require.NoError(s, x.Close())
	time.Sleep(2 * time.Minute)
}

// slowToHear makes the end of a candidate's terms slow.
func slowToHear() election.Option {
	return election.WithListener(election.ListenerFuncs{
		OnNotLeader: func(*election.Term) { time.Sleep(50 * time.Millisecond) }})
}

// A program may end as soon as Run returns.
func TestRunHasLeftTheLineWhenItReturns(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"))
		for range 10 {
			runOnce(s, x)
			require.Empty(s, s.e.Children(job))
		}
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		require.ErrorIs(s, x.Run(ctx, func(context.Context, *election.Term) error {
			s.e.Freeze(1)
			cancel()
			return nil
		}), context.Canceled)
		require.Len(s, s.e.Children(job), 1, "it is not waited for when ZooKeeper does not answer")
		s.e.Thaw(1)
		time.Sleep(time.Minute)
		require.Empty(s, s.e.Children(job))
	})
}

func TestACandidateComesBackAfterRunHoweverSoonItIsAsked(t *testing.T) {
	for name, again := range map[string]func(s story, x *election.Candidate){
		"Start": func(s story, x *election.Candidate) { require.NoError(s, x.Start(s.Context())) },
		"Await": func(s story, x *election.Candidate) {
			term, err := x.Await(s.Context())
			require.NoError(s, err)
			time.Sleep(time.Minute)
			assert.NoError(s, term.Err())
		},
		"Run": func(s story, x *election.Candidate) {
			go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error { <-ctx.Done(); return nil })
		},
	} {
		for _, told := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				tell(t, func(s story) {
					x := s.candidate(s.client("a"), slowToHear())
					runOnce(s, x)
					if told {
						synctest.Wait()
						require.Equal(s, election.StateStopping, x.Status().State,
							"the story is about the time in which the end is told")
					}
					again(s, x)
					time.Sleep(time.Minute)
					term := x.Term()
					require.NotNil(s, term, x.Status().String())
					time.Sleep(time.Minute)
					assert.NoError(s, term.Err(), "a quiet minute has one term")
					leave(s, x)
				})
			})
		}
	}
}

// A candidate that gives up its term goes to the back of the line, even if it is started
// again before its work has stopped.
func TestWhoComesBackAfterRunStandsBehindTheNext(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"), slowToHear())
		y := s.candidate(s.client("b"))
		ctx, cancel := context.WithCancel(s.Context())
		require.ErrorIs(s, x.Run(ctx, func(context.Context, *election.Term) error {
			defer cancel()
			return y.Start(ctx)
		}), context.Canceled)
		require.NoError(s, x.Start(s.Context()))
		time.Sleep(time.Minute)
		assert.True(s, y.HasLeadership(), x.Status().String())
		assert.Equal(s, 2, x.Status().Place)
		leave(s, x)
	})
}

func TestALeaderWhoseHealthCheckFailsHandsOnEvenIfItIsWellBeforeItsWorkHasStopped(t *testing.T) {
	tell(t, func(s story) {
		var sick atomic.Bool
		x := s.candidate(s.client("a"), election.WithHealthCheck(time.Second, func(context.Context) error {
			if sick.Load() {
				return errors.New("sick")
			}
			return nil
		}))
		go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			return nil
		})
		time.Sleep(3 * time.Second)
		y := s.start(s.client("b"))
		term := x.Term()
		require.NotNil(s, term)
		sick.Store(true)
		<-term.Done()
		sick.Store(false)
		require.ErrorIs(s, term.Err(), election.ErrUnhealthy)
		time.Sleep(time.Minute)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, 2, x.Status().Place)
		leave(s, x)
	})
}

// Two candidates of one client have the same ID and names without a UUID, and the
// connection breaks during both creates. Nothing in ZooKeeper says which znode belongs to
// which candidate.
func TestCandidatesThatNothingTellsApartDoNotHoldOneZnode(t *testing.T) {
	for _, replies := range []int32{1, 2} {
		tell(t, func(s story) {
			require.NoError(s, s.e.Create(job, nil))
			var lost atomic.Int32
			defer s.e.OnReply(func(r zksim.Reply) bool { return r.Op == jute.OpCreate && lost.Add(1) <= replies })()
			a := s.client("a")
			alike := []election.Option{election.WithNaming(election.ZooKeeperRecipe), election.WithID("same")}
			x, y := s.candidate(a, alike...), s.candidate(a, alike...)
			go x.Start(s.Context())
			go y.Start(s.Context())
			time.Sleep(20 * time.Second)
			assert.NotEqual(s, x.HasLeadership(), y.HasLeadership(), "%v; %v", x.Status(), y.Status())
			assert.Len(s, s.e.Children(job), 2)
			require.NoError(s, x.Close())
			require.NoError(s, y.Start(s.Context()))
			time.Sleep(20 * time.Second)
			assert.True(s, y.HasLeadership(), y.Status().String())
			assert.Len(s, s.e.Children(job), 1)
		})
	}
}

// An answer that comes at the moment of the context's end counts.
func TestGuardTellsAnAnswerFromNone(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create("/data", nil))
		term, err := s.candidate(s.client("a")).Await(s.Context())
		require.NoError(s, err)
		var end atomic.Pointer[context.CancelFunc]
		defer s.e.OnReply(func(r zksim.Reply) bool {
			if cancel := end.Load(); cancel != nil && r.Op == jute.OpMulti {
				go (*cancel)()
			}
			return false
		})()
		for range 2000 {
			ctx, cancel := context.WithCancel(s.Context())
			end.Store(&cancel)
			_, err := term.Guard(ctx, &zk.SetDataRequest{Path: "/data", Version: 77})
			cancel()
			if !errors.Is(err, context.Canceled) {
				require.EqualError(s, err, "election: Guard: operation 0: "+zk.ErrBadVersion.Error())
			}
			synctest.Wait()
		}
	})
}

func TestGuardOfTooMuchSaysThatNothingWasSent(t *testing.T) {
	tell(t, func(s story) {
		term, err := s.candidate(s.client("a")).Await(s.Context())
		require.NoError(s, err)
		_, err = term.Guard(s.Context(), &zk.CreateRequest{Path: "/big", Data: make([]byte, 2<<20),
			Acl: zk.WorldACL(zk.PermAll)})
		require.ErrorIs(s, err, zk.ErrShortBuffer)
		require.ErrorContains(s, err, "nothing was sent")
		require.NotErrorIs(s, err, election.ErrDisconnected)
		assert.NoError(s, term.Err())
	})
}

func TestShutdownTellsThatItsClientWasClosedFirst(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		x := s.candidate(a)
		began := make(chan struct{})
		go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			close(began)
			<-ctx.Done()
			time.Sleep(time.Minute)
			return nil
		})
		<-began
		left := make(chan error, 1)
		go func() { left <- x.Shutdown(s.Context()) }()
		synctest.Wait()
		require.NoError(s, a.Close())
		require.ErrorIs(s, <-left, election.ErrClosed, "its work runs still")
		require.NoError(s, x.Shutdown(s.Context()))
		time.Sleep(2 * time.Minute)
	})
}

func TestResignOfAClosedCandidateSaysSo(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"))
		err := x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			require.NoError(s, x.Close())
			assert.ErrorIs(s, x.Resign(ctx), election.ErrClosed)
			assert.ErrorIs(s, x.Resign(s.Context()), election.ErrClosed)
			return nil
		})
		require.ErrorIs(s, err, election.ErrClosed)
		require.ErrorIs(s, x.Resign(s.Context()), election.ErrClosed)
	})
}

func TestAListenerThatIsRemovedIsToldNothingMore(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.client("a"))
		var began, told atomic.Int32
		remove := x.AddListener(election.ListenerFuncs{
			OnIsLeader:  func(*election.Term) { began.Add(1); time.Sleep(time.Minute) },
			OnNotLeader: func(*election.Term) { told.Add(1) },
		})
		_, err := x.Await(s.Context())
		require.NoError(s, err)
		synctest.Wait()
		require.EqualValues(s, 1, began.Load())
		require.NoError(s, x.Resign(s.Context())) // the notification of its end waits for the callback that runs
		remove()
		time.Sleep(time.Hour)
		assert.True(s, x.HasLeadership(), "again")
		assert.EqualValues(s, 1, began.Load())
		assert.Zero(s, told.Load())
	})
}

func TestAClosedClientsZnodesGoWithItsSession(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		for range 10 {
			s.start(a)
		}
		var deletes atomic.Int32
		defer s.e.OnReply(func(r zksim.Reply) bool {
			if r.Op == jute.OpDelete {
				deletes.Add(1)
			}
			return false
		})()
		time.Sleep(time.Minute)
		require.NoError(s, a.Close())
		assert.Empty(s, s.e.Children(job))
		assert.Zero(s, deletes.Load(), "znodes removed one by one")
	})
}

func TestTracesHearOfTheEndWhenTheClientIsClosed(t *testing.T) {
	tell(t, func(s story) {
		var heard election.State
		a := s.client("a", election.WithTrace(&election.Trace{StateChanged: func(info election.StateChangedInfo) {
			if info.ID == "x" {
				heard = info.To
			}
		}}))
		s.start(a)
		x := s.start(a, election.WithID("x"))
		time.Sleep(time.Minute)
		require.NoError(s, a.Close())
		synctest.Wait()
		assert.Equal(s, election.StateClosed, x.Status().State)
		assert.Equal(s, election.StateClosed, heard)
		assert.Equal(s, time.Now(), x.Status().Since)
	})
}

func TestStatusKnowsSinceWhenACandidateHasBeenIdle(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		p.pull()
		x := s.candidate(s.adopt(p.Dial, election.WithAuth("digest", []byte("u:p"))))
		made := time.Now()
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		require.ErrorIs(s, x.Start(ctx), context.DeadlineExceeded)
		assert.Equal(s, election.StateIdle, x.Status().State)
		assert.Equal(s, made, x.Status().Since)
	})
}

// halting is a connection that waits for something before its first read of a znode.
type halting struct {
	net.Conn
	before func()
}

func (c halting) Write(b []byte) (int, error) {
	if len(b) > 12 && jute.Op(binary.BigEndian.Uint32(b[8:])) == jute.OpGetData {
		c.before()
	}
	return c.Conn.Write(b)
}

func TestLeaderFindsSomebodyWhereSomebodyStandsAtEveryMoment(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		first, second := s.start(a), s.candidate(a)
		// All listed candidates leave before they are read, and another one has come before that.
		swap := sync.OnceFunc(func() {
			require.NoError(s, second.Start(s.Context()))
			require.NoError(s, first.Shutdown(s.Context()))
		})
		reader := s.client("reader", election.WithDialer(func(network, address string,
			timeout time.Duration) (net.Conn, error) {
			conn, err := s.e.DialerFor("reader")(network, address, timeout)
			return halting{conn, swap}, err
		}))
		p, err := reader.Leader(s.Context(), job)
		require.NoError(s, err)
		assert.Equal(s, second.Status().ID, p.ID)
	})
}

func TestAClientWithoutASessionLogsNoneThatExpired(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		p.pull()
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		s.adopt(p.Dial, election.WithClientLogger(log))
		time.Sleep(10 * time.Second)
		p.putBack()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.NotContains(s, said.String(), "expired")
		assert.Contains(s, said.String(), "zookeeper session up")
	})
}

func TestADialerThatReturnsNothingIsAnError(t *testing.T) {
	nothing := election.WithDialer(func(string, string, time.Duration) (net.Conn, error) { return nil, nil })
	for _, opts := range [][]election.ClientOption{{nothing}, {nothing, election.WithTLS(&tls.Config{})}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := election.Connect(ctx, "zk:2181", append(opts, election.WithClientLogger(quiet))...)
			require.ErrorContains(t, err, "neither a connection nor an error")
			time.Sleep(10 * time.Second)
		})
	}
}
