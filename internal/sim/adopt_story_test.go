package sim

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// On a caller's connection the session goes on after Close, so Close itself removes the
// znode.
func TestCloseLeavesNoZnodeOnACallersConnection(t *testing.T) {
	tell(t, func(s story) {
		a := s.adopt(s.e.DialerFor("a"))
		x := s.candidate(a)
		began := make(chan struct{})
		go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			close(began)
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			return nil
		})
		<-began
		y := s.start(s.client("b"))
		require.NoError(s, a.Close())
		time.Sleep(time.Second)
		assert.True(s, y.HasLeadership())
		time.Sleep(5 * time.Second)
	})
}

func TestCloseSaysWhatItCouldNotRemoveFromACallersConnection(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		a := s.adopt(p.Dial)
		_, err := s.candidate(a).Await(s.Context())
		require.NoError(s, err)
		for range 50 {
			s.start(a)
		}
		p.pull()
		time.Sleep(time.Second)
		began := time.Now()
		require.ErrorIs(s, a.Close(), election.ErrDisconnected)
		assert.LessOrEqual(s, time.Since(began), 2*time.Second)
	})
}

// The driver forgets a credential that it could not send at once, and what a candidate
// makes before that is refused.
func TestStartWaitsForTheCredentialsOfACallersConnection(t *testing.T) {
	credential := election.WithAuth("digest", []byte("user:word"))
	for range 20 {
		tell(t, func(s story) {
			line := &plug{dial: s.e.Dialer(), out: true}
			late := s.adopt(line.Dial, credential)
			time.AfterFunc(5*time.Second, line.putBack)
			require.NoError(s, s.candidate(late).Start(s.Context()))
			require.NoError(s, s.candidate(s.adopt(s.e.Dialer(), credential)).Start(s.Context()))

			line.pull()
			stuck := s.adopt(line.Dial, credential)
			x := s.candidate(stuck)
			time.AfterFunc(time.Second, func() { _ = x.Close() })
			require.ErrorIs(s, x.Start(s.Context()), election.ErrClosed)
			y := s.candidate(stuck)
			ctx, cancel := timeoutContext(time.Second)
			defer cancel()
			require.ErrorIs(s, y.Start(ctx), context.DeadlineExceeded)
			time.AfterFunc(time.Second, func() { _ = stuck.Close() })
			require.ErrorIs(s, y.Start(s.Context()), election.ErrClosed)
		})
	}
}

func TestStartSaysThatTheCredentialsOfACallersConnectionAreRefused(t *testing.T) {
	tell(t, func(s story) {
		c := s.adopt(s.e.Dialer(), election.WithAuth("nosuch", []byte("word")))
		ctx, cancel := timeoutContext(time.Minute)
		defer cancel()
		err := s.candidate(c).Start(ctx)
		require.ErrorIs(s, err, zk.ErrAuthFailed)
		require.ErrorContains(s, err, `scheme "nosuch"`)
	})
}

func TestStartWithoutAServerSaysSo(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.adopt((&plug{out: true}).Dial))
		ctx, cancel := timeoutContext(5 * time.Second)
		defer cancel()
		err := x.Start(ctx)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		require.ErrorIs(s, err, election.ErrDisconnected)
	})
}

// The driver's pings on a caller's connection cannot be seen. A candidate that begins
// after a quiet time of any length still leads at once, and for as long as it wants.
func TestATermThatBeginsAfterAQuietTimeOnACallersConnectionLasts(t *testing.T) {
	for quiet := 4 * time.Second; quiet < 30*time.Second; quiet += 700 * time.Millisecond {
		tell(t, func(s story) {
			a := s.adopt(s.e.Dialer())
			x := s.candidate(a)
			_, err := x.Await(s.Context())
			require.NoError(s, err)
			require.NoError(s, x.Close())

			time.Sleep(quiet)
			began := time.Now()
			term, err := s.candidate(a).Await(s.Context())
			require.NoError(s, err)
			require.Zero(s, time.Since(began), quiet)
			time.Sleep(30 * time.Second)
			require.NoError(s, term.Err(), quiet)
		})
	}
}
