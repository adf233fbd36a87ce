package electionhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

func TestRequestIsServedOnlyByTheProcessThatLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a, b := join(t, zk, "a"), join(t, zk, "b")
		a.leads(t)
		next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })
		answer := get(electionhttp.RequireLeader(a.candidate, next))
		require.Equal(t, http.StatusOK, answer.Code)
		require.Equal(t, "done", answer.Body.String())

		never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { require.Fail(t, "b does not lead") })
		answer = get(electionhttp.RequireLeader(b.candidate, never))
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
		require.Empty(t, answer.Header().Get(electionhttp.TokenHeader))
	})
}

func TestRefusalNamesTheLeaderAsFarAsItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := join(t, zk, "a")
		b := join(t, zk, "b", election.WithMetadata(map[string]string{"http": "10.0.0.2:80\nX: y"}))
		c := join(t, zk, "c", election.WithMetadata(nil))
		a.leads(t)
		refusal := func(p *process, opts ...electionhttp.RequireOption) string {
			synctest.Wait()
			return get(electionhttp.RequireLeader(p.candidate, http.NotFoundHandler(), opts...)).Body.String()
		}
		require.Equal(t, "b is not the leader: a is, at a:80\n", refusal(b), "the second in line knows the first")
		require.Equal(t, "c is not the leader\n", refusal(c), "the third does not")
		follow := electionhttp.WithFollower(c.follower)
		require.Equal(t, "c is not the leader: a is, at a:80\n", refusal(c, follow))
		require.Equal(t, "c is not the leader: a is\n", refusal(c, follow, electionhttp.WithAddressKey("http")))

		require.NoError(t, a.candidate.Shutdown(t.Context()))
		b.leads(t)
		require.Equal(t, "c is not the leader: b is, at 10.0.0.2:80 X: y\n", refusal(c, follow, electionhttp.WithAddressKey("http")))
		require.Equal(t, "a is not the leader\n", refusal(a))
		time.Sleep(election.DefaultSessionTimeout * 2) // c makes its next check
		require.Equal(t, "c is not the leader: b is\n", refusal(c), "c is the second in line now")
		zk.Cut("c")
		time.Sleep(election.DefaultSessionTimeout * 9 / 10)
		require.Equal(t, "c is not the leader\n", refusal(c), "its session may live")
		time.Sleep(time.Minute)
		require.Equal(t, "c is not the leader\n", refusal(c, follow), "cut off, it cannot know")
		require.Equal(t, "c is not the leader\n", refusal(c), "nor can the second in line")
		zk.Heal("c")
		time.Sleep(time.Minute)
	})
}

func TestHandOverWaitsForARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a, b := join(t, zk, "a"), join(t, zk, "b")
		a.leads(t)
		resigned := make(chan error, 1)
		answer := post(electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			go func() { resigned <- a.candidate.Resign(context.Background()) }()
			<-r.Context().Done()
			time.Sleep(time.Second)
			require.Empty(t, resigned, "it waits")
			again := get(electionhttp.RequireLeader(a.candidate, http.NotFoundHandler(), electionhttp.WithFollower(a.follower)))
			require.Equal(t, "a is not the leader\n", again.Body.String(), "although it is first in line")
			require.False(t, b.candidate.HasLeadership())
			fmt.Fprint(w, "done")
		})))
		require.Equal(t, http.StatusOK, answer.Code, "nobody else has led")
		require.Equal(t, "done", answer.Body.String())
		require.NotEmpty(t, answer.Header().Get(electionhttp.TokenHeader))
		require.NoError(t, <-resigned)
		b.leads(t)
	})
}

func TestAPanicReleasesTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := join(t, electiontest.New(t), "a")
		a.leads(t)
		h := electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("of next's") }))
		require.PanicsWithValue(t, "of next's", func() { get(h) })
		require.NoError(t, a.candidate.Shutdown(t.Context()))
	})
}

type ofTheRequest struct{}

func TestContextIsTheRequestsAndEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := join(t, zk, "a")
		term := a.leads(t)
		ctx, cancel := context.WithDeadlineCause(context.WithValue(t.Context(), ofTheRequest{}, "value"), time.Now().Add(time.Hour), io.ErrNoProgress)
		defer cancel()
		within := func(ctx context.Context, f func(context.Context)) {
			next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context()) })
			serve(electionhttp.RequireLeader(a.candidate, next), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		}
		within(ctx, func(ctx context.Context) {
			require.Equal(t, "value", ctx.Value(ofTheRequest{}))
			require.Same(t, term, electionhttp.TermFrom(ctx))
			_, ok := ctx.Deadline()
			require.True(t, ok)
			require.NoError(t, ctx.Err())
			require.NoError(t, a.candidate.Resign(ctx), "it does not wait for itself")
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), election.ErrResigned)
		})

		a.leads(t)
		within(ctx, func(ctx context.Context) {
			time.Sleep(time.Hour)
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), io.ErrNoProgress)
		})
		require.True(t, a.candidate.HasLeadership())
		require.Nil(t, electionhttp.TermFrom(t.Context()))
	})
}

func TestTokenIsInTheRequestAndInTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := join(t, zk, "a")
		term := a.leads(t)
		var seen []string
		h := electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen = r.Header.Values(electionhttp.TokenHeader)
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(electionhttp.TokenHeader, "0xffff")
		answer := serve(h, r)
		require.Equal(t, []string{hex(term.Token())}, seen, "the client's is not believed")
		require.Equal(t, hex(term.Token()), answer.Header().Get(electionhttp.TokenHeader))
		require.Equal(t, "0xffff", r.Header.Get(electionhttp.TokenHeader), "the client's request is left as it was")
		var status struct{ Token string }
		require.NoError(t, json.Unmarshal(get(electionhttp.Status(a.candidate)).Body.Bytes(), &status))
		require.Equal(t, status.Token, seen[0])
	})
}

// lostIn has a lose its term, to b, while next runs: next does what before says, then
// the term is lost, and then next does what after says.
func lostIn(t *testing.T, before, after func(w http.ResponseWriter)) (h http.Handler) {
	return loses(t, func(w http.ResponseWriter, lose func()) {
		before(w)
		lose()
		after(w)
	})
}

// loses is lostIn for a next that says itself when a loses its term.
func loses(t *testing.T, next func(w http.ResponseWriter, lose func())) (h http.Handler) {
	zk := electiontest.New(t)
	a, b := join(t, zk, "a"), join(t, zk, "b")
	a.leads(t)
	t.Cleanup(func() { // so that a's client is closed in good order
		zk.Heal("a")
		time.Sleep(time.Minute)
	})
	return electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next(w, func() {
			zk.Cut("a")
			b.leads(t)
			require.Error(t, r.Context().Err())
		})
	}))
}

func nothing(http.ResponseWriter) {}

func TestAnswerIs502IfTheTermWasLostBeforeItBegan(t *testing.T) {
	for name, after := range map[string]func(http.ResponseWriter){
		"nothing": nothing,
		"write": func(w http.ResponseWriter) {
			_, err := io.WriteString(w, "done")
			require.ErrorIs(t, err, election.ErrTermOver)
			require.ErrorIs(t, err, election.ErrLeaseExpired)
			_, err = io.Copy(w, readerOnly{strings.NewReader("more")})
			require.ErrorIs(t, err, election.ErrTermOver)
		},
		"copy": func(w http.ResponseWriter) {
			_, err := io.Copy(w, readerOnly{strings.NewReader("done")})
			require.ErrorIs(t, err, election.ErrTermOver)
		},
		"head": func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) },
		"head, and more": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Set-Cookie", "trailer=1")
		},
		"flush": func(w http.ResponseWriter) {
			require.ErrorIs(t, http.NewResponseController(w).Flush(), election.ErrTermOver)
			w.(http.Flusher).Flush()
		},
		"hijack": func(w http.ResponseWriter) {
			_, _, err := http.NewResponseController(w).Hijack()
			require.ErrorIs(t, err, election.ErrTermOver)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := lostIn(t, func(w http.ResponseWriter) { w.Header().Set("Set-Cookie", "next=1") }, after)
				answer := post(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Outer", "1")
					h.ServeHTTP(w, r)
				}))
				require.Equal(t, http.StatusBadGateway, answer.Code)
				require.Contains(t, answer.Body.String(), "a is not the leader any more, and may have done it")
				require.Equal(t, 1, strings.Count(answer.Body.String(), "\n"))
				require.True(t, strings.HasSuffix(answer.Body.String(), ")\n"), "and nothing of next's")
				require.Equal(t, "1", answer.Header().Get("X-Outer"))
				for _, key := range []string{"Retry-After", electionhttp.TokenHeader, "Set-Cookie"} {
					require.Empty(t, answer.Header().Get(key), key)
				}
			})
		})
	}
}

// readerOnly hides that a Reader could write itself.
type readerOnly struct{ io.Reader }

// What next reads for its answer may take as long as other work.
func TestAnswerIs502IfTheTermWasLostWhileNextReadItsFirstBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := loses(t, func(w http.ResponseWriter, lose func()) {
			_, err := io.Copy(w, reader(func(b []byte) (int, error) { lose(); return copy(b, "done"), io.EOF }))
			require.ErrorIs(t, err, election.ErrTermOver)
		})
		require.Equal(t, http.StatusBadGateway, post(h).Code)
	})
}

// reader is a function that reads.
type reader func([]byte) (int, error)

func (r reader) Read(b []byte) (int, error) { return r(b) }

// Early hints are no answer: that follows, and can still be 502.
func TestEarlyHintsGoOutBeforeTheLookAtTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := lostIn(t, func(w http.ResponseWriter) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
		}, nothing)
		net := newNetwork()
		net.start(t, "a:80", h)
		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil }})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a:80/", nil)
		require.NoError(t, err)
		resp, err := net.transport(t).RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusBadGateway, resp.StatusCode)
		require.Equal(t, 1, hints)
	})
}

