package sim

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// busy starts a candidate that leads, and whose work goes on after its term until stop is
// closed.
func (s story) busy(c *election.Client, id string, opts ...election.Option) (cand *election.Candidate, stop chan struct{}) {
	cand, stop = s.candidate(c, append([]election.Option{election.WithID(id)}, opts...)...), make(chan struct{})
	go func() {
		_ = cand.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			<-ctx.Done()
			<-stop
			return nil
		})
	}()
	s.leads(cand, 20*time.Second)
	return cand, stop
}

// asks makes a request in the background.
func (s story) asks(operator *election.Client, to string) (done chan error) {
	done = make(chan error, 1)
	go func() {
		if to != "" {
			done <- operator.RequestHandOver(s.Context(), job, to)
			return
		}
		_, err := operator.RequestResign(s.Context(), job)
		done <- err
	}()
	return done
}

// Whoever resigns while the work of a hand-over stops does not take the hand-over back.
func TestAResignDuringAHandOverLeavesTheSuccessor(t *testing.T) {
	tell(t, func(s story) {
		a, stop := s.busy(s.client("a"), "a")
		s.start(s.client("b"), election.WithID("b"))
		c := s.start(s.client("c"), election.WithID("c"))
		done := s.asks(s.client("operator"), "c")
		time.Sleep(time.Second)
		go a.Resign(s.Context())
		time.Sleep(time.Second)
		close(stop)
		require.NoError(s, <-done)
		s.leads(c, time.Second)
	})
}

func TestShutdownAndCloseDuringAHandOverCompleteIt(t *testing.T) {
	for name, leave := range map[string]func(*election.Candidate) error{
		"Shutdown": func(c *election.Candidate) error { return c.Shutdown(context.Background()) },
		"Close":    (*election.Candidate).Close,
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				a, stop := s.busy(s.client("a"), "a")
				s.start(s.client("b"), election.WithID("b"))
				c := s.start(s.client("c"), election.WithID("c"))
				operator := s.client("operator")
				done := s.asks(operator, "c")
				time.Sleep(time.Second)
				left := make(chan error, 1)
				go func() { left <- leave(a) }()
				time.Sleep(time.Second)
				close(stop)
				require.NoError(s, <-done)
				require.NoError(s, <-left)
				s.leads(c, time.Second)
				time.Sleep(time.Second)
				require.Equal(s, []string{"c", "b"}, s.ids(operator))
			})
		})
	}
}

// The one named has gone, and somebody behind may not be read: the leader must leave.
func TestALeaderLeavesAlthoughItMayNotReadTheLine(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		b := s.start(s.client("b"), election.WithID("b"))
		c := s.start(s.client("c"), election.WithID("c"))
		s.start(s.client("d"), election.WithID("d"))
		done := s.asks(s.client("operator"), "c")
		time.Sleep(time.Second)
		require.NoError(s, c.Shutdown(s.Context()))
		for _, name := range s.e.Children(job) {
			if n, _ := s.e.Get(job + "/" + name); string(n.Data) == "d" {
				require.NoError(s, s.e.SetACL(job+"/"+name, zk.WorldACL(zk.PermDelete)))
			}
		}
		close(stop)
		require.ErrorContains(s, <-done, "is first in line")
		s.leads(b, time.Second)
	})
}

// A znode between that somebody made by hand has a child, so that it cannot be removed: the
// leader leaves all the same.
func TestALeaderLeavesAlthoughTheTransactionIsRefused(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		junk := job + "/_c_00000000-0000-0000-0000-000000000000-latch-0000000001"
		require.NoError(s, s.e.Create(junk, []byte("junk")))
		require.NoError(s, s.e.Create(junk+"/child", nil))
		s.e.SetCversion(job, 5)
		s.start(s.client("c"), election.WithID("c"))
		operator := s.client("operator")
		done := s.asks(operator, "c")
		time.Sleep(time.Second)
		close(stop)
		require.ErrorContains(s, <-done, "is first in line")
		time.Sleep(time.Second)
		require.Equal(s, []string{"junk", "c", "a"}, s.ids(operator))
	})
}

// IDs that hold a '?' or a quote, with and without metadata, without unique
// names, and several candidates of one client.
func TestAHandOverFindsWhomItNames(t *testing.T) {
	metadata := election.WithMetadata(map[string]string{"zone": "eu west"})
	plain := election.WithNaming(election.KazooLock)
	for name, opts := range map[string][]election.Option{"plain": nil, "metadata": {metadata}, "names without a UUID": {election.WithNaming(election.ZooKeeperRecipe)},
		"Kazoo's names, metadata": {plain, metadata}} {
		for _, id := range []string{"a?b=1", "a%3Fb?", "\"<é>\n", "worker?zone=eu"} {
			t.Run(name+" "+id, func(t *testing.T) {
				tell(t, func(s story) {
					client := s.client("one")
					lead := s.start(client, append([]election.Option{election.WithID("lead")}, opts...)...)
					s.leads(lead, time.Minute)
					s.start(client, append([]election.Option{election.WithID("between")}, opts...)...)
					named := s.start(client, append([]election.Option{election.WithID(id)}, opts...)...)
					require.NoError(s, s.client("operator").RequestHandOver(s.Context(), job, id))
					s.leads(named, time.Second)
					time.Sleep(time.Second)
					require.NoError(s, named.HandOver(s.Context(), "lead"))
					s.leads(lead, time.Second)
					time.Sleep(time.Second)
					require.Len(s, s.ids(client), 3)
					s.nothingAsked()
				})
			})
		}
	}
}
