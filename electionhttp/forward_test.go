package electionhttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

// front is a handler of a process: it serves next if the process leads, and forwards
// requests otherwise.
func front(t *testing.T, net *network, p *process, next http.HandlerFunc) http.Handler {
	return electionhttp.RequireLeader(p.candidate, next,
		electionhttp.WithOtherwise(electionhttp.ForwardToLeader(p.follower, electionhttp.WithTransport(net.transport(t)))))
}

// pair is two processes, of which a leads and serves next at a:80.
type pair struct {
	zk   *electiontest.Ensemble
	net  *network
	a, b *process
	host *host // a's
	atB  http.Handler
}

func newPair(t *testing.T, next http.HandlerFunc, opts ...election.Option) *pair {
	zk, net := electiontest.New(t), newNetwork()
	p := &pair{zk: zk, net: net, a: join(t, zk, "a", opts...), b: join(t, zk, "b")}
	p.a.leads(t)
	p.host = net.start(t, "a:80", front(t, net, p.a, next))
	p.atB = front(t, net, p.b, func(http.ResponseWriter, *http.Request) { require.Fail(t, "b does not lead") })
	synctest.Wait() // b's Follower knows a
	return p
}

func TestRequestReachesTheLeaderAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *http.Request
		var body []byte
		p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			w.Header().Set("X-Answer", "yes")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, "written")
		})
		r := httptest.NewRequest(http.MethodPut, "http://example.com/a%2Fb?c=d;e&f=%zz", strings.NewReader("text"))
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set(electionhttp.TokenHeader, "0xffff")
		answer := serve(p.atB, r)

		require.Equal(t, http.StatusCreated, answer.Code)
		require.Equal(t, "written", answer.Body.String())
		require.Equal(t, "yes", answer.Header().Get("X-Answer"))
		token := hex(p.a.candidate.Term().Token())
		require.Equal(t, token, answer.Header().Get(electionhttp.TokenHeader))
		require.Equal(t, token, got.Header.Get(electionhttp.TokenHeader))
		require.Equal(t, []string{http.MethodPut, "example.com", "/a%2Fb?c=d;e&f=%zz", "text"},
			[]string{got.Method, got.Host, got.RequestURI, string(body)})
		require.Equal(t, "198.51.100.7, 192.0.2.1", got.Header.Get("X-Forwarded-For"))
		require.Equal(t, "https", got.Header.Get("X-Forwarded-Proto"), "the balancer's word stays")
		require.Equal(t, "example.com", got.Header.Get("X-Forwarded-Host"))
		require.NotContains(t, got.Header, "User-Agent")
	})
}

func TestRequestIsForwardedOnceAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		p := newPair(t, func(http.ResponseWriter, *http.Request) { served++ })
		marked := httptest.NewRequest(http.MethodPost, "/", nil)
		marked.Header.Set(electionhttp.ForwardedHeader, "")
		marked.Header.Set("Connection", electionhttp.ForwardedHeader)
		answer := serve(p.atB, marked)
		require.Equal(t, http.StatusLoopDetected, answer.Code)
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "forwarded once already, to a process that does not lead: a does")
		require.Zero(t, served)

		// What a Follower that is behind does: this one takes b for the leader.
		p.net.start(t, "b:80", p.atB)
		other, err := election.NewCandidate(p.b.client, "/other", election.WithMetadata(map[string]string{"address": "b:80"}))
		require.NoError(t, err)
		require.NoError(t, other.Start(t.Context()))
		behind := p.a.client.Follow("/other")
		synctest.Wait()
		answer = post(electionhttp.ForwardToLeader(behind, electionhttp.WithTransport(p.net.transport(t))))
		require.Equal(t, http.StatusLoopDetected, answer.Code)
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
		require.Zero(t, served)
	})
}

// The mark takes nothing but the second hop away.
func TestAForwardedRequestIsServedByTheLeaderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header.Get(electionhttp.ForwardedHeader))
		})
		require.Equal(t, "1", get(p.atB).Body.String())
		require.NoError(t, p.a.candidate.Close())
		p.b.leads(t)
		synctest.Wait()
		marked := httptest.NewRequest(http.MethodPost, "/", nil)
		marked.Header.Set(electionhttp.ForwardedHeader, "1")
		plain := electionhttp.RequireLeader(p.a.candidate, http.NotFoundHandler())
		require.Equal(t, http.StatusServiceUnavailable, serve(plain, marked).Code)
	})
}

