package session

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// allowance is the time that a server gets to greet. It is short at first, because a
// server that accepts and never greets keeps all others from being tried.
//
// A short time alone would starve an overloaded server that greets late: it would never
// get a client, and would make and end a session for each attempt. So the time doubles
// after each round in which no server greeted and at least one let the time pass. One
// greeting resets it, so a silent server among others that greet never costs more than at
// first.
//
// The time grows to one session timeout, not to the 20/3 of it that the driver allows
// (conn.go, authenticate). When faults end, an attempt that began before may still hang,
// and there may be no leader until it is given up. Guarantee G6 leaves one session
// timeout and two seconds for that. And a session that is greeted later than its timeout
// could be over.
type allowance struct {
	mu     sync.Mutex // guards the following
	grown  int        // how often the time has doubled
	tried  int        // attempts in this round
	silent bool       // a server has let the time pass in this round
}

// maxGrown keeps the doubled time in the range of a Duration.
const maxGrown = 10

// begin takes the start of an attempt. round is the number of attempts in a round. If it
// is 0, the time never grows.
func (p *allowance) begin(round int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried >= round {
		if p.silent && round > 0 {
			p.grown = min(p.grown+1, maxGrown)
		}
		p.tried, p.silent = 0, false
	}
	p.tried++
}

// failed takes the error of an attempt. A dial that timed out does not count as silence:
// nothing has accepted the connection.
func (p *allowance) failed(err error) {
	var late net.Error
	var op *net.OpError
	if !errors.As(err, &late) || !late.Timeout() || errors.As(err, &op) && op.Op == "dial" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// greeted takes a greeting. If it says that the session is over, the time stays as long
// as it is: the next attempt asks for a new session, which takes the server at least as
// long.
func (p *allowance) greeted(over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried, p.silent = 0, false
	if !over {
		p.grown = 0
	}
}

// limit returns first, doubled as often as the time has grown, up to most; never less
// than first.
func (p *allowance) limit(first, most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(first, min(first<<p.grown, most))
}

// Allowance returns how long a dialer may wait for a server after the connection is made,
// for a TLS handshake say. It is first at the beginning, and grows up to most after
// rounds in which no server was quick enough. ctx is the context that [Config].Dialer was
// called with.
func Allowance(ctx context.Context, first, most time.Duration) time.Duration {
	if of, ok := ctx.Value(sessionKey{}).(ofSession); ok {
		return of.allowance.limit(first, most)
	}
	return first
}

// handshakeLimit returns the deadline for a greeting. It is computed from the deadline
// that the driver sets, 10 × recvTimeout, which is 20/3 of the session timeout T ahead. A
// server gets T/3 at first, at least 1 s, and up to T later.
func (p *allowance) handshakeLimit(deadline time.Time) time.Time {
	left := time.Until(deadline)
	return time.Now().Add(p.limit(max(left/20, time.Second), 3*left/20))
}
