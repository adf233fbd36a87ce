package zktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// dialLimit bounds how long a client's connection waits for the server's.
const dialLimit = 10 * time.Second

// link is what a Proxy does to all its connections.
type link int

const (
	passing    link = iota
	cut             // no connections, and none accepted
	blackholed      // connections stand, nothing passes
	stalled         // requests pass, replies do not
)

// Proxy stands between clients and a server, knows ZooKeeper's frames, and
// breaks the link between them: all of it (Cut, Blackhole, StallReplies,
// CloseConnections) or single messages (DropReply and its like). What is not
// ZooKeeper's plain protocol, such as TLS or the four-letter commands, passes
// through it uncounted by operation. Its methods may be called from any goroutine.
type Proxy struct {
	addr string
	work sync.WaitGroup // every goroutine that the Proxy started

	mu       sync.Mutex // guards the rest; never held across I/O on a connection
	target   string
	link     link
	changed  chan struct{} // closed and replaced when link changes
	listener net.Listener  // nil while cut or closed
	closed   bool
	conns    map[*proxyConn]struct{}
	rules    []*Rule
	stats    Stats
	sessions []Session // in the order of their first connection
	errs     []error   // failures with no caller to return them to; told by Close
}

// NewProxy starts a Proxy to target, which is host:port, and closes it when tb ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := ListenProxy(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeFor(tb, p.Close) })
	return p
}

// ListenProxy starts a Proxy to target. The caller must Close it.
func ListenProxy(target string) (*Proxy, error) {
	l, err := listenFree() // and keeps the port: between finding it free and listening there, another could take it
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target:  target,
		addr:    l.Addr().String(),
		changed: make(chan struct{}),
		conns:   map[*proxyConn]struct{}{},
		stats:   newStats(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acceptLocked(l)
	return p, nil
}

// Addr is where clients connect to. It stays the same across Cut and Heal.
func (p *Proxy) Addr() string { return p.addr }

// Target is the server that new connections lead to.
func (p *Proxy) Target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// SetTarget makes new connections lead to another server, which is host:port. Connections that stand stay as they are.
// The sessions of the former target are forgotten.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target, p.sessions = target, nil
}

// Cut closes all connections and refuses new ones, as a dead server's host does.
func (p *Proxy) Cut() { p.setLink(cut) }

// Blackhole keeps connections open and accepts new ones, but passes nothing
// either way: a partition that nobody is told of. What is sent meanwhile
// arrives after Heal, as TCP would deliver it.
func (p *Proxy) Blackhole() { p.setLink(blackholed) }

// StallReplies passes what clients send and withholds what the server sends.
func (p *Proxy) StallReplies() { p.setLink(stalled) }

// Heal ends every fault: the link passes again, and all rules are removed.
func (p *Proxy) Heal() {
	p.removeRules()
	p.setLink(passing)
}

// CloseConnections closes all connections once. Clients may reconnect at once.
func (p *Proxy) CloseConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeConnsLocked()
}

// Stats returns what was delivered so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.clone()
}

// ResetStats begins to count from zero.
func (p *Proxy) ResetStats() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats = newStats()
}

// Sessions are those begun or resumed through the Proxy that were not closed
// through it. Some may have expired since.
func (p *Proxy) Sessions() []Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sessions)
}

// ExpireSession ends all Sessions at the server, past the Proxy and hence in
// whatever state it is. It is an error when there were none.
func (p *Proxy) ExpireSession(ctx context.Context) error {
	sessions := p.Sessions()
	if len(sessions) == 0 {
		return fmt.Errorf("%w: none has passed the proxy %s", ErrNoSession, p.addr)
	}
	for _, s := range sessions {
		if err := ExpireSession(ctx, p.Target(), s.ID, s.Passwd); err != nil && !errors.Is(err, ErrNoSession) {
			return err
		}
		p.forget(s.ID)
	}
	return nil
}

// Close ends all connections and returns when no goroutine of the Proxy is left.
func (p *Proxy) Close() error {
	p.removeRules()
	p.mu.Lock()
	p.closed = true
	p.unlistenLocked()
	p.closeConnsLocked()
	err := errors.Join(p.errs...)
	p.mu.Unlock()
	p.work.Wait()
	return err
}

func (p *Proxy) removeRules() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		r.release()
	}
	p.rules = nil
}

// setLink is the only place where link changes.
func (p *Proxy) setLink(l link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.link = l
	close(p.changed)
	p.changed = make(chan struct{})
	if l == cut {
		p.unlistenLocked()
		p.closeConnsLocked()
	} else if err := p.listenLocked(); err != nil {
		p.errs = append(p.errs, err)
	}
}

// listenLocked opens the listener if it is not open.
func (p *Proxy) listenLocked() error {
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("zktest: proxy: %w", err)
	}
	p.acceptLocked(l)
	return nil
}

func (p *Proxy) acceptLocked(l net.Listener) {
	p.listener = l
	p.work.Go(func() { p.accept(l) })
}

func (p *Proxy) unlistenLocked() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

func (p *Proxy) closeConnsLocked() {
	for c := range p.conns {
		c.close()
	}
}

// accept ends when l is closed, the only lasting error that Accept has.
func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.admit(l, conn)
		}
	}
}

// admit refuses what l accepted while Cut was closing it.
func (p *Proxy) admit(l net.Listener, conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != l {
		_ = conn.Close()
		return
	}
	c := newProxyConn(p, conn)
	p.conns[c] = struct{}{}
	p.stats.Connections++
	p.work.Go(c.serve)
}

func (p *Proxy) leave(c *proxyConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// gate waits until frames of kind may pass; it is false when c closed meanwhile.
func (p *Proxy) gate(c *proxyConn, toClient bool) bool {
	for {
		p.mu.Lock()
		blocked, changed := p.link == blackholed || toClient && p.link == stalled, p.changed
		p.mu.Unlock()
		if !blocked {
			return c.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

func (p *Proxy) delivered(f Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.delivered(f)
}

// deliveredRaw counts bytes that are no frames.
func (p *Proxy) deliveredRaw(toClient bool, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if toClient {
		p.stats.ToClient = p.stats.ToClient.plus(n)
	} else {
		p.stats.ToServer = p.stats.ToServer.plus(n)
	}
}

func (p *Proxy) remember(s Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.sessions {
		if p.sessions[i].ID == s.ID {
			p.sessions[i] = s
			return
		}
	}
	p.sessions = append(p.sessions, s)
}

func (p *Proxy) forget(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = slices.DeleteFunc(p.sessions, func(s Session) bool { return s.ID == id })
}
