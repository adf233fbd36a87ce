package sim

import (
	"context"
	"errors"
	"os"
	"runtime"
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

func TestOverrunIsCalledOnceAndOnlyForWorkThatOutstaysItsGrace(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		calls int32
	}{{"in time", 59 * time.Second, 0}, {"late", 2 * time.Hour, 1}} {
		t.Run(c.name, func(t *testing.T) {
			tell(t, func(s story) {
				var calls atomic.Int32
				var called time.Time
				var overran atomic.Pointer[election.Term]
				x := s.candidate(s.client("a"), election.WithOverrun(time.Minute, func(term *election.Term) {
					if term == overran.Load() {
						called = time.Now()
						calls.Add(1) // after called, which is read after calls
					}
				}))
				go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
					<-ctx.Done()
					time.Sleep(c.takes)
					return nil
				})
				time.Sleep(time.Second)
				y := s.start(s.client("b"))
				require.True(s, x.HasLeadership())
				overran.Store(x.Term())
				ended := time.Now()
				require.NoError(s, s.e.Delete(x.Status().Znode))
				time.Sleep(time.Hour)
				assert.Equal(s, c.calls, calls.Load())
				if c.calls > 0 {
					assert.Equal(s, time.Minute, called.Sub(ended))
					assert.Equal(s, election.StateStopping, x.Status().State,
						"nobody stands again before the work has returned")
					assert.Contains(s, x.Status().String(), "still runs")
				}
				time.Sleep(2 * time.Hour)
				assert.Equal(s, c.calls, calls.Load())
				assert.Equal(s, 2, x.Status().Place)
				assert.True(s, y.HasLeadership())
			})
		})
	}
}

// A check that panics or takes longer than its interval has failed. The next check waits
// until it has returned.
func TestAHealthCheckThatPanicsOrOverstaysHasFailed(t *testing.T) {
	for name, fail := range map[string]func(){
		"took longer than 1s": func() { time.Sleep(time.Minute) },
		"panicked":            func() { panic("disk on fire") },
		"ended its goroutine": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				var sick, running, overlaps atomic.Bool
				x := s.start(s.client("a"), election.WithHealthCheck(time.Second, func(context.Context) error {
					overlaps.Store(overlaps.Load() || !running.CompareAndSwap(false, true))
					defer running.Store(false)
					if sick.Load() {
						fail()
					}
					return nil
				}))
				term, err := x.Await(s.Context())
				require.NoError(s, err)
				sick.Store(true)
				time.Sleep(3 * time.Second)
				assert.ErrorIs(s, term.Err(), election.ErrUnhealthy)
				assert.Equal(s, election.StateUnhealthy, x.Status().State)
				assert.Contains(s, x.Status().LastError, name)
				assert.Empty(s, s.e.Children(job))
				sick.Store(false)
				time.Sleep(2 * time.Minute)
				assert.True(s, x.HasLeadership())
				assert.Empty(s, x.Status().LastError)
				assert.False(s, overlaps.Load())
			})
		})
	}
}

func TestAListenerAddedWhileLeadingIsToldAtOnceAndOneRemovedNoMore(t *testing.T) {
	tell(t, func(s story) {
		x := s.start(s.client("a"))
		var gone, late []string
		note := func(to *[]string) election.Listener {
			return election.ListenerFuncs{
				OnIsLeader:  func(*election.Term) { *to = append(*to, "leads") },
				OnNotLeader: func(*election.Term) { *to = append(*to, "leads no more") }}
		}
		removeGone := x.AddListener(note(&gone))
		synctest.Wait()
		removeGone()
		removeGone()
		remove := x.AddListener(note(&late))
		x.AddListener(nil)()
		synctest.Wait()
		require.NoError(s, x.Close())
		synctest.Wait()
		remove()
		assert.Equal(s, []string{"leads"}, gone)
		assert.Equal(s, []string{"leads", "leads no more"}, late)
	})
}

func TestANewSessionFollowsAnExpiredOneWithoutAPause(t *testing.T) {
	tell(t, func(s story) {
		x := s.start(s.client("a"))
		for range 10 {
			term, err := x.Await(s.Context())
			require.NoError(s, err)
			require.True(s, s.e.ExpireSession(x.Status().SessionID))
			began := time.Now()
			<-term.Done()
			_, err = x.Await(s.Context())
			require.NoError(s, err)
			require.Less(s, time.Since(began), time.Second/2,
				"the driver's pause between rounds of attempts is a second")
			time.Sleep(time.Minute)
		}
	})
}

