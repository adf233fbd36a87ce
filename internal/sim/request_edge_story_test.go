package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// The operator is cut off in the middle: its call ends with its context, and its request
// goes when it is back, also if that is in time for its session.
func TestARequestOfAnOperatorThatIsCutOffEndsInTime(t *testing.T) {
	for name, away := range map[string]time.Duration{"in the session": 3 * time.Second, "longer": time.Minute} {
		for kind, connect := range map[string]func(s story) *election.Client{
			"own":      func(s story) *election.Client { return s.client("operator") },
			"caller's": func(s story) *election.Client { return s.adopt(s.e.DialerFor("operator")) },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				tell(t, func(s story) {
					_, stop := s.busy(s.client("a"), "a")
					defer close(stop)
					s.start(s.client("b"), election.WithID("b"))
					operator := connect(s)
					time.Sleep(5 * time.Second)
					const limit = 4 * time.Second
					ctx, cancel := context.WithTimeout(s.Context(), limit)
					defer cancel()
					time.AfterFunc(2*time.Second, func() { s.e.Unplug("operator") })
					time.AfterFunc(2*time.Second+away, func() { s.e.Plug("operator") })
					began := time.Now()
					_, err := operator.RequestResign(ctx, job)
					require.ErrorIs(s, err, context.DeadlineExceeded)
					require.Less(s, time.Since(began), limit+100*time.Millisecond)
					_, there := s.e.Get(request)
					require.True(s, there, "it was made, and could not be removed yet")
					time.Sleep(away + 30*time.Second)
					s.nothingAsked()
				})
			})
		}
	}
}

// The operator's session ends while the leader's work stops, and the request with it.
func TestARequestTakenIsCarriedOutAlthoughItsOperatorsSessionEnds(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		s.start(s.client("b"), election.WithID("b"))
		operator := s.client("operator")
		done := s.asks(operator, "")
		time.Sleep(time.Second)
		n, _ := s.e.Get(request)
		require.True(s, s.e.ExpireSession(n.Stat.EphemeralOwner))
		time.Sleep(5 * time.Second)
		close(stop)
		require.NoError(s, <-done)
		s.nothingAsked()
	})
}

// An operator that is cut off cannot say that the leader did not answer.
func TestAnOperatorThatIsCutOffDoesNotBlameTheLeader(t *testing.T) {
	tell(t, func(s story) {
		s.line([]election.Option{election.WithoutRequests()}, "a", "b")
		operator := s.client("operator")
		time.AfterFunc(time.Second, func() { s.e.Unplug("operator") })
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		_, err := operator.RequestResign(ctx, job)
		require.NotErrorIs(s, err, election.ErrUnasked)
		require.ErrorIs(s, err, context.DeadlineExceeded)
	})
}

// A leader on a caller's connection, which the package cannot look into, hears requests
// before and after its session has ended.
func TestALeaderOnACallersConnectionCanBeAsked(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.adopt(s.e.DialerFor("a")), election.WithID("a"))
		s.leads(a, time.Minute)
		b := s.start(s.client("b"), election.WithID("b"))
		operator := s.client("operator")
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "b"))
		s.leads(b, time.Second)
		time.Sleep(time.Second)
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "a"))
		s.leads(a, time.Minute)

		line, err := operator.Participants(s.Context(), job)
		require.NoError(s, err)
		require.True(s, s.e.ExpireSession(line[0].SessionID))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "a"))
		time.Sleep(time.Second) // until b is in line again
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "b"))
		s.nothingAsked()
	})
}

// The request of an election at the root of a chroot is beside the chroot.
func TestRequestsBelowAChroot(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create("/app", nil))
		connect := func(name, chroot string) *election.Client {
			c, err := election.Connect(s.Context(), s.e.ConnectString()+chroot, election.WithDialer(s.e.DialerFor(name)),
				election.WithClientLogger(quiet))
			require.NoError(s, err)
			s.closeLater(c)
			return c
		}
		for path, full := range map[string]string{"/": "/app", "/deep/job": "/app/deep/job"} {
			var all []*election.Candidate
			for _, id := range []string{"a", "b", "c"} {
				c, err := election.NewCandidate(connect(id, "/app"), path, election.WithID(id))
				require.NoError(s, err)
				require.NoError(s, c.Start(s.Context()))
				all = append(all, c)
			}
			s.leads(all[0], time.Minute)
			require.NoError(s, connect("inside", "/app").RequestHandOver(s.Context(), path, "c"))
			s.leads(all[2], time.Second)
			time.Sleep(time.Second)
			outside := connect("outside", "")
			require.NoError(s, outside.RequestHandOver(s.Context(), full, "a"))
			time.Sleep(time.Second) // until b and c are in line again
			line, err := outside.Participants(s.Context(), full)
			require.NoError(s, err)
			require.NoError(s, outside.Evict(s.Context(), full, line[1]))
			_, there := s.e.Get(full + ".request")
			require.False(s, there)
		}
	})
}

// More than one transaction can remove stand between: the leader says so before it stops
// its work.
func TestAHandOverOverTooManyIsRefused(t *testing.T) {
	tell(t, func(s story) {
		a := s.start(s.client("a"), election.WithID("a"))
		s.leads(a, time.Minute)
		const many = 1001
		for i := range many {
			require.NoError(s, s.e.Create(fmt.Sprintf("%s/_c_%032x-latch-%010d", job, i, i+1), nil))
		}
		s.e.SetCversion(job, many+1)
		s.start(s.client("c"), election.WithID("c"))
		token := a.Term().Token()
		err := s.client("operator").RequestHandOver(s.Context(), job, "c")
		require.ErrorContains(s, err, "the leader refuses")
		require.ErrorContains(s, err, "more than 1000 candidates stand between")
		require.ErrorContains(s, a.HandOver(s.Context(), "c"), "more than 1000 candidates stand between")
		require.Equal(s, token, a.Term().Token())
		s.nothingAsked()
	})
}