func TestWithoutAKnownLeaderTheAnswerIsTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, net := electiontest.New(t), newNetwork()
		a := join(t, zk, "a")
		h := front(t, net, a, func(http.ResponseWriter, *http.Request) {})
		a.leads(t)
		require.NoError(t, a.candidate.Shutdown(t.Context()))
		synctest.Wait()
		tryAgain := func(says string) {
			t.Helper()
			answer := post(h)
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Equal(t, "1", answer.Header().Get("Retry-After"))
			require.Contains(t, answer.Body.String(), says)
		}
		tryAgain("who leads is not known: election: no leader")
		zk.Cut("a")
		time.Sleep(time.Minute)
		tryAgain("who leads is not known: election: disconnected")
		zk.Heal("a")
		time.Sleep(time.Minute)
		require.NoError(t, a.client.Close())
		tryAgain("who leads is not known: election: closed")
	})
}

func TestTheLastLeaderKnownIsAskedWhileZooKeeperIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })
		p.zk.Cut("b")
		time.Sleep(time.Minute)
		_, err := p.b.follower.Leader()
		require.ErrorIs(t, err, election.ErrDisconnected)
		require.Equal(t, "done", post(p.atB).Body.String())
		p.zk.Heal("b")
		time.Sleep(time.Minute)
	})
}

// The first in line may need a moment before it leads. It must not forward to itself.
func TestAProcessDoesNotForwardToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(http.ResponseWriter, *http.Request) {})
		p.zk.Cut("a") // its lease ends, and it stays first in line as far as it knows
		time.Sleep(election.DefaultSessionTimeout / 2)
		answer := post(front(t, p.net, p.a, func(http.ResponseWriter, *http.Request) {}))
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Contains(t, answer.Body.String(), "a is first in line, and does not lead at this moment")
		p.zk.Heal("a")
		time.Sleep(time.Minute)
	})
}

func TestAddressIsCheckedBeforeAnythingIsSent(t *testing.T) {
	for address, says := range map[string]string{
		"":                               `"at" of its metadata is missing`,
		"a":                              "is not host:port",
		"http://a:80":                    "is not host:port",
		"a:80/admin":                     "its port is no number",
		"a:http":                         "its port is no number",
		"a:0":                            "its port is no number",
		"a:65536":                        "its port is no number",
		":80":                            "others cannot reach",
		"0.0.0.0:80":                     "others cannot reach",
		"[::]:80":                        "others cannot reach",
		"[fe80::1%eth0]:80":              "its zone means something on one machine only",
		"user@a:80":                      "neither a name nor an IP address",
		"a/b:80":                         "neither a name nor an IP address",
		"a\r\nb:80":                      "neither a name nor an IP address",
		"a?b:80":                         "neither a name nor an IP address",
		strings.Repeat("a", 254) + ":80": "neither a name nor an IP address",
		"a_1.example.com:80":             "",
		"192.0.2.1:80":                   "",
		"[2001:db8::1]:80":               "",
	} {
		synctest.Test(t, func(t *testing.T) {
			zk, net := electiontest.New(t), newNetwork()
			join(t, zk, "a", election.WithMetadata(map[string]string{"at": address})).leads(t)
			f := join(t, zk, "b").follower
			synctest.Wait()
			answer := post(electionhttp.ForwardToLeader(f, electionhttp.WithAddressKey("at"), electionhttp.WithTransport(net.transport(t))))
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Equal(t, "1", answer.Header().Get("Retry-After"))
			if says == "" {
				says = fmt.Sprintf("the leader, a at %s, cannot be reached: ", address) // since nothing listens there
			}
			require.Contains(t, answer.Body.String(), says, "%q", address)
			require.Equal(t, 1, strings.Count(answer.Body.String(), "\n"))
		})
	}
}

// Only an answer that says that nothing was done has Retry-After.
func TestAnswerTellsWhetherTheLeaderMayHaveDoneIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pair
		p = newPair(t, func(http.ResponseWriter, *http.Request) {
			p.host.kill()
		})
		answer := post(p.atB)
		require.Equal(t, http.StatusBadGateway, answer.Code)
		require.Empty(t, answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "a at a:80 has not answered, and may have done it")

		answer = post(p.atB) // the process has gone
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "the leader, a at a:80, cannot be reached: dial tcp: connection refused")
	})
}

// A machine that is frozen keeps its connections open. Whoever waits for its answer would
// wait for ever.
func TestRequestIsGivenUpIfItsLeaderIsReplacedAndDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pair
		p = newPair(t, func(http.ResponseWriter, *http.Request) {
			p.zk.Cut("a")
			p.host.freeze()
		})
		asked := time.Now()
		answers := make(chan *httptest.ResponseRecorder)
		go func() { answers <- post(p.atB) }()
		p.b.leads(t)
		replaced := time.Now()
		answer := <-answers
		require.Equal(t, http.StatusBadGateway, answer.Code)
		require.Empty(t, answer.Header().Get("Retry-After"))
		require.Contains(t, answer.Body.String(), "another process has become the leader, and no answer came")
		require.InDelta(t, time.Second, time.Since(replaced), float64(100*time.Millisecond))
		t.Logf("given up %v after it was sent", time.Since(asked))
		p.zk.Heal("a")
		time.Sleep(time.Minute)
	})
}

