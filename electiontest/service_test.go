package electiontest_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

const jobPath = "/nightly-job"

// service is an example of what you might test with this package: a job that only one
// instance may run, with a piece of work each second. Its run method takes the connect
// string and options. Nothing else in it knows of the test.
type service struct {
	name string
	done func(name string)            // called for each piece of work
	left func(name string, why error) // called when the term is over
}

func (s service) run(ctx context.Context, servers string, opts ...election.ClientOption) error {
	client, err := election.Connect(ctx, servers, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, jobPath, election.WithID(s.name))
	if err != nil {
		return err
	}
	return candidate.Run(ctx, s.job)
}

func (s service) job(ctx context.Context, term *election.Term) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			if term.Err() == nil {
				s.done(s.name)
			}
		case <-ctx.Done():
			s.left(s.name, term.Err())
			return ctx.Err()
		}
	}
}

// log collects what the services of a test have done since the last call of during.
type log struct {
	mu   sync.Mutex
	work map[string]int
	ends []string
}

func (l *log) done(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work[name]++
}

func (l *log) left(name string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, fmt.Sprintf("%s: %v", name, why))
}

// during lets d pass. It returns how often each service has worked meanwhile, and why the
// work of which service ended.
func (l *log) during(d time.Duration) (work map[string]int, ends []string) {
	time.Sleep(d)
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	work, ends = l.work, l.ends
	l.work, l.ends = map[string]int{}, nil
	return work, ends
}

// start runs services until the test ends. It starts them one after the other, so they
// are in line in this order.
func start(t *testing.T, zk *electiontest.Ensemble, names ...string) *log {
	l := &log{work: map[string]int{}}
	for _, name := range names {
		s := service{name, l.done, l.left}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- s.run(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
				election.WithClientLogger(slog.New(slog.DiscardHandler)))
		}()
		t.Cleanup(func() {
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
		})
		l.during(time.Second)
	}
	l.during(0)
	return l
}

// The leader loses its session. The context of its work ends, another service works, and
// the first one works again when the other loses its place. Half an hour passes in an
// instant.
func TestJobMovesOnWhenTheLeaderLosesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		services := start(t, zk, "a", "b")
		work, ends := services.during(10 * time.Minute)
		require.Equal(t, map[string]int{"a": 600}, work)
		require.Empty(t, ends)

		zk.ExpireSession(zk.Leader(jobPath).SessionID)
		_, ends = services.during(2 * time.Second)
		require.Len(t, ends, 1)
		require.Contains(t, []string{"a: " + election.ErrSessionExpired.Error(), "a: " + election.ErrNodeDeleted.Error()}, ends[0])
		work, ends = services.during(10 * time.Minute)
		require.Equal(t, map[string]int{"b": 600}, work)
		require.Empty(t, ends)

		require.Equal(t, "b", zk.TakeLeadership(jobPath).ID)
		_, ends = services.during(2 * time.Second)
		require.Equal(t, []string{"b: " + election.ErrNodeDeleted.Error()}, ends)
		work, _ = services.during(10 * time.Minute)
		require.Equal(t, map[string]int{"a": 600}, work, "a had joined again, behind b")
	})
}

// A leader that is cut off stops by itself before any other service begins. When it is
// connected again, it joins at the back of the line.
func TestJobIsNeverDoneTwiceWhenTheLeaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		services := start(t, zk, "a", "b")
		before := zk.Leader(jobPath)
		zk.Cut("a")
		work, ends := services.during(election.DefaultSessionTimeout / 2)
		require.Equal(t, []string{"a: " + election.ErrLeaseExpired.Error()}, ends)
		require.NotContains(t, work, "b", "b must wait until ZooKeeper has ended a's session")

		work, ends = services.during(election.DefaultSessionTimeout)
		require.NotContains(t, work, "a")
		require.NotZero(t, work["b"])
		require.Empty(t, ends)
		require.Greater(t, zk.Leader(jobPath).Token, before.Token)

		zk.Heal("a")
		work, ends = services.during(time.Minute)
		require.Equal(t, map[string]int{"b": 60}, work)
		require.Empty(t, ends)
	})
}

func TestOtherProcessesConnectByTCP(t *testing.T) {
	zk := electiontest.New(t, electiontest.WithTick(50*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := election.Connect(ctx, zk.ListenTCP(), election.WithSessionTimeout(time.Second))
	require.NoError(t, err)
	defer client.Close()
	candidate, err := election.NewCandidate(client, jobPath, election.WithID("a"), election.WithMetadata(map[string]string{"zone": "b"}))
	require.NoError(t, err)
	require.Zero(t, zk.Leader(jobPath))
	term, err := candidate.Await(ctx)
	require.NoError(t, err)
	seen, err := client.Leader(ctx, jobPath)
	require.NoError(t, err)
	require.Equal(t, seen, zk.Leader(jobPath))
	require.Equal(t, term.Token(), seen.Token)
}
