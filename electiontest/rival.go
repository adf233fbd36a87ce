package electiontest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// Rival is a candidate in a service's election that is not the service's, as another
// replica of it would be. [Servers.Rival] makes one. With it a test makes its service wait,
// lead, lose leadership to somebody else and regain it. A rival has a client of its own on
// the network, and does no work. Its methods may be called from any goroutine.
type Rival struct {
	servers   *Servers
	name      string
	path      string
	client    *election.Client
	candidate *election.Candidate
	net       *lines
}

// Rival makes a rival that takes part at electionPath, behind all who are in line. It
// returns when the rival is in line. So a rival that is made before the service starts
// leads, and [Rival.TakeOver] brings it to the front later. opts are those of a candidate,
// and must fit the service's: [election.WithNaming], [election.WithFastFailover]. Its ID is
// "rival-1", "rival-2" and so on, unless opts say otherwise.
//
// Rival returns ctx's error if ctx ends before, and otherwise the errors of
// [election.NewCandidate] and [election.Candidate.Start].
func (s *Servers) Rival(ctx context.Context, electionPath string, opts ...election.Option) (*Rival, error) {
	name, err := s.nameRival()
	if err != nil {
		return nil, err
	}
	r := &Rival{servers: s, name: name, path: electionPath, net: newLines(s.Dialer(name))}
	if err := r.join(ctx, opts); err != nil {
		r.close()
		return nil, fmt.Errorf("electiontest: rival: %w", err)
	}

	s.mu.Lock()
	late := s.closed
	if !late {
		s.rivals[r] = struct{}{}
	}
	s.mu.Unlock()
	if late { // closed meanwhile: Close does not know this rival
		r.close()
		return nil, errClosed
	}
	return r, nil
}

func (s *Servers) nameRival() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errClosed
	}
	s.names++
	return fmt.Sprintf("rival-%d", s.names), nil
}

func (r *Rival) join(ctx context.Context, opts []election.Option) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	r.client, err = election.Open(r.servers.ConnectString(), election.WithDialer(r.net.dial), election.WithClientLogger(quiet))
	if err != nil {
		return err
	}
	opts = append([]election.Option{election.WithID(r.name)}, opts...)
	r.candidate, err = election.NewCandidate(r.client, r.path, opts...)
	if err != nil {
		return err
	}
	return r.candidate.Start(ctx)
}

// ID returns the rival's ID.
func (r *Rival) ID() string { return r.candidate.Status().ID }

// Client returns the name by which [Servers.Cut] and [Servers.Heal] know the rival.
func (r *Rival) Client() string { return r.name }

// Status is the rival's [election.Candidate.Status].
func (r *Rival) Status() election.Status { return r.candidate.Status() }

// Await waits until the rival leads, and returns its term.
func (r *Rival) Await(ctx context.Context) (*election.Term, error) { return r.candidate.Await(ctx) }

// TakeOver brings the rival to the front: it asks the leader to hand over to it, as an
// operator does with [election.Client.RequestHandOver], and returns when the rival leads.
// The leader's work stops first. If no one is ahead, TakeOver asks no one.
//
// It returns [election.ErrUnasked] if the leader takes no requests. Then call
// [Servers.TakeLeadership] until the rival leads, which is as sudden as a deletion by hand.
func (r *Rival) TakeOver(ctx context.Context) (*election.Term, error) {
	if err := r.candidate.Start(ctx); err != nil { // it has a znode then, also after a loss
		return nil, fmt.Errorf("electiontest: take over: %w", err)
	}
	if err := r.client.RequestHandOver(ctx, r.path, r.ID()); err != nil {
		return nil, fmt.Errorf("electiontest: take over: %w", err)
	}
	return r.candidate.Await(ctx)
}

// Resign ends the rival's term and puts the rival at the back of the line. If no one else
// takes part, the rival leads again at once.
func (r *Rival) Resign(ctx context.Context) error { return r.candidate.Resign(ctx) }

// Leave takes the rival out of the election for good, in good order: the next in line leads
// a round trip later.
func (r *Rival) Leave(ctx context.Context) error {
	err := r.candidate.Shutdown(ctx)
	return errors.Join(err, r.client.Close())
}

// Crash ends the rival as SIGKILL ends a process: its connections break, and it says
// nothing more. Its znode stays until its session expires, or as long as the time of
// [election.WithFastFailover] allows.
func (r *Rival) Crash() { r.net.kill() }

// close ends the rival. [Servers.Close] calls it, so a rival needs no Close.
func (r *Rival) close() {
	if r.client != nil {
		_ = r.client.Close() // of a crashed rival, it cannot end the session
	}
	r.net.kill()
}

// lines is the network of one process: all its connections.
type lines struct {
	to zk.Dialer

	mu    sync.Mutex // guards the following
	dead  bool
	conns map[net.Conn]struct{}
}

func newLines(to zk.Dialer) *lines { return &lines{to: to, conns: map[net.Conn]struct{}{}} }

var errKilled = errors.New("electiontest: this process was killed")

func (l *lines) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	if l.isDead() {
		return nil, errKilled
	}
	conn, err := l.to(network, address, timeout)
	if err != nil {
		return nil, err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = conn.Close()
		return nil, errKilled
	}
	l.conns[conn] = struct{}{}
	return &line{conn, l}, nil
}

func (l *lines) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// kill breaks all connections, and lets none be made.
func (l *lines) kill() {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.reset()
}

// reset breaks all connections, as a middlebox does.
func (l *lines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	clear(l.conns)
}

// line is one connection.
type line struct {
	net.Conn
	of *lines
}

func (c *line) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
