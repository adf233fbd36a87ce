package sim

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// sees requires what a Follower knows.
func (s story) sees(f *election.Follower, id string, err error) {
	s.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	p, got := f.Leader()
	require.Equal(s, id, p.ID)
	require.ErrorIs(s, got, err)
	require.Equal(s, err == nil, p.Leader && got == nil)
}

func TestAFollowerKnowsTheLeader(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("watcher")
		f := c.Follow(job)
		s.sees(f, "", election.ErrNoLeader)
		changed := f.Changed()
		first := s.start(s.client("a"), election.WithID("a"))
		<-changed
		s.sees(f, "a", nil)
		s.start(s.client("b"), election.WithID("b"))
		s.sees(f, "a", nil)
		require.NoError(s, first.Shutdown(s.Context()))
		s.sees(f, "b", nil)
		f.Close()
		f.Close()
		s.sees(f, "", election.ErrClosed)
	})
}

func TestAFollowerThatIsCutOffSaysSoAndWhoLedLast(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("watcher")
		f := c.Follow(job)
		first := s.start(s.client("a"), election.WithID("a"))
		s.start(s.client("b"), election.WithID("b"))
		s.sees(f, "a", nil)
		s.e.Unplug("watcher")
		time.Sleep(10 * time.Second)
		p, err := f.Leader()
		require.ErrorIs(s, err, election.ErrDisconnected)
		require.Equal(s, "a", p.ID, "the last one known")
		require.NoError(s, first.Shutdown(s.Context()))
		changed := f.Changed()
		s.e.Plug("watcher")
		<-changed
		time.Sleep(time.Second)
		s.sees(f, "b", nil)
	})
}

func TestAFollowerOfAnOpenedClientWaitsForZooKeeper(t *testing.T) {
	tell(t, func(s story) {
		s.start(s.client("a"), election.WithID("a"))
		c := s.open((&plug{dial: s.e.DialerFor("watcher"), out: true}).Dial)
		s.sees(c.Follow(job), "", election.ErrDisconnected)

		s.e.Unplug("late")
		c = s.open(s.e.DialerFor("late"))
		f := c.Follow(job)
		changed := f.Changed()
		s.sees(f, "", election.ErrDisconnected)
		s.e.Plug("late")
		<-changed
		s.sees(f, "a", nil)
	})
}

func TestFollowersOfOnePathShareItsWatch(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("watcher")
		first := s.start(s.client("a"), election.WithID("a"))
		var reads int
		defer s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "watcher" && r.Path != "" {
				reads++
			}
			return false
		})()
		var all []*election.Follower
		for range 100 {
			all = append(all, c.Follow(job))
		}
		for _, f := range all {
			s.sees(f, "a", nil)
		}
		require.LessOrEqual(s, reads, 3, "one listing, one look, and one more when the session is heard of")
		began := reads
		time.Sleep(time.Hour)
		require.Equal(s, began, reads, "nothing changes, so nothing is asked")
		s.start(s.client("b"), election.WithID("b"))
		require.NoError(s, first.Shutdown(s.Context()))
		for _, f := range all {
			s.sees(f, "b", nil)
		}
		require.LessOrEqual(s, reads, began+3, "the one known is gone, one listing, one look")
		for _, f := range all[1:] {
			f.Close()
		}
		s.sees(all[0], "b", nil)
		require.NoError(s, c.Close())
		s.sees(all[0], "", election.ErrClosed)
		s.sees(c.Follow(job), "", election.ErrClosed)
	})
}

func TestAFollowerOfABadPathNamesIt(t *testing.T) {
	tell(t, func(s story) {
		f := s.client("watcher").Follow("no/path")
		_, err := f.Leader()
		require.ErrorContains(s, err, `path "no/path"`)
		f.Close()
		s.sees(f, "", election.ErrClosed)
		s.sees((*election.Client)(nil).Follow(job), "", election.ErrClosed)
	})
}

func TestLeaderOfAFollowerAllocatesNothing(t *testing.T) {
	tell(t, func(s story) {
		f := s.client("watcher").Follow(job)
		synctest.Wait()
		require.Zero(s, testing.AllocsPerRun(100, func() { f.Leader() }))
	})
}

// A client on a caller's connection cannot end that connection, and so not the requests on
// it either. What follows leaders ends all the same, before Close returns.
func TestFollowersOnACallersConnectionEndWithTheClient(t *testing.T) {
	for name, server := range map[string]func(story){
		"that serves": func(story) {}, "that is silent": func(s story) { s.e.Freeze(1) }, "that is gone": func(s story) { s.e.Crash(1) },
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				s.start(s.client("a"), election.WithID("a"))
				c := s.adopt(s.e.DialerFor("watcher"))
				var all []*election.Follower
				for i := range 500 {
					all = append(all, c.Follow(fmt.Sprint(job, i)), c.Follow(job))
				}
				time.Sleep(2 * time.Second) // the driver pauses before it connects
				s.sees(all[1], "a", nil)
				s.sees(all[0], "", election.ErrNoLeader)
				server(s)
				for i := range 500 { // these are in the middle of their first look
					all = append(all, c.Follow(fmt.Sprint(job, "-late", i)))
				}

				require.NoError(s, c.Close())
				require.Zero(s, goroutines("queue.(*Observer).Run"))
				for _, f := range all {
					_, err := f.Leader()
					require.ErrorIs(s, err, election.ErrClosed)
				}
			})
		})
	}
}

// goroutines counts those that are in a function.
func goroutines(function string) int {
	all := make([]byte, 1<<24)
	return strings.Count(string(all[:runtime.Stack(all, true)]), function+"(")
}

func TestAuthenticationOnACallersConnectionEndsWithTheClient(t *testing.T) {
	tell(t, func(s story) {
		for range 100 {
			c := s.adopt((&plug{out: true}).Dial, election.WithAuth("digest", []byte("user:word")))
			require.NoError(s, c.Close())
			require.Zero(s, goroutines("election.authenticate"))
		}
	})
}
