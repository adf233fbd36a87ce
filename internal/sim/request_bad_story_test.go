package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// A request holds the ID. A server ends the connection at a request of 1 MiB, and with the
// connection the terms of all the client's candidates may end.
func TestAnIDThatIsTooLongForARequestIsRefused(t *testing.T) {
	for name, id := range map[string]string{"long": strings.Repeat("x", 700_000), "escaped": strings.Repeat("<", 100_000)} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				a := s.start(s.client("a"), election.WithID("a"))
				s.leads(a, time.Minute)
				long := s.start(s.client("long"), election.WithID(id))
				operator := s.client("operator")
				since := operator.Status().Since
				err := operator.RequestHandOver(s.Context(), job, id)
				require.ErrorContains(s, err, fmt.Sprintf("ID of %d bytes", len(id)))
				require.Less(s, len(err.Error()), 500)
				require.Equal(s, since, operator.Status().Since, "its connection is lost")
				require.True(s, a.HasLeadership())
				s.nothingAsked()

				require.NoError(s, a.HandOver(s.Context(), id), "from inside it needs no request")
				s.leads(long, time.Second)
			})
		})
	}
}

// Whoever may create znodes beside the path can make any request. The leader's answer holds
// it, too, and must not cost the leader its connection.
func TestAHugeRequestIsVoid(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		since := all[0].Status().Since
		text := strings.Repeat("<", 900_000)
		s.writeRequest(s.client("operator"), `{"what":"hand-over","to":"%s","token":"%#x"}`, text, all[0].Term().Token())
		time.Sleep(time.Minute)
		require.True(s, all[0].HasLeadership())
		require.Equal(s, since, all[0].Status().Since)
		n, _ := s.e.Get(request)
		require.Zero(s, n.Stat.Version, "it has not been answered")
		require.True(s, all[0].Status().Connected)
		require.Empty(s, all[0].Status().LastError)
	})
}

// What an error of a request says, and what it says is to be done.
func TestErrorsOfRequestsSayWhatToDo(t *testing.T) {
	tell(t, func(s story) {
		all := s.line([]election.Option{election.WithoutRequests()}, "a", "b")
		operator := s.client("operator")
		says := func(err error, is error, what ...string) {
			s.Helper()
			require.ErrorIs(s, err, is)
			for _, text := range what {
				require.ErrorContains(s, err, text)
			}
		}
		resign := func() error { _, err := operator.RequestResign(s.Context(), job); return err }

		says(resign(), election.ErrUnasked, "within 10s", "another library", "WithoutRequests", "cut off", "end its process")
		line, err := operator.Participants(s.Context(), job)
		require.NoError(s, err)
		says(operator.Evict(s.Context(), job, line[0]), election.ErrIsLeader, "RequestResign")

		require.NoError(s, s.e.SetACL("/", zk.WorldACL(zk.PermRead)))
		says(resign(), zk.ErrNoAuth, request, "needs CREATE and DELETE on /:")
		require.NoError(s, s.e.SetACL(job, zk.WorldACL(zk.PermRead|zk.PermCreate)))
		says(operator.Evict(s.Context(), job, line[1]), zk.ErrNoAuth, "needs DELETE on "+job)
		require.True(s, all[0].HasLeadership())
		s.nothingAsked()
	})
}

func TestRequestsWithoutZooKeeperEndInTimeAndSayWhy(t *testing.T) {
	for name, connect := range map[string]func(s story) *election.Client{
		"never there": func(s story) *election.Client {
			return s.open(func(string, string, time.Duration) (net.Conn, error) { return nil, errors.New("nobody at home") })
		},
		"gone": func(s story) *election.Client {
			operator := s.client("operator")
			s.crash("operator")
			time.Sleep(time.Minute)
			return operator
		},
	} {
		for call, ask := range asked {
			t.Run(name+", "+call, func(t *testing.T) {
				tell(t, func(s story) {
					all := s.line(nil, "a", "b", "c")
					operator := connect(s)
					if call == "HandOver" {
						s.crash("a")
						time.Sleep(time.Second)
					}
					const limit = 2 * time.Second
					ctx, cancel := context.WithTimeout(s.Context(), limit)
					defer cancel()
					began := time.Now()
					err := ask(ctx, operator, all[0])
					require.Error(s, err)
					require.LessOrEqual(s, time.Since(began), limit+100*time.Millisecond)
					require.True(s, errors.Is(err, election.ErrDisconnected) || errors.Is(err, context.DeadlineExceeded), err)
					t.Log(err)
					s.nothingAsked()
				})
			})
		}
	}
}
