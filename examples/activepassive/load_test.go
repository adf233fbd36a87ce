package main

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Three of four requests are reads.
const (
	rate  = 200 // per second
	often = 180 // requests per second, at least, by the clock of the sender
)

// load sends requests at a steady rate until it is stopped. The times are fixed
// beforehand. However long an answer takes, the next request is sent at its time, or at
// once if this machine is late.
type load struct {
	url  string
	quit chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex // guards the following
	answers []answer
}

func (s *system) load() *load {
	l := &load{url: s.URL + hello, quit: make(chan struct{})}
	s.t.Cleanup(l.stop)
	l.work.Go(l.run)
	return l
}

func (l *load) run() {
	began := time.Now()
	for i := 0; ; i++ {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(i) * time.Second / rate))):
		case <-l.quit:
			return
		}
		method := http.MethodGet
		if i%4 == 0 {
			method = http.MethodPost
		}
		l.work.Go(func() {
			a := ask(method, l.url)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.answers = append(l.answers, a)
		})
	}
}

// stop ends the load. It may be called twice.
func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	l.work.Wait()
}

// count returns how many answers so far satisfy want.
func (l *load) count(want func(answer) bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if want(a) {
			n++
		}
	}
	return n
}

func number(t *testing.T, token string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(token, 0, 64) // a token is hexadecimal
	require.NoError(t, err)
	return n
}
