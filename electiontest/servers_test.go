package electiontest_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// candidate returns a candidate with a client of its own, which is closed when the test
// ends.
func candidate(t *testing.T, zk *electiontest.Servers, name string, opts ...election.Option) *election.Candidate {
	t.Helper()
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	c, err := election.NewCandidate(client, jobPath, append(opts, election.WithID(name))...)
	require.NoError(t, err)
	return c
}

func TestStartServesOverTCPUntilClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	zk, err := electiontest.Start(electiontest.WithServers(3), electiontest.WithTick(200*time.Millisecond))
	require.NoError(t, err)
	defer zk.Close()
	at, err := zk.ListenTCP()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := election.Connect(ctx, at, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer client.Close()
	a, err := election.NewCandidate(client, jobPath, election.WithID("a"))
	require.NoError(t, err)
	_, err = a.Await(ctx)
	require.NoError(t, err)

	// The client goes on with the others when the server that it is connected to, or that
	// leads them, has stopped.
	leading := zk.LeadingServer()
	require.NoError(t, zk.StopServer(leading))
	leader, err := zk.AwaitLeader(ctx, jobPath, "a")
	require.NoError(t, err)
	require.Equal(t, "a", leader.ID)
	require.NotEqual(t, leading, zk.LeadingServer())

	_ = client.Close()
	zk.Close()
	zk.Close()
	_, err = zk.ListenTCP()
	require.ErrorContains(t, err, "the servers are closed")
	_, err = zk.Rival(ctx, jobPath)
	require.ErrorContains(t, err, "the servers are closed")
}

func TestStartNamesEveryOptionThatIsWrong(t *testing.T) {
	_, err := electiontest.Start(electiontest.WithTick(-time.Second), electiontest.WithServers(0))
	require.ErrorContains(t, err, "WithTick: -1s is negative")
	require.ErrorContains(t, err, "WithServers: 0 is not from 1 to 9")
	require.Contains(t, refusal(t, func(tb testing.TB) { electiontest.New(tb, electiontest.WithServers(10)) }),
		"WithServers: 10 is not from 1 to 9")
}

// While a majority runs, sessions and leadership outlive the servers that stop. Without a
// majority nobody leads, and afterwards the same candidate leads again.
func TestLeadershipOutlivesServersThatStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t, electiontest.WithServers(3))
		a := candidate(t, zk.Servers, "a")
		require.NoError(t, a.Start(t.Context()))
		first := zk.AwaitLeader(jobPath)
		require.Equal(t, "a", first.ID)
		require.Equal(t, 3, zk.LeadingServer())
		require.Equal(t, []int{1, 2, 3}, zk.ServingServers())

		zk.StopServer(3)
		require.Equal(t, first, zk.AwaitLeader(jobPath, "a"))
		require.NotContains(t, zk.ServingServers(), 3)
		zk.StopServer(zk.LeadingServer())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.False(t, a.HasLeadership())
		require.Zero(t, zk.LeadingServer())
		require.Empty(t, zk.ServingServers())
		require.ErrorContains(t, zk.Servers.ExpireSession(first.SessionID), "fewer than a majority of the servers run")

		zk.RestartServer(3)
		require.Equal(t, first, zk.AwaitLeader(jobPath, "a"))
		synctest.Wait()
		require.True(t, a.HasLeadership())
	})
}

