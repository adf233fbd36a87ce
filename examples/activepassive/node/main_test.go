package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

// leading returns a node that leads, with only those parts that a write needs, and a
// candidate that is next in line, at the address 10.0.0.2:80.
func leading(t *testing.T, zk *electiontest.Ensemble) (n *node, next *election.Candidate) {
	t.Helper()
	join := func(id, address string) (*election.Client, *election.Candidate) {
		client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(id)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		candidate, err := election.NewCandidate(client, "/example/leader", election.WithID(id),
			election.WithMetadata(map[string]string{addressKey: address}))
		require.NoError(t, err)
		require.NoError(t, candidate.Start(t.Context()))
		return client, candidate
	}
	client, first := join("node-1", "10.0.0.1:80")
	_, next = join("node-2", "10.0.0.2:80")
	n = &node{config: config{id: "node-1"}, candidate: first, leader: client.Follow("/example/leader")}
	_, err := n.candidate.Await(t.Context())
	require.NoError(t, err)
	return n, next
}

// post sends a write to n and returns the answer.
func post(n *node, work http.HandlerFunc) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	n.write(work).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", nil))
	return answer
}

// A node must answer "try again" only if the write was not done. If the term ends while
// it is at work, that is not known.
func TestAnswerOfALeaderSaysWhetherAWriteMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		n, next := leading(t, zk)
		answer := post(n, n.hello)
		require.Equal(t, http.StatusOK, answer.Code)
		require.NotEmpty(t, answer.Header().Get(electionhttp.TokenHeader))

		answer = post(n, func(w http.ResponseWriter, r *http.Request) {
			zk.Cut("node-1")
			_, err := next.Await(t.Context())
			require.NoError(t, err)
			n.hello(w, r)
		})
		require.Equal(t, http.StatusBadGateway, answer.Code)
		require.Empty(t, answer.Header().Get("Retry-After"))
		require.Empty(t, answer.Header().Get(electionhttp.TokenHeader), "no term answers for it")
		require.Contains(t, answer.Body.String(), "may have done it")

		refused := func() string {
			answer := post(n, func(http.ResponseWriter, *http.Request) { require.Fail(t, "not refused") })
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Equal(t, "1", answer.Header().Get("Retry-After"))
			return answer.Body.String()
		}
		require.Equal(t, "node-1 is not the leader\n", refused(), "cut off, it cannot know who is")
		zk.Heal("node-1")
		time.Sleep(time.Minute) // of virtual time
		require.Equal(t, "node-1 is not the leader: node-2 is, at 10.0.0.2:80\n", refused())
	})
}

// A write at work when the node shuts down is done in the node's term: the next node waits
// for it.
func TestShutdownWaitsForAWriteAndLetsNoMoreIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, next := leading(t, electiontest.New(t))
		shutdown := make(chan error, 1)
		answer := post(n, func(w http.ResponseWriter, r *http.Request) {
			term := n.candidate.Term()
			go func() { shutdown <- n.candidate.Shutdown(t.Context()) }()
			<-term.Done()
			require.Equal(t, http.StatusServiceUnavailable, post(n, n.hello).Code)
			time.Sleep(time.Second) // of virtual time
			require.False(t, next.HasLeadership())
			require.Empty(t, shutdown, "it has not returned")
			n.hello(w, r)
		})
		require.Equal(t, http.StatusOK, answer.Code)
		require.NotEmpty(t, answer.Header().Get(electionhttp.TokenHeader))
		require.NoError(t, <-shutdown)
		_, err := next.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, post(n, n.hello).Code)
	})
}

// A node that shuts down and is then cut off for long must not say that it has written as
// the leader: another one may lead by now.
func TestWriteOfALostSessionIsDoubtfulAlsoDuringAShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		n, next := leading(t, zk)
		answer := post(n, func(w http.ResponseWriter, r *http.Request) {
			term := n.candidate.Term()
			go n.candidate.Shutdown(t.Context())
			<-term.Done()
			zk.Cut("node-1")
			_, err := next.Await(t.Context())
			require.NoError(t, err)
			n.hello(w, r)
		})
		require.Equal(t, http.StatusBadGateway, answer.Code)
		zk.Heal("node-1")
		time.Sleep(time.Minute) // of virtual time, so that its client can be closed in good order
	})
}

func TestWrongFlagsAreToldInOneLineBeforeAnythingStarts(t *testing.T) {
	for want, cfg := range map[string]config{
		"-node-id is missing":                   {port: 8070},
		"-port 0 is wrong":                      {id: "node-1"},
		"set -address to one of this machine's": {id: "node-1", port: 8070, address: "192.0.2.1"}, // an address that no machine has (RFC 5737)
		`-zookeeper: election: Open: connectString "zk:x": `: {id: "node-1", port: free(t), address: "127.0.0.1",
			zookeeper: "zk:x", session: time.Second},
	} {
		err := run(t.Context(), cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestNodeAnswersReadsWhileZooKeeperIsDown(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cfg := config{id: "node-1", address: "127.0.0.1", port: free(t), zookeeper: fmt.Sprintf("127.0.0.1:%d", free(t)),
		latchPath: "/example/leader", servicePath: "/service-discovery", session: time.Second}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg) }()

	url := fmt.Sprintf("http://127.0.0.1:%d/microservice/test/hello", cfg.port)
	request := func(method string) int {
		req, err := http.NewRequestWithContext(ctx, method, url, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	for { // the kernel takes connections as soon as the node listens
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", cfg.port))
		if err == nil {
			require.NoError(t, conn.Close())
			break
		}
		require.NoError(t, ctx.Err())
	}
	require.Equal(t, http.StatusOK, request(http.MethodGet))
	require.Equal(t, http.StatusServiceUnavailable, request(http.MethodPost))
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// free returns a port at which nothing listens.
func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}
