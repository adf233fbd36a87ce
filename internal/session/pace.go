package session

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// paced is a host provider that spreads the attempts to connect over time.
//
// The first attempts are made at once: one to each address of each server, and hasty
// more. After that the driver is asked for its pause of a second
//
//   - after each round, as the wrapped provider says,
//   - after each connection, if connections do not last,
//   - after each round plus hasty, if the wrapped provider never asks for it. Only in
//     this pause does the driver answer pending calls and look whether it was closed
//     (conn.go, connect).
//
// Before a dial, wait adds what the driver cannot do: a random time, so that no two
// clients keep step, and gaps between the attempts of a round.
type paced struct {
	zk.HostProvider
	closed context.Context // ends with the session
	times  func() int      // how many addresses a server has at most

	mu        sync.Mutex // guards the following
	jitter    *rand.Rand // seeded with the session's start, so that a run in virtual time can be repeated
	server    string     // of the last attempt
	tried     int        // attempts since the last pause, or since the last connection that lasted
	failed    int        // attempts since the last greeting
	flaps     int        // connections in a row that did not last
	since     time.Time  // when the present connection was made
	began     time.Time  // when the last attempt began
	notBefore time.Time  // when the next attempt may begin
	had       bool       // there is a session that can expire
	over      bool       // a server has just said that it expired: the next attempt goes to the same server
}

const (
	lasting = time.Second // a connection that lasted this long is no flap
	hasty   = 3           // connections beyond one to each address that need no pause

	driverPause = time.Second // conn.go, connect

	// During an outage a client makes about two attempts a second at most, and 1.3 with
	// three servers that refuse. A server that is back is tried within 1.5 s, plus 0.75 s
	// for each other address that is still dead.
	afterPause = 500 * time.Millisecond // the most that is added to the driver's pause
	minGap     = 250 * time.Millisecond // between the starts of two attempts of a round, plus up to afterPause
)

func newPaced(provider zk.HostProvider, closed context.Context, times func() int) *paced {
	return &paced{HostProvider: provider, closed: closed, times: times,
		jitter: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))}
}

// Next returns the server for the next attempt. The driver calls it with a lock held, so
// it must not wait.
func (p *paced) Next() (server string, retryStart bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.countFlap()
	if p.over {
		p.over = false
		return p.server, p.closed.Err() != nil
	}

	round := p.round()
	p.server, retryStart = p.HostProvider.Next()
	retryStart = retryStart || p.tried >= round+hasty || p.flaps >= round+hasty || p.closed.Err() != nil

	p.notBefore = time.Time{}
	switch jitter := time.Duration(p.jitter.Int64N(int64(afterPause))); {
	case retryStart:
		p.tried = 0
		p.notBefore = time.Now().Add(driverPause + jitter)
	case p.failed > round:
		p.notBefore = p.began.Add(minGap + jitter)
	}

	p.tried++
	p.failed++
	return p.server, retryStart
}

// countFlap counts the connection that has just ended, if there was one, as a flap or as
// one that lasted.
func (p *paced) countFlap() {
	switch {
	case p.since.IsZero():
	case time.Since(p.since) >= lasting:
		p.tried, p.flaps = 0, 0
	default:
		p.flaps++
	}
	p.since = time.Time{}
}

// round returns the number of attempts that reach every address once.
func (p *paced) round() int { return p.Len() * p.times() }

// Connected is called by the driver when a server has given it a session.
func (p *paced) Connected() {
	p.HostProvider.Connected()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.failed, p.had = time.Now(), 0, true
}

// expired takes the word of a server that the session has expired. The next attempt then
// goes to the same server without a pause, but only once for each session; again reports
// whether it does.
func (p *paced) expired() (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over, p.had = p.had, false
	return p.over
}

// wait waits until the attempt is due, or until the session is closed. It returns the
// number of attempts in a round, or 0 if attempts are not paced.
func (p *paced) wait() (round int) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	pause := time.Until(p.notBefore)
	p.mu.Unlock()

	if pause > 0 {
		due := time.NewTimer(pause)
		defer due.Stop()
		select {
		case <-due.C:
		case <-p.closed.Done():
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Now()
	return p.round()
}
