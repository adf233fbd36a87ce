package electionhttp_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

func TestStatusIsShownAsJSONOrAsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := join(t, electiontest.New(t), "a")
		term := a.leads(t)
		h := electionhttp.Status(a.candidate)
		answer := get(h)
		require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
		require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		var got election.Status
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &got))
		require.True(t, got.Leading)
		require.Equal(t, term.Token(), got.Token)
		require.Contains(t, answer.Body.String(), `"token":"`+hex(term.Token())+`"`)

		for accept, text := range map[string]bool{
			"":                               false,
			"*/*":                            false,
			"application/json":               false,
			"application/json, text/plain":   false,
			"text/plain;q=0.5, */*;q=0.8":    false,
			"text/html,*/*;q=0.8":            false,
			"text/plain; q=0":                false,
			"text/plain;q=nonsense":          false,
			";;;":                            false,
			"text/plain":                     true,
			"TEXT/PLAIN; charset=utf-8":      true,
			"text/*, application/json;q=0.9": true,
			"text/plain, */*;q=0.8":          true,
		} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept", accept)
			answer := serve(h, r)
			require.Equal(t, http.StatusOK, answer.Code)
			require.Equal(t, "Accept", answer.Header().Get("Vary"))
			if text {
				require.Equal(t, "a at /writer: leads with token "+hex(term.Token())+"\n", answer.Body.String(), accept)
				require.Equal(t, "text/plain; charset=utf-8", answer.Header().Get("Content-Type"))
			} else {
				require.True(t, json.Valid(answer.Body.Bytes()), accept)
			}
		}
	})
}

func TestStatusIs200WhateverItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := join(t, zk, "a")
		zk.Cut("a")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusOK, get(electionhttp.Status(a.candidate)).Code)
		zk.Heal("a")
		time.Sleep(time.Minute)
		require.NoError(t, a.client.Close())
		answer := get(electionhttp.Status(a.candidate))
		require.Equal(t, http.StatusOK, answer.Code)
		require.Contains(t, answer.Body.String(), `"state":"closed"`)
	})
}

func TestHandlersForProbesAnswerGetAndHeadAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, net := electiontest.New(t), newNetwork()
		a := join(t, zk, "a")
		for name, h := range map[string]http.Handler{"status": electionhttp.Status(a.candidate), "live": electionhttp.Live(), "ready": electionhttp.Ready(a.client)} {
			net.start(t, name+":80", h)
			client := &http.Client{Transport: net.transport(t)}
			resp, err := client.Head("http://" + name + ":80/")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode, name)
			require.NotEmpty(t, resp.Header.Get("Content-Type"))
			answer := post(h)
			require.Equal(t, http.StatusMethodNotAllowed, answer.Code, name)
			require.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
		}
	})
}

func TestLivenessDependsOnNothing(t *testing.T) {
	require.Equal(t, http.StatusOK, get(electionhttp.Live()).Code)
}

func TestReadinessIsAFirstSessionAndNeverLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ensemble := electiontest.New(t)
		discard := election.WithClientLogger(slog.New(slog.DiscardHandler))
		ensemble.Cut("a")
		a, err := election.Open(ensemble.ConnectString(), election.WithDialer(ensemble.Dialer("a")), discard)
		require.NoError(t, err)
		b := join(t, ensemble, "b")
		h := electionhttp.Ready(b.client, a)
		time.Sleep(time.Minute)
		answer := get(h)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code, "a has had no session")
		require.Contains(t, answer.Body.String(), "not ready: client 2: not connected to ZooKeeper")
		ensemble.Heal("a")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusOK, get(h).Code)

		ensemble.Cut("a") // and its session ends
		ensemble.Cut("b")
		time.Sleep(time.Minute)
		require.False(t, a.Status().Connected)
		require.False(t, b.candidate.HasLeadership())
		require.Equal(t, http.StatusOK, get(h).Code, "an outage must not take all processes out of service")
		ensemble.Heal("a")
		ensemble.Heal("b")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusOK, get(h).Code)
		require.NoError(t, a.Close())
		answer = get(h)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Contains(t, answer.Body.String(), "not ready: client 2: closed")
	})
}

func TestAClientOfNewClientIsReadyWithTheSessionOfItsConnection(t *testing.T) {
	ensemble := electiontest.New(t)
	conn, _, err := zk.Connect([]string{ensemble.ListenTCP()}, 10*time.Second, zk.WithLogger(silent{}))
	require.NoError(t, err)
	defer conn.Close()
	client, err := election.NewClient(conn, 10*time.Second, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Leader(t.Context(), path) // waits for the session
	require.ErrorIs(t, err, election.ErrNoLeader)
	require.Equal(t, http.StatusOK, get(electionhttp.Ready(client)).Code)
}

type silent struct{}

func (silent) Printf(string, ...any) {}