// The session of the guarded term has ended, and the client already has another one.
func TestGuardAfterTheSessionExpiredSaysThatTheTermIsOver(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create("/data", nil))
		x := s.start(s.client("a"))
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		require.True(s, s.e.ExpireSession(x.Status().SessionID))
		_, err = term.Guard(s.Context(), &zk.SetDataRequest{Path: "/data", Version: -1})
		require.Error(s, err, "over, or no answer: it depends on what the connection's end comes to first")
		time.Sleep(20 * time.Second)
		require.True(s, x.HasLeadership())
		_, err = term.Guard(s.Context(), &zk.SetDataRequest{Path: "/data", Version: -1})
		require.ErrorIs(s, err, election.ErrTermOver)
		node, _ := s.e.Get("/data")
		assert.Zero(s, node.Stat.Version)
	})
}

// A candidate that is neither first nor second costs the session's pings, and every half
// to one session timeout a check of its own znode, of the one ahead and of the first one.
func TestAnIdleFollowerCostsPingsAndASlowTick(t *testing.T) {
	tell(t, func(s story) {
		s.start(s.client("a"))
		s.start(s.client("b"))
		s.start(s.client("c"))
		time.Sleep(time.Minute)
		asked := map[jute.Op]int{}
		remove := s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "c" {
				asked[r.Op]++
			}
			return false
		})
		time.Sleep(10 * time.Minute)
		remove()
		const timeouts = 60 // of 10 s
		looks := asked[jute.OpExists]
		assert.GreaterOrEqual(s, looks, 3*timeouts)
		assert.LessOrEqual(s, looks, 3*2*timeouts)
		delete(asked, jute.OpExists)
		delete(asked, jute.OpPing)
		assert.Empty(s, asked, "nothing else")
	})
}

func TestDefaultsAreThoseOfTheDocs(t *testing.T) {
	tell(t, func(s story) {
		open := s.start(s.client("a"))
		host, err := os.Hostname()
		require.NoError(s, err)
		assert.True(s, strings.HasPrefix(open.Status().ID, host+"-"))
		assert.Regexp(s, `/_c_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-latch-\d{10}$`, open.Status().Znode)
		assert.Equal(s, election.DefaultSessionTimeout, open.Status().Timeout)

		secret := s.client("b", election.WithAuth("digest", []byte("user:word")))
		closed := s.start(secret)
		listed := s.start(secret, election.WithACL(zk.WorldACL(zk.PermRead|zk.PermDelete)))
		conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
			zk.WithDialer(s.e.DialerFor("eyes")), zk.WithLogInfo(false), zk.WithLogger(mute{}),
			zk.WithHostProvider(new(asGiven)))
		require.NoError(s, err)
		defer conn.Close()
		time.Sleep(time.Second)
		for cand, want := range map[*election.Candidate][]zk.ACL{
			open:   zk.WorldACL(zk.PermAll),
			closed: {zk.DigestACL(zk.PermAll, "user", "word")[0], zk.WorldACL(zk.PermRead)[0]},
			listed: zk.WorldACL(zk.PermRead | zk.PermDelete),
		} {
			acl, _, err := conn.GetACL(cand.Status().Znode)
			require.NoError(s, err)
			assert.ElementsMatch(s, perms(want), perms(acl))
		}
	})
}

// perms returns the ACL without the digests, which a server masks for readers without
// ADMIN.
func perms(acl []zk.ACL) []int32 {
	all := make([]int32, len(acl))
	for i, a := range acl {
		all[i] = a.Perms
	}
	return all
}

// A candidate that has no znode leaves at once, connected or not. Close does not report
// otherwise in the moment between the decision and the end of the owner goroutine.
func TestClose_WithoutAConnectionAndWithoutAZnodeIsNoError(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		s.e.Cut("a", zksim.ServerName(1))
		time.Sleep(20 * time.Second) // until the client knows
		for range 300 {
			var calls sync.WaitGroup
			for range 20 {
				x := s.candidate(c)
				calls.Go(func() { assert.ErrorIs(s, x.Start(s.Context()), election.ErrClosed) })
				calls.Go(func() {
					for x.Status().State != election.StateJoining {
						time.Sleep(time.Millisecond)
					}
					assert.NoError(s, x.Close())
				})
			}
			calls.Wait()
		}
	})
}

// A closing client has two candidates of one election, and a slow callback takes all the
// time that closing allows.
func TestNoTermBeginsOnAClientThatCloses(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		slowly := election.ListenerFuncs{OnNotLeader: func(*election.Term) { time.Sleep(50 * time.Millisecond) }}
		elsewhere, err := election.NewCandidate(a, "/elsewhere", election.WithListener(slowly))
		require.NoError(s, err)
		_, err = elsewhere.Await(s.Context())
		require.NoError(s, err)
		s.start(a)
		second := s.start(a, election.WithListener(election.ListenerFuncs{
			OnIsLeader: func(*election.Term) { s.Error("a term began") }}))
		successor := s.start(s.client("b"), election.WithListener(election.ListenerFuncs{
			OnIsLeader: func(*election.Term) { assert.False(s, second.HasLeadership()) }}))
		time.Sleep(20 * time.Second)
		require.NoError(s, a.Close())
		time.Sleep(time.Second)
		assert.True(s, successor.HasLeadership())
		st := second.Status()
		assert.Empty(s, st.Znode)
		assert.Zero(s, st.LeaseEnd)
		assert.False(s, st.Connected)
		assert.Equal(s, election.StateClosed, st.State)
	})
}

