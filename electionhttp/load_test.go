package electionhttp_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

const (
	rate      = 200 // requests per second
	shortWork = 5 * time.Millisecond
	longWork  = 300 * time.Millisecond // of each fiftieth request
	hang      = time.Minute            // an answer that takes longer never comes
)

// span is the time in which a handler ran in the term with this token.
type span struct {
	token    int64
	from, to time.Time
}

// reply is what one request got. status is 0 if there was no answer.
type reply struct {
	at       string // the process that was asked
	status   int
	token    int64
	from, to time.Time
	retry    bool // Retry-After
}

// load is three processes, whose requests come in turn at all of them, and what they did.
type load struct {
	zk    *electiontest.Ensemble
	net   *network
	procs []*process
	hosts map[string]*host
	quit  chan struct{}
	work  sync.WaitGroup

	mu      sync.Mutex // guards the following
	spans   []span
	replies []reply
}

func newLoad(t *testing.T) *load {
	l := &load{zk: electiontest.New(t), net: newNetwork(), hosts: map[string]*host{}, quit: make(chan struct{})}
	for _, name := range []string{"a", "b", "c"} {
		p := join(t, l.zk, name)
		l.procs = append(l.procs, p)
		l.hosts[name] = l.net.start(t, address(name), front(t, l.net, p, l.serve))
	}
	l.procs[0].leads(t)
	synctest.Wait()
	client := &http.Client{Transport: l.net.transport(t), Timeout: hang}
	l.work.Go(func() { l.send(client) })
	return l
}

// serve is the service's work. It does not look at its context, so it runs on when the
// term has ended.
func (l *load) serve(w http.ResponseWriter, r *http.Request) {
	s := span{token: electionhttp.TermFrom(r.Context()).Token(), from: time.Now()}
	took := shortWork
	if r.URL.Path == "/long" {
		took = longWork
	}
	time.Sleep(took)
	s.to = time.Now()
	l.mu.Lock()
	l.spans = append(l.spans, s)
	l.mu.Unlock()
	fmt.Fprint(w, "done")
}

func (l *load) send(client *http.Client) {
	every := time.NewTicker(time.Second / rate)
	defer every.Stop()
	for i := 0; ; i++ {
		select {
		case <-every.C:
		case <-l.quit:
			return
		}
		url := "http://" + address(l.procs[i%len(l.procs)].name) + "/"
		if i%50 == 0 {
			url += "long"
		}
		l.work.Go(func() { l.ask(client, l.procs[i%len(l.procs)].name, url) })
	}
}

func (l *load) ask(client *http.Client, at, url string) {
	a := reply{at: at, from: time.Now()}
	if resp, err := client.Post(url, "text/plain", nil); err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			a.status, a.retry = resp.StatusCode, resp.Header.Get("Retry-After") != ""
			a.token, _ = strconv.ParseInt(resp.Header.Get(electionhttp.TokenHeader), 0, 64)
		}
	}
	a.to = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replies = append(l.replies, a)
}

// end stops the load and returns what there was.
func (l *load) end() (spans []span, replies []reply) {
	close(l.quit)
	l.work.Wait()
	slices.SortFunc(l.spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.token, b.token), a.from.Compare(b.from)) })
	slices.SortFunc(l.replies, func(a, b reply) int { return a.from.Compare(b.from) })
	return l.spans, l.replies
}

