package electionhttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

// A header that Connection names is for one hop only: a proxy takes it away. A client must
// not take the token away from the store behind next.
func TestAClientCannotHaveTheTokenTakenAway(t *testing.T) {
	for _, connection := range [][]string{
		{electionhttp.TokenHeader}, {"close, fencing-token"}, {"X-Hop", " FENCING-TOKEN ,close"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, net := join(t, electiontest.New(t), "a"), newNetwork()
			term := a.leads(t)
			var got http.Header
			net.start(t, "store:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "store:80"})
			proxy.Transport = net.transport(t)
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header["Connection"] = connection
			r.Header.Set("X-Hop", "1")
			require.Equal(t, http.StatusOK, serve(electionhttp.RequireLeader(a.candidate, proxy), r).Code)
			require.Equal(t, []string{hex(term.Token())}, got.Values(electionhttp.TokenHeader))
			require.Equal(t, len(connection) == 1, got.Get("X-Hop") != "", "others are for one hop")
			require.Equal(t, connection, r.Header["Connection"], "the client's request is left as it was")
		})
	}
}

// A request that may be repeated is sent again by net/http if a connection that was used
// before breaks. If that fails, the first may have been done all the same.
func TestAnswerOfARequestThatWasSentAgainTellsThatItMayBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		var p *pair
		p = newPair(t, func(w http.ResponseWriter, _ *http.Request) {
			if served++; served == 2 {
				p.host.kill()
			}
		})
		require.Equal(t, http.StatusOK, get(p.atB).Code)
		synctest.Wait() // the connection is kept
		answer := get(p.atB)
		require.Equal(t, 2, served)
		require.Equal(t, http.StatusBadGateway, answer.Code, answer.Body)
		require.Empty(t, answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "may have done it")

		answer = get(p.atB)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code, "there is no connection to send it on")
	})
}

// http.ErrAbortHandler breaks the connection off, and is no reason to keep the term.
func TestAnAbortedHandlerReleasesTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "the beginning")
			require.NoError(t, http.NewResponseController(w).Flush())
			panic(http.ErrAbortHandler)
		})
		p.net.start(t, "b:80", p.atB)
		for _, at := range []string{"http://a:80/", "http://b:80/"} {
			resp, err := (&http.Client{Transport: p.net.transport(t)}).Get(at)
			require.NoError(t, err)
			_, err = io.ReadAll(resp.Body)
			require.Error(t, err, "it is not taken for a whole answer")
			require.NoError(t, resp.Body.Close())
		}
		require.NoError(t, p.a.candidate.Shutdown(t.Context()))
	})
}

// The body of a request and both sides' trailers reach the other end whole.
func TestBodiesAndTrailersGoThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 3 << 20
		p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Announced")
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Len(t, body, size)
			_, err = w.Write(body)
			require.NoError(t, err)
			w.Header().Set("X-Announced", r.Trailer.Get("X-Sum"))
			w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		})
		p.net.start(t, "b:80", p.atB)
		r, err := http.NewRequest(http.MethodPost, "http://b:80/", readerOnly{strings.NewReader(strings.Repeat("x", size))})
		require.NoError(t, err)
		r.Trailer = http.Header{"X-Sum": {"1"}}
		resp, err := (&http.Client{Transport: p.net.transport(t)}).Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.EqualValues(t, size, n)
		require.Equal(t, "1", resp.Trailer.Get("X-Announced"))
		require.Equal(t, "2", resp.Trailer.Get("X-Late"))
	})
}

// The leader answers while it still reads the body. Over HTTP/1, net/http drops what is left of a body when the answer
// begins, unless each server on the way has been told otherwise.
func TestAnAnswerThatBeginsBeforeTheBodyEndsNeedsFullDuplexOnTheWay(t *testing.T) {
	const size = 200 << 10
	full := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, http.NewResponseController(w).EnableFullDuplex())
			h.ServeHTTP(w, r)
		})
	}
	for name, all := range map[string]bool{"at the leader alone": false, "at both": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := make(chan int64, 1)
				failed := make(chan error, 1)
				p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
					require.NoError(t, http.NewResponseController(w).EnableFullDuplex())
					begun, _ := io.CopyN(io.Discard, r.Body, 1000)
					fmt.Fprint(w, "begun")
					require.NoError(t, http.NewResponseController(w).Flush())
					time.Sleep(time.Second)
					rest, err := io.Copy(io.Discard, r.Body)
					read <- begun + rest
					failed <- err
				})
				h := p.atB
				if all {
					h = full(h)
				}
				p.net.start(t, "b:80", h)
				client := &http.Client{Transport: p.net.transport(t)}
				answer, err := client.Post("http://b:80/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err == nil {
					_, _ = io.Copy(io.Discard, answer.Body)
					_ = answer.Body.Close()
				}
				require.Equal(t, all, <-read == size)
				require.Equal(t, all, <-failed == nil, "what was cut short is no whole body")
			})
		})
	}
}