func TestRequestIsGivenUpIfItsLeaderDoesNotAnswerAndNobodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pair
		p = newPair(t, func(http.ResponseWriter, *http.Request) {
			p.zk.Cut("a")
			p.host.freeze()
		})
		require.NoError(t, p.b.candidate.Shutdown(t.Context()))
		answer := post(p.atB)
		require.Equal(t, http.StatusBadGateway, answer.Code)
		_, err := p.b.follower.Leader()
		require.ErrorIs(t, err, election.ErrNoLeader)
		p.zk.Heal("a")
		time.Sleep(time.Minute)
	})
}

// After a hand-over an answer may still be on its way, and a long one goes on.
func TestAnswerOfAFormerLeaderArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.net.start(t, "a:80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // without RequireLeader
			require.NoError(t, p.a.candidate.Shutdown(context.Background()))
			p.b.leads(t)
			time.Sleep(time.Second / 2)
			require.NoError(t, http.NewResponseController(w).Flush())
			time.Sleep(time.Minute)
			fmt.Fprint(w, "done")
		}))
		answer := post(p.atB)
		require.Equal(t, http.StatusOK, answer.Code)
		require.Equal(t, "done", answer.Body.String())
	})
}

func TestAnswerIsStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		p := newPair(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: first\n\n")
			require.NoError(t, http.NewResponseController(w).Flush())
			<-read
			fmt.Fprint(w, "data: last\n\n")
		})
		p.net.start(t, "b:80", p.atB)
		resp, err := (&http.Client{Transport: p.net.transport(t)}).Get("http://b:80/")
		require.NoError(t, err)
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "data: first\n", line)
		close(read)
		rest, err := io.ReadAll(lines)
		require.NoError(t, err)
		require.Equal(t, "\ndata: last\n\n", string(rest))
	})
}

// An upgraded connection, such as a WebSocket, goes through, holds the term, and belongs
// to the handler.
func TestUpgradedConnectionGoesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			require.NoError(t, err)
			defer conn.Close()
			defer context.AfterFunc(r.Context(), func() { _ = conn.Close() })()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			require.NoError(t, rw.Flush())
			_, _ = io.Copy(conn, rw)
		})
		p.net.start(t, "b:80", p.atB)
		conn, err := p.net.dial(t.Context(), "tcp", "b:80")
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		require.NoError(t, err)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		for _, line := range []string{"one\n", "two\n"} {
			_, err = io.WriteString(conn, line)
			require.NoError(t, err)
			back, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, line, back)
			time.Sleep(time.Minute)
		}

		require.NoError(t, p.a.candidate.Shutdown(t.Context()), "the handler's context has ended")
		_, err = in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

// knowsALeader waits until f knows one.
func knowsALeader(f *election.Follower) {
	for {
		changed := f.Changed()
		if _, err := f.Leader(); err == nil {
			return
		}
		<-changed
	}
}

// The default transport: an address that is served, and then refuses.
func TestDefaultTransportReachesThePeerItself(t *testing.T) {
	zk := electiontest.New(t)
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%v", r.Header["Accept-Encoding"])
	}))
	defer leader.Close()
	at := leader.Listener.Addr().String()
	join(t, zk, "a", election.WithMetadata(map[string]string{"address": at})).leads(t)
	f := join(t, zk, "b").follower
	knowsALeader(f)

	answer := post(electionhttp.ForwardToLeader(f))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	require.Equal(t, "[]", answer.Body.String())
	leader.Close()
	answer = post(electionhttp.ForwardToLeader(f))
	require.Equal(t, http.StatusServiceUnavailable, answer.Code, answer.Body)
	require.Contains(t, answer.Body.String(), "cannot be reached")
}

func TestRequestsGoByHTTPSIfAskedTo(t *testing.T) {
	zk := electiontest.New(t)
	leader := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS != nil) }))
	leader.Config.ErrorLog = log.New(io.Discard, "", 0)
	leader.StartTLS()
	defer leader.Close()
	_, port, err := net.SplitHostPort(leader.Listener.Addr().String())
	require.NoError(t, err)
	join(t, zk, "a", election.WithMetadata(map[string]string{"address": "127.0.0.1:" + port})).leads(t)
	f := join(t, zk, "b").follower
	knowsALeader(f)
	answer := get(electionhttp.ForwardToLeader(f, electionhttp.WithHTTPS(), electionhttp.WithTransport(leader.Client().Transport)))
	require.Equal(t, "true", answer.Body.String())
	answer = get(electionhttp.ForwardToLeader(f, electionhttp.WithHTTPS()))
	require.Equal(t, http.StatusBadGateway, answer.Code, "the default does not know the authority")
	require.Contains(t, answer.Body.String(), "certificate")
}