// reigns joins the handlers of each term, and requires that those of two terms do not
// overlap, and that a later term has a larger token.
func reigns(t *testing.T, spans []span) (terms []span) {
	for _, s := range spans {
		if n := len(terms) - 1; n >= 0 && terms[n].token == s.token {
			terms[n].to = later(terms[n].to, s.to)
			continue
		}
		terms = append(terms, s)
	}
	for i := 1; i < len(terms); i++ {
		require.False(t, terms[i].from.Before(terms[i-1].to), "handlers with tokens %#x and %#x overlap", terms[i-1].token, terms[i].token)
	}
	return terms
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// check holds the replies to what is promised, and counts them. Only a process that is
// dead from a moment on may leave requests without an answer.
func check(t *testing.T, replies []reply, dead string, died time.Time) map[int]int {
	count, newest := map[int]int{}, []reply{}
	for _, a := range replies {
		count[a.status]++
		switch a.status {
		case http.StatusOK:
			require.NotZero(t, a.token)
		case http.StatusServiceUnavailable, http.StatusLoopDetected:
			require.True(t, a.retry, "nothing was done")
		case http.StatusBadGateway:
			require.False(t, a.retry, "it may have been done")
		default:
			require.Zero(t, a.status)
			require.Equal(t, dead, a.at, "a request to a process that lives has no answer")
			require.True(t, a.to.After(died) || a.to.Equal(died))
		}
		if a.status == http.StatusOK {
			newest = append(newest, a)
		}
	}
	for i, a := range newest { // sorted by the time at which they were sent
		for _, b := range newest[max(0, i-rate):i] {
			require.False(t, b.to.Before(a.from) && b.token > a.token, "a token has gone back from %#x to %#x", b.token, a.token)
		}
	}
	return count
}

// gap returns for how long no request was answered with 200 around a time: from when the
// last one that succeeded before was sent until the first after it was answered.
func gap(replies []reply, around time.Time) time.Duration {
	var last, first time.Time
	for _, a := range replies {
		switch {
		case a.status != http.StatusOK:
		case a.from.Before(around):
			last = a.from
		case first.IsZero() || a.to.Before(first):
			first = a.to
		}
	}
	return first.Sub(last)
}

func TestGracefulHandOverUnderLoadLosesNothing(t *testing.T) {
	for name, leave := range map[string]func(p *process) error{
		"resign":   func(p *process) error { return p.candidate.Resign(context.Background()) },
		"shutdown": func(p *process) error { return p.candidate.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoad(t)
				time.Sleep(5*time.Second + 10*time.Millisecond) // while a long request is at work
				left := time.Now()
				require.NoError(t, leave(l.procs[0]))
				handed := time.Now()
				l.procs[1].leads(t)
				time.Sleep(5 * time.Second)
				spans, replies := l.end()

				terms := reigns(t, spans)
				require.Len(t, terms, 2)
				none := terms[1].from.Sub(terms[0].to)
				count := check(t, replies, "", time.Time{})
				t.Logf("the leader left %v after it was asked to; no handler ran for %v, no request was done for %v; answers %v",
					handed.Sub(left), none, gap(replies, handed), count)
				require.Zero(t, count[http.StatusBadGateway], "no answer is in doubt")
				require.Zero(t, count[0])
				require.Less(t, none, 100*time.Millisecond)
				require.GreaterOrEqual(t, handed.Sub(left), longWork/2, "it waited for the long request")
			})
		})
	}
}

// A process that dies ends its connections. A process that is frozen keeps them, and
// nothing comes any more.
func TestCrashUnderLoadLeavesNoRequestToALivingProcessWithoutAnswer(t *testing.T) {
	for name, crash := range map[string]func(h *host){
		"dies":   (*host).kill,
		"frozen": (*host).freeze,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoad(t)
				time.Sleep(5*time.Second + 10*time.Millisecond)
				crashed := time.Now()
				l.zk.Cut("a")
				crash(l.hosts["a"])
				l.procs[1].leads(t)
				replaced := time.Now()
				time.Sleep(10 * time.Second)
				spans, replies := l.end()

				terms := reigns(t, spans)
				require.Len(t, terms, 2)
				count := check(t, replies, "a", crashed)
				t.Logf("another led %v after the crash; no handler ran for %v, no request was done for %v; answers %v",
					replaced.Sub(crashed), terms[1].from.Sub(terms[0].to), gap(replies, crashed), count)
				require.LessOrEqual(t, replaced.Sub(crashed), election.DefaultSessionTimeout+2*time.Second)
				require.NotZero(t, count[http.StatusBadGateway], "what was at work is in doubt")
				slowest := slices.MaxFunc(replies, func(a, b reply) int { return cmp.Compare(patience(a), patience(b)) })
				t.Logf("the slowest answer of a living process took %v", patience(slowest))
				require.Less(t, patience(slowest), election.DefaultSessionTimeout+5*time.Second)
				l.zk.Heal("a")
				time.Sleep(time.Minute)
			})
		})
	}
}

// patience is how long a client waited for an answer of a process that lives.
func patience(a reply) time.Duration {
	if a.at == "a" {
		return 0
	}
	return a.to.Sub(a.from)
}
