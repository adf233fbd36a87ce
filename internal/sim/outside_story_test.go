package sim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// line starts candidates with these IDs, each on its own client, and returns the line.
func (s story) line(opts []election.Option, ids ...string) (all []*election.Candidate) {
	for _, id := range ids {
		all = append(all, s.start(s.client(id), append([]election.Option{election.WithID(id)}, opts...)...))
	}
	s.leads(all[0], 20*time.Second)
	time.Sleep(time.Second)
	synctest.Wait()
	return all
}

// ids returns the IDs in line.
func (s story) ids(c *election.Client) (all []string) {
	line, err := c.Participants(s.Context(), job)
	require.NoError(s, err)
	for _, p := range line {
		all = append(all, p.ID)
	}
	return all
}

// nothingAsked requires that no request is left.
func (s story) nothingAsked() {
	synctest.Wait()
	_, there := s.e.Get(job + ".request")
	require.False(s, there, "a request is left behind")
}

var kindsOfLines = map[string][]election.Option{
	"plain":           nil,
	"fast":            {election.WithFastFailover(silent)},
	"strict":          {election.WithStrictHandover()},
	"fast and strict": {election.WithFastFailover(silent), election.WithStrictHandover()},
}

func TestAnOperatorAsksTheLeaderToResign(t *testing.T) {
	for name, opts := range kindsOfLines {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.line(opts, "a", "b", "c")
				operator := s.client("operator")
				began := time.Now()
				next, err := operator.RequestResign(s.Context(), job)
				require.NoError(s, err)
				require.Equal(s, "b", next.ID)
				require.Less(s, time.Since(began), time.Second)
				s.leads(all[1], time.Second)
				s.nothingAsked()
				time.Sleep(time.Second) // until a is in line again
				require.Equal(s, []string{"b", "c", "a"}, s.ids(operator))
			})
		})
	}
}

func TestAnOperatorNamesTheNextLeader(t *testing.T) {
	for name, opts := range kindsOfLines {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.line(opts, "a", "b", "c", "d", "e")
				operator := s.client("operator")
				require.NoError(s, operator.RequestHandOver(s.Context(), job, "d"))
				s.leads(all[3], time.Second)
				s.nothingAsked()
				time.Sleep(time.Second)
				line := s.ids(operator)
				require.Equal(s, []string{"d", "e"}, line[:2])
				require.ElementsMatch(s, []string{"a", "b", "c"}, line[2:], "those between stand again")
				require.NoError(s, operator.RequestHandOver(s.Context(), job, "d"), "it leads already")

				require.NoError(s, all[3].HandOver(s.Context(), line[3]))
				require.Equal(s, line[3], s.ids(operator)[0])
			})
		})
	}
}

// The leader's work is waited for, and what is asked meanwhile is refused.
func TestARequestWaitsForTheLeadersWork(t *testing.T) {
	tell(t, func(s story) {
		a := s.candidate(s.client("a"), election.WithID("a"))
		stop := make(chan struct{})
		var ran sync.WaitGroup
		ran.Go(func() {
			err := a.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				<-stop
				return nil
			})
			assert.ErrorIs(s, err, election.ErrClosed)
		})
		time.Sleep(time.Second)
		b := s.start(s.client("b"), election.WithID("b"))
		operator, other := s.client("operator"), s.client("other")
		done := make(chan error)
		go func() {
			next, err := operator.RequestResign(s.Context(), job)
			assert.Equal(s, "b", next.ID)
			done <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(s, a.HasLeadership())
		require.False(s, b.HasLeadership())
		_, err := other.RequestResign(s.Context(), job)
		require.ErrorIs(s, err, election.ErrRequested)
		close(stop)
		require.NoError(s, <-done)
		s.leads(b, time.Second)
		s.nothingAsked()
		require.NoError(s, a.Close())
		ran.Wait()
	})
}