// A client must not take an answer that was cut short for a whole one.
func TestAnswerThatHasBegunIsBrokenOffIfTheTermIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := lostIn(t, func(w http.ResponseWriter) {
			_, err := io.WriteString(w, "the beginning")
			require.NoError(t, err)
			require.NoError(t, http.NewResponseController(w).Flush())
		}, func(w http.ResponseWriter) {
			_, err := io.WriteString(w, ", and what next still writes")
			require.NoError(t, err, "it is next's answer")
		})
		net := newNetwork()
		net.start(t, "a:80", h)
		resp, err := (&http.Client{Transport: net.transport(t)}).Get("http://a:80/")
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		_, err = io.ReadAll(resp.Body)
		require.Error(t, err)
	})
}

// With fast failover another process may lead long before the session's lease ends.
func TestAnswerOfATermWithFastFailoverGoesOutOnlyWithinTheShortLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, fast := electiontest.New(t), election.WithFastFailover(500*time.Millisecond)
		a, b := join(t, zk, "a", fast), join(t, zk, "b", fast)
		a.leads(t)
		answer := post(electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			go a.candidate.Shutdown(context.Background())
			synctest.Wait()
			zk.Cut("a")
			b.leads(t)
			require.False(t, time.Now().Before(a.candidate.Status().LeaseEnd))
			fmt.Fprint(w, "done")
		})))
		require.Equal(t, http.StatusBadGateway, answer.Code)
		zk.Heal("a")
		time.Sleep(time.Minute)
	})
}

// A connection that next has taken over is not broken off, and no panic goes through outer
// handlers.
func TestHijackedConnectionIsNextsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := loses(t, func(w http.ResponseWriter, lose func()) {
			conn, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
			defer conn.Close()
			lose()
			fmt.Fprint(conn, "HTTP/1.0 200 OK\r\n\r\ndone")
		})
		net, panics := newNetwork(), 0
		net.start(t, "a:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					panics++
				}
			}()
			h.ServeHTTP(w, r)
		}))
		resp, err := (&http.Client{Transport: net.transport(t)}).Get("http://a:80/")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "done", string(text))
		synctest.Wait()
		require.Zero(t, panics)
	})
}

func TestFilesPassThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := join(t, electiontest.New(t), "a")
		a.leads(t)
		net := newNetwork()
		net.start(t, "a:80", electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			require.NoError(t, http.NewResponseController(w).SetReadDeadline(time.Time{}))
			_, err := io.Copy(w, readerOnly{strings.NewReader("before ")})
			require.NoError(t, err)
			_, err = w.(io.ReaderFrom).ReadFrom(readerOnly{strings.NewReader("and after")})
			require.NoError(t, err)
		})))
		resp, err := (&http.Client{Transport: net.transport(t)}).Get("http://a:80/")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "before and after", string(text))
	})
}

func TestWrongArgumentsAreNamedByEveryAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := join(t, electiontest.New(t), "a")
		lead, forward := electionhttp.RequireLeader, electionhttp.ForwardToLeader
		for want, h := range map[string]http.Handler{
			"RequireLeader: the candidate is nil":                  lead(nil, http.NotFoundHandler()),
			"RequireLeader: next is nil":                           lead(a.candidate, nil),
			"RequireLeader: the candidate is nil next is nil":      lead(nil, nil),
			"RequireLeader: option 0 is nil":                       lead(a.candidate, http.NotFoundHandler(), nil),
			"RequireLeader: WithOtherwise: the handler is nil":     lead(a.candidate, http.NotFoundHandler(), electionhttp.WithOtherwise(nil)),
			"RequireLeader: WithFollower: the follower is nil":     lead(a.candidate, http.NotFoundHandler(), electionhttp.WithFollower(nil)),
			"RequireLeader: WithAddressKey: the key is empty":      lead(a.candidate, http.NotFoundHandler(), electionhttp.WithAddressKey("")),
			"ForwardToLeader: the follower is nil":                 forward(nil),
			"ForwardToLeader: option 1 is nil":                     forward(a.follower, electionhttp.WithHTTPS(), nil),
			"ForwardToLeader: WithAddressKey: the key is empty":    forward(a.follower, electionhttp.WithAddressKey("")),
			"ForwardToLeader: WithTransport: the transport is nil": forward(a.follower, electionhttp.WithTransport(nil)),
			"Status: the candidate is nil":                         electionhttp.Status(nil),
			"Ready: no client is given":                            electionhttp.Ready(),
			"Ready: client 1 is nil":                               electionhttp.Ready(a.client, nil),
		} {
			answer := get(h)
			if answer.Code != http.StatusInternalServerError || answer.Body.String() != "electionhttp: "+want+"\n" {
				t.Errorf("want %q, got %d %s", want, answer.Code, answer.Body)
			}
		}
	})
}