func TestServersNamesWhatIsNotThere(t *testing.T) {
	zk := electiontest.New(t)
	require.ErrorContains(t, zk.Servers.StopServer(2), "there is no server 2, only 1 to 1")
	require.ErrorContains(t, zk.Servers.RestartServer(0), "there is no server 0")
	require.ErrorContains(t, zk.Servers.ExpireSession(7), "there is no session 0x7")
	_, err := zk.Servers.TakeLeadership(jobPath)
	require.ErrorContains(t, err, "no one takes part at "+jobPath)
	_, err = zk.Servers.AwaitLeader(t.Context(), "job")
	require.ErrorContains(t, err, `the path "job" does not start with /`)
	for want, f := range map[string]func(*electiontest.Ensemble){
		"there is no server 2":        func(e *electiontest.Ensemble) { e.StopServer(2) },
		"there is no server 3":        func(e *electiontest.Ensemble) { e.RestartServer(3) },
		"there is no session 0x8":     func(e *electiontest.Ensemble) { e.ExpireSession(8) },
		"no one takes part":           func(e *electiontest.Ensemble) { e.TakeLeadership(jobPath) },
		"does not start with /":       func(e *electiontest.Ensemble) { e.AwaitLeader("job") },
		"rival: election: NewCandida": func(e *electiontest.Ensemble) { e.Rival("job") },
	} {
		require.Contains(t, refusal(t, func(tb testing.TB) { f(electiontest.New(tb)) }), want)
	}
}

// AwaitLeader waits for a proof of the lease, and not only for the place in line.
func TestAwaitLeaderReturnsWhenSomebodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a, b := candidate(t, zk.Servers, "a"), candidate(t, zk.Servers, "b")
		go func() {
			time.Sleep(time.Minute)
			_ = a.Start(t.Context())
			time.Sleep(time.Minute)
			_ = b.Start(t.Context())
		}()
		began := time.Now()
		require.Equal(t, "a", zk.AwaitLeader(jobPath).ID)
		require.InDelta(t, time.Minute, time.Since(began), float64(election.DefaultSessionTimeout/12+time.Second))
		require.True(t, a.HasLeadership())

		zk.Cut("a")
		require.Equal(t, "b", zk.AwaitLeader(jobPath, "b").ID)
		require.True(t, b.HasLeadership())
		require.False(t, a.HasLeadership())

		zk.Cut("b") // it is first in line for a session timeout more, and does not lead
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := zk.Servers.AwaitLeader(ctx, jobPath)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestAwaitLeaderShowsTheLineWhenItGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t, electiontest.WithServers(3))
		text := refusal(t, func(tb testing.TB) {
			// An ensemble in this bubble that fails another test.
			_ = electiontest.New(tb).AwaitLeader(jobPath)
		})
		require.Contains(t, text, "nobody leads at /nightly-job after 10m0s: 10m0s have passed")
		require.Contains(t, text, "the line is empty")

		require.NoError(t, candidate(t, zk.Servers, "a").Start(t.Context()))
		require.NoError(t, candidate(t, zk.Servers, "b").Start(t.Context()))
		zk.AwaitLeader(jobPath, "a")
		zk.StopServer(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := zk.Servers.AwaitLeader(ctx, jobPath, "b", "c")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "b or c does not lead at /nightly-job after 1m0s")
		for _, line := range []string{`\n  1\. a, token 0x[0-9a-f]+, in line for 1m[^,]*, the latest proof of its lease was answered \d+m?s ago\n`,
			`\n  2\. b, token 0x[0-9a-f]+, in line for`, `\n  zk1 does not serve\n`, `\n  zk3 serves, and leads the servers$`} {
			require.Regexp(t, line, err.Error())
		}
	})
}

// A participant of another library sends no proofs of a lease. Here it is a client that
// makes its znode by hand.
func TestAwaitLeaderTakesAParticipantOfAnotherLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		byHand(t, zk, "curator")
		began := time.Now()
		require.Equal(t, "curator", zk.AwaitLeader(jobPath).ID)
		require.GreaterOrEqual(t, time.Since(began), election.DefaultSessionTimeout)
	})
}

func TestTheServersOfATestEndWithIt(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, servers := range []int{1, 5} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			zk := electiontest.New(t, electiontest.WithServers(servers), electiontest.WithTick(50*time.Millisecond))
			zk.ListenTCP()
			zk.Rival(jobPath)
			zk.Rival(jobPath).Crash()
			require.Equal(t, "rival-1", zk.AwaitLeader(jobPath).ID)
		})
	}
}
