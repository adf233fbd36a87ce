package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// stand adds a candidate to the line. Its name is that of its network as well.
func stand(t *testing.T, zk *electiontest.Ensemble, name string) (*election.Client, *election.Candidate) {
	t.Helper()
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	candidate, err := election.NewCandidate(client, electionNamespace, election.WithID(name), election.WithNaming(znodePrefix))
	require.NoError(t, err)
	require.NoError(t, candidate.Start(t.Context()))
	return client, candidate
}

// output returns what f prints, with T for each token.
func output(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	stdout := os.Stdout
	os.Stdout = file
	defer func() { os.Stdout = stdout }()
	f()
	said, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	return token.ReplaceAllString(string(said), "T")
}

// In a line of three, led by the first, something changes between a look at a place and its being told.
func TestPlaceThatHasChangedIsNotTold(t *testing.T) {
	const first, second, third = 0, 1, 2
	for name, test := range map[string]struct {
		teller, leaver int // none leaves that is negative
		cutOff         bool
		want           string
	}{
		"the last":                               {third, -1, false, "Name: /election/candidate_0000000002\nI am not the leader, candidate_0000000000 is the leader\nWatching znode candidate_0000000001\n"},
		"the leader":                             {first, -1, false, "Name: /election/candidate_0000000000\n" + leads + "\n"},
		"the term has ended":                     {first, first, false, ""},
		"the leader has left":                    {second, first, false, ""},
		"the leader has left, who tells unaware": {second, first, true, ""},
		"one in the middle has left":             {third, second, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zk := electiontest.New(t)
				client, a := stand(t, zk, "a")
				_, b := stand(t, zk, "b")
				_, c := stand(t, zk, "c")
				line := []*election.Candidate{a, b, c}
				synctest.Wait()
				now, settled := look(line[test.teller])
				require.True(t, settled)
				if test.cutOff {
					zk.Cut("b")
				}
				if test.leaver >= 0 {
					require.NoError(t, line[test.leaver].Close())
				}
				synctest.Wait()
				said := output(t, func() {
					told := tell(t.Context(), client, line[test.teller], place{}, now)
					require.Equal(t, test.want != "", told)
				})
				require.Equal(t, test.want, said)
			})
		})
	}
}

// It cannot know who leads, and asks when it is back.
func TestCandidateThatIsCutOffSaysSo(t *testing.T) {
	const (
		stands = "Name: /election/candidate_0000000001\nI am not the leader, candidate_0000000000 is the leader\n" +
			"Watching znode candidate_0000000000\n"
		lost = "Disconnected from ZooKeeper\n"
		back = "Connected to ZooKeeper again\n"
	)
	for want, late := range map[string]bool{ // late: it has been cut off when it begins to tell
		stands + lost + back: false,
		lost + back + stands: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			zk := electiontest.New(t)
			stand(t, zk, "a")
			client, b := stand(t, zk, "b")
			require.Equal(t, want, output(t, func() {
				ctx, cancel := context.WithCancel(t.Context())
				var telling sync.WaitGroup
				begin := func() {
					telling.Go(func() { narrate(ctx, client, b) })
					time.Sleep(2 * glance)
				}
				if !late {
					begin()
				}
				zk.Cut("b")
				time.Sleep(election.DefaultSessionTimeout * 3 / 4) // the connection is given up, and the session lives
				if late {
					begin()
				}
				zk.Heal("b")
				time.Sleep(election.DefaultSessionTimeout)
				cancel()
				telling.Wait()
			}))
		})
	}
}
