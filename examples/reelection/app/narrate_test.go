package main

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

const leads = "I am the leader 👑 (token T); to see who is next: kill -9 7"

var token = regexp.MustCompile(`0x[0-9a-f]+`)

// stand adds a candidate to the line. Its network has the same name.
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

// In a line of three, led by the first, something changes between the look at a place and
// the print.
func TestPlaceThatHasChangedIsNotTold(t *testing.T) {
	const first, second, third = 0, 1, 2
	for name, test := range map[string]struct {
		teller, leaver int // if leaver is negative, nobody leaves
		cutOff         bool
		want           string
	}{
		"the last":                               {third, -1, false, "Name: /election/candidate_0000000002\nI am not the leader, candidate_0000000000 is the leader (a)\nWatching znode candidate_0000000001\n"},
		"the leader":                             {first, -1, false, "Name: /election/candidate_0000000000\n" + leads + "\n"},
		"the term has ended":                     {first, first, false, ""},
		"the leader has left":                    {second, first, false, ""},
		"the leader has left, teller is cut off": {second, first, true, ""},
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
					told := tell(t.Context(), client, line[test.teller], place{}, now, "kill -9 7")
					require.Equal(t, test.want != "", told)
				})
				require.Equal(t, test.want, said)
			})
		})
	}
}

// While it is cut off it cannot know who leads. It asks when it is back.
func TestCandidateThatIsCutOffSaysSo(t *testing.T) {
	const (
		stands = "Name: /election/candidate_0000000001\nI am not the leader, candidate_0000000000 is the leader (a)\n" +
			"Watching znode candidate_0000000000\n"
		lost = "Disconnected from ZooKeeper\n"
		back = "Connected to ZooKeeper again\n"
	)
	for want, late := range map[string]bool{ // late: it is cut off before it begins to print
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
					telling.Go(func() { narrate(ctx, client, b, "kill -9 7") })
					time.Sleep(2 * glance)
				}
				if !late {
					begin()
				}
				zk.Cut("b")
				time.Sleep(election.DefaultSessionTimeout * 3 / 4) // long enough to give the connection up; the session lives on
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

func TestSessionTimeoutThatTheServerHasChangedIsExplained(t *testing.T) {
	require.Equal(t, "Connected to ZooKeeper at zoo:2181, session timeout 2s", welcome("zoo:2181", 2*time.Second, 2*time.Second))
	require.Equal(t, "Connected to ZooKeeper at zoo:2181, session timeout 4s instead of 2s: a server grants 2 to 20 of its ticks",
		welcome("zoo:2181", 2*time.Second, 4*time.Second))
}
