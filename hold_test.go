package election_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// write is what one request wrote, in the order of ZooKeeper's transactions.
type write struct{ zxid, token int64 }

// span is the time in which one request held the term with this token.
type span struct {
	token      int64
	began, end time.Time
}

// ledger is what the handlers of all candidates have written.
type ledger struct {
	mu     sync.Mutex // guards the following
	writes []write
	spans  []span
}

func (l *ledger) wrote(zxid, token int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, write{zxid, token})
}

func (l *ledger) held(s span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans = append(l.spans, s)
}

// under is how many writes were made with a token.
func (l *ledger) under(token int64) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.writes {
		if w.token == token {
			n++
		}
	}
	return n
}

// writer is an HTTP server of one candidate. Its handler writes twice under Hold. Every
// tenth request waits after each write until the term is over, at most a quarter of a
// second, and so writes after that.
type writer struct {
	*httptest.Server
	client   *http.Client
	requests atomic.Int64
}

func newWriter(t *testing.T, p *peer, data string, l *ledger) *writer {
	w := &writer{}
	by := sharedAdmin(t)
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		term := p.Term()
		release, err := term.Hold()
		if err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer release()
		s := span{token: term.Token(), began: time.Now()}
		defer func() { s.end = time.Now(); l.held(s) }()
		slow := w.requests.Add(1)%10 == 0
		for range 2 {
			stat, err := by.Set(data, []byte(strconv.FormatInt(term.Token(), 10)), -1)
			if err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
				return
			}
			l.wrote(stat.Mzxid, term.Token())
			if slow {
				select {
				case <-term.Done():
				case <-time.After(time.Second / 4): // the request's own slowness
				}
			}
		}
	}))
	t.Cleanup(w.Close)
	w.client = w.Client()
	w.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
	return w
}

// load sends each writer 200 requests a second until stop is called.
func load(writers ...*writer) (stop func()) {
	end, all := make(chan struct{}), sync.WaitGroup{}
	all.Go(func() {
		tick := time.NewTicker(time.Second / 200)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-end:
				return
			}
			for _, w := range writers {
				all.Go(func() {
					if res, err := w.client.Get(w.URL); err == nil {
						res.Body.Close()
					}
				})
			}
		}
	})
	return func() { close(end); all.Wait() }
}

// Under load, and over several graceful hand-overs, no write of one term comes after a
// write of the next, by ZooKeeper's own order. Nor do the requests of two terms overlap.
func TestG3WorkStopsFirst_RequestsUnderHoldAreNeverOverlappedByTheSuccessors(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	sharedAdmin(t).make(path+"-data", "")
	peers := []*peer{newPeer(t, path, steady), newPeer(t, path, steady)}
	noOverlap(t, peers...)
	l := &ledger{}
	stop := load(newWriter(t, peers[0], path+"-data", l), newWriter(t, peers[1], path+"-data", l))
	defer func() { stop() }()

	const handOvers, enough = 8, 50
	term := peers[0].leads()
	peers[1].start()
	var tokens []int64
	for i := range handOvers {
		tokens = append(tokens, term.Token())
		eventually(t, func() bool { return l.under(term.Token()) >= enough }, "writes under load")
		require.NoError(t, peers[i%2].Resign(testContext(t)))
		require.ErrorIs(t, term.Err(), election.ErrResigned)
		term = peers[(i+1)%2].leads()
	}
	stop()
	stop = func() {}

	slices.SortFunc(l.writes, func(a, b write) int { return cmp.Compare(a.zxid, b.zxid) })
	require.True(t, slices.IsSortedFunc(l.writes, func(a, b write) int { return cmp.Compare(a.token, b.token) }),
		"an earlier term's write came after a later term's")
	slices.SortFunc(l.spans, func(a, b span) int { return a.began.Compare(b.began) })
	var latest span // of those with an earlier token
	for i, s := range l.spans {
		if i > 0 && s.token != l.spans[i-1].token {
			for _, before := range l.spans[:i] {
				if before.end.After(latest.end) {
					latest = before
				}
			}
		}
		require.False(t, s.began.Before(latest.end) && s.token != latest.token, "%v overlaps %v", s, latest)
	}
	t.Logf("%d requests wrote %d times under %d terms", len(l.spans), len(l.writes), len(tokens)+1)
	require.True(t, slices.IsSorted(tokens))
}
