package sim

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
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
				x := s.candidate(s.client("a"), election.WithOverrun(time.Minute, func(*election.Term) {
					calls.Add(1)
					called = time.Now()
				}))
				go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
					<-ctx.Done()
					time.Sleep(c.takes)
					return nil
				})
				time.Sleep(time.Second)
				y := s.start(s.client("b"))
				require.True(s, x.HasLeadership())
				ended := time.Now()
				require.NoError(s, s.e.Delete(x.Status().Znode))
				time.Sleep(time.Hour)
				assert.Equal(s, c.calls, calls.Load())
				if c.calls > 0 {
					assert.Equal(s, time.Minute, called.Sub(ended))
					assert.Equal(s, election.StateStopping, x.Status().State, "nobody stands again before the work has returned")
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

// A check that panics or outstays its interval has failed; the next waits until it has returned.
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
			require.Less(s, time.Since(began), time.Second/2, "the driver's pause between rounds of attempts is a second")
			time.Sleep(time.Minute)
		}
	})
}

// The session of a term that Guard asks about has ended, and the client has another by then.
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

// Who is neither first nor second costs the session's pings, and a look at its own znode, the one ahead and the first one
// between every half and whole session timeout.
func TestAnIdleFollowerCostsPingsAndASlowTick(t *testing.T) {
	tell(t, func(s story) {
		s.start(s.client("a"))
		s.start(s.client("b"))
		s.start(s.client("c"))
		time.Sleep(time.Minute)
		asked := map[zksim.Op]int{}
		remove := s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "c" {
				asked[r.Op]++
			}
			return false
		})
		time.Sleep(10 * time.Minute)
		remove()
		const timeouts = 60 // of 10 s
		looks := asked[zksim.OpExists]
		assert.GreaterOrEqual(s, looks, 3*timeouts)
		assert.LessOrEqual(s, looks, 3*2*timeouts)
		delete(asked, zksim.OpExists)
		delete(asked, zksim.OpPing)
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
			zk.WithDialer(s.e.DialerFor("eyes")), zk.WithLogInfo(false), zk.WithLogger(mute{}), zk.WithHostProvider(new(asGiven)))
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

// perms leaves out the digests, which a server shows masked to those who are not admins.
func perms(acl []zk.ACL) []int32 {
	all := make([]int32, len(acl))
	for i, a := range acl {
		all[i] = a.Perms
	}
	return all
}
