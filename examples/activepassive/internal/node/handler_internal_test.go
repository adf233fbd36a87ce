package node

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// leading is as much of a node as a write needs, and leads.
func leading(t *testing.T) *Node {
	t.Helper()
	zk := electiontest.New(t)
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer("node-1")),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	n := &Node{cfg: Config{NodeID: "node-1"}}
	n.candidate, err = election.NewCandidate(client, "/example/leader", election.WithID("node-1"))
	require.NoError(t, err)
	_, err = n.candidate.Await(t.Context())
	require.NoError(t, err)
	return n
}

// post has n do a write, and returns its answer.
func post(n *Node, work func(*http.Request) string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	n.write(work)(answer, httptest.NewRequest(http.MethodPost, "/", nil))
	return answer
}

// "Try again" is for a write that was not done: a term that ends over the work leaves that open.
func TestAnswerOfALeaderSaysWhetherAWriteMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, done := leading(t), 0
		work := func(*http.Request) string {
			done++
			return "done"
		}
		answer := post(n, work)
		require.Equal(t, http.StatusOK, answer.Code)
		require.NotEmpty(t, answer.Header().Get(TokenHeader))

		answer = post(n, func(r *http.Request) string {
			defer func() { require.NoError(t, n.candidate.Resign(t.Context())) }()
			return work(r)
		})
		require.Equal(t, 2, done)
		require.Equal(t, http.StatusBadGateway, answer.Code)
		require.Empty(t, answer.Header().Get("Retry-After"))
		require.Empty(t, answer.Header().Get(TokenHeader), "no term answers for it")
		require.Contains(t, answer.Body.String(), "may have done it")

		require.NoError(t, n.candidate.Shutdown(t.Context()))
		answer = post(n, work)
		require.Equal(t, 2, done)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
	})
}