func TestALeaderThatCannotBeAskedIsTold(t *testing.T) {
	tell(t, func(s story) {
		all := s.line([]election.Option{election.WithoutRequests()}, "a", "b")
		operator := s.client("operator")
		for _, err := range []error{
			func() error { _, err := operator.RequestResign(s.Context(), job); return err }(),
			operator.RequestHandOver(s.Context(), job, "b"),
		} {
			require.ErrorIs(s, err, election.ErrUnasked)
			require.NotErrorIs(s, err, context.Canceled)
			s.nothingAsked()
		}
		require.True(s, all[0].HasLeadership())

		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		_, err := operator.RequestResign(ctx, job)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		s.nothingAsked()
	})
}

func TestWhatAnOperatorGetsWrongIsNamed(t *testing.T) {
	tell(t, func(s story) {
		operator := s.client("operator")
		ctx := s.Context()
		_, err := operator.RequestResign(ctx, job)
		require.ErrorIs(s, err, election.ErrNoLeader)
		require.ErrorIs(s, operator.RequestHandOver(ctx, job, "a"), election.ErrNoLeader)
		for _, bad := range []string{"", "job", "/job/"} {
			_, err := operator.RequestResign(ctx, bad)
			require.ErrorContains(s, err, fmt.Sprintf("RequestResign: path %q", bad))
			require.ErrorContains(s, operator.RequestHandOver(ctx, bad, "a"), fmt.Sprintf("RequestHandOver: path %q", bad))
			require.ErrorContains(s, operator.Evict(ctx, bad, election.Participant{}), "Evict")
		}

		all := s.line(nil, "a", "b", "c")
		require.ErrorContains(s, operator.RequestHandOver(ctx, job, "x"), `no candidate with the ID "x" stands`)
		require.ErrorContains(s, all[0].HandOver(ctx, "x"), `no candidate with the ID "x" stands`)
		require.ErrorContains(s, all[1].HandOver(ctx, "a"), "b does not lead")
		require.True(s, all[0].HasLeadership())

		line, err := operator.Participants(ctx, job)
		require.NoError(s, err)
		require.ErrorIs(s, operator.Evict(ctx, job, line[0]), election.ErrIsLeader)
		require.NoError(s, operator.Evict(ctx, job, line[1]))
		require.ErrorIs(s, operator.Evict(ctx, job, line[1]), zk.ErrNoNode)
		time.Sleep(time.Second)
		require.Equal(s, []string{"a", "c", "b"}, s.ids(operator))
		require.ErrorContains(s, operator.Evict(ctx, "/other", line[2]), `does not stand at "/other"`)
		s.nothingAsked()

		require.NoError(s, operator.Close())
		_, err = operator.RequestResign(ctx, job)
		require.ErrorIs(s, err, election.ErrClosed)
	})
}

// The one named dies while the leader's work still runs.
func TestAHandOverToOneThatDiesMeanwhileGoesToTheNext(t *testing.T) {
	tell(t, func(s story) {
		a := s.candidate(s.client("a"), election.WithID("a"))
		stop := make(chan struct{})
		go func() {
			_ = a.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				<-stop
				return nil
			})
		}()
		time.Sleep(time.Second)
		b, c := s.start(s.client("b"), election.WithID("b")), s.start(s.client("c"), election.WithID("c"))
		operator := s.client("operator")
		done := make(chan error)
		go func() { done <- operator.RequestHandOver(s.Context(), job, "c") }()
		time.Sleep(time.Second)
		require.NoError(s, c.Shutdown(s.Context()))
		close(stop)
		require.ErrorContains(s, <-done, "is first in line")
		s.leads(b, time.Second)
		s.nothingAsked()
	})
}

// A request for the last leader's token is void.
func TestARequestForATermThatIsOverIsVoid(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		operator := s.client("operator")
		old := all[0].Term().Token()
		require.NoError(s, all[0].Shutdown(s.Context()))
		s.leads(all[1], time.Second)
		require.NoError(s, operator.Do(s.Context(), func(c *zk.Conn) error {
			_, err := c.Create(job+".request", fmt.Appendf(nil, `{"what":"resign","token":"%#x"}`, old), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
			return err
		}))
		time.Sleep(time.Minute)
		require.True(s, all[1].HasLeadership())
		_, err := s.client("other").RequestResign(s.Context(), job)
		require.ErrorIs(s, err, election.ErrRequested)
	})
}