// Without the permission to list, a candidate may not take part, whichever answer comes
// first.
func TestStartWithoutPermissionToListIsNotRetried(t *testing.T) {
	tell(t, func(s story) {
		conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
			zk.WithDialer(s.e.DialerFor("operator")), zk.WithLogInfo(false), zk.WithLogger(mute{}),
			zk.WithHostProvider(new(asGiven)))
		require.NoError(s, err)
		defer conn.Close()
		time.Sleep(time.Second)
		_, err = conn.Create(job, nil, 0, zk.WorldACL(zk.PermAll&^zk.PermRead))
		require.NoError(s, err)
		a := s.client("a")
		for range 50 {
			err := s.candidate(a).Start(s.Context())
			require.ErrorIs(s, err, zk.ErrNoAuth)
		}
		time.Sleep(time.Second)
		assert.Empty(s, s.e.Children(job))
	})
}

// Start waits for the znode of a candidate that has taken part before and has no znode
// now, as for any other.
func TestStartWaitsForAZnodeThatIsThereNow(t *testing.T) {
	for name, lose := range map[string]func(s story, x *election.Candidate, sick *atomic.Bool){
		"its health check fails": func(s story, x *election.Candidate, sick *atomic.Bool) {
			sick.Store(true)
			time.AfterFunc(time.Minute, func() { sick.Store(false) })
		},
		"its work still runs": func(s story, x *election.Candidate, _ *atomic.Bool) {
			go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				time.Sleep(time.Minute)
				return nil
			})
			synctest.Wait()
			require.NoError(s, s.e.Delete(x.Status().Znode))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				var sick atomic.Bool
				x := s.start(s.client("a"), election.WithHealthCheck(time.Second, func(context.Context) error {
					if sick.Load() {
						return errors.New("sick")
					}
					return nil
				}))
				lose(s, x, &sick)
				time.Sleep(5 * time.Second)
				require.Empty(s, s.e.Children(job))
				ctx, cancel := timeoutContext(10 * time.Second)
				defer cancel()
				require.ErrorIs(s, x.Start(ctx), context.DeadlineExceeded)
				require.NoError(s, x.Start(s.Context()))
				require.Len(s, s.e.Children(job), 1)
				leave(s, x)
			})
		})
	}
}

func TestWhatIsWrongNowIsSaidInOneLine(t *testing.T) {
	tell(t, func(s story) {
		refused := &plug{dial: s.e.DialerFor("a"), out: true}
		time.AfterFunc(time.Second, refused.putBack)
		a := s.client("a", election.WithDialer(refused.Dial))
		sick := errors.Join(errors.New("no disk"), errors.New("no memory"))
		x := s.candidate(a, election.WithID("x\n\x1b[2J"),
			election.WithHealthCheck(time.Minute, func(context.Context) error { return sick }))
		ctx, cancel := timeoutContext(time.Second)
		defer cancel()
		err := x.Start(ctx)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		require.ErrorIs(s, err, election.ErrUnhealthy)
		go x.Start(s.Context()) // until its client is closed
		synctest.Wait()
		require.Equal(s, "x  [2J at /job: does not lead: its health check fails; "+
			"last error: election: unhealthy: no disk no memory",
			x.Status().String())

		y := s.start(s.client("b"), election.WithID("y\ny"))
		z := s.start(a)
		synctest.Wait()
		require.Contains(s, z.Status().String(), "behind y y (/job/")
		require.Contains(s, z.Status().Ahead.String(), "y y (/job/")
		require.Contains(s, y.Term().String(), "term of y y at /job, token ")
		require.NoError(s, y.Close())

		time.Sleep(time.Hour)
		s.e.Cut("a", zksim.ServerName(1))
		for z.Status().Connected {
			time.Sleep(time.Millisecond)
		}
		require.NotContains(s, z.Status().LastError, "unplugged", "an hour ago")
	})
}

func TestResignOutOfWorkWithinOtherWork(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		outer := s.candidate(c)
		inner, err := election.NewCandidate(c, "/another")
		require.NoError(s, err)
		ctx, cancel := context.WithCancel(s.Context())
		require.ErrorIs(s, outer.Run(ctx, func(ctx context.Context, _ *election.Term) error {
			return inner.Run(ctx, func(ctx context.Context, t *election.Term) error {
				defer cancel()
				assert.NoError(s, outer.Resign(ctx))
				assert.ErrorIs(s, ctx.Err(), context.Canceled)
				return nil
			})
		}), context.Canceled)
	})
}
