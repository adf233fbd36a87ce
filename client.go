package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/beat"
	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Client is one ZooKeeper session, shared by any number of candidates and observers. Make
// one with [Connect], [Open] or [NewClient]. It is safe for concurrent use.
type Client struct {
	sess   *session.Session
	chroot string
	log    *slog.Logger
	acl    []zk.ACL // of a znode if its candidate sets none
	states *sessionLog
	tracer *tracer
	claims *queue.Claims
	asks   time.Duration // the session timeout that it asks for, or that a caller's connection was granted
	beats  *beat.Pool
	looks  driver.Budget // for what its candidates ask in case a watch was lost
	ending atomic.Bool   // the session is about to end, and takes the znodes along

	creds   []credential
	pending *authentication // nil if there is none to wait for

	maxBytes int // see WithMaxEphemeralBytes
	feeds    feeds

	mu         sync.Mutex // guards the following
	candidates map[*Candidate]struct{}
	reporting  map[*serial]int // reports of candidates that have ended, and how often these have
	bytes      int             // of their znodes' names
	closed     bool
}

// newClient takes asks, and does not ask the session: a server may have granted less by now.
func newClient(sess *session.Session, states *sessionLog, chroot string, asks time.Duration, cfg *clientConfig) *Client {
	c := &Client{sess: sess, states: states, chroot: chroot, log: cfg.log, claims: queue.NewClaims(), maxBytes: cfg.maxBytes,
		asks: asks, beats: beat.NewPool(sess), creds: cfg.auth, candidates: map[*Candidate]struct{}{}, reporting: map[*serial]int{}}
	c.acl = zk.WorldACL(zk.PermAll)
	if len(cfg.auth) > 0 {
		c.acl = append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
	}
	logGivenUp(sess, cfg.log)
	c.tracer = traceSession(sess, cfg.trace, cfg.log)
	return c
}

// Close closes all candidates and ends the session, and their znodes with it. Before
// that, every term is over and every context cancelled. Close does not wait for work
// under Run: call [Candidate.Shutdown] first if that matters. On a connection that the
// caller owns, Close removes the znodes one by one, also those of candidates whose work
// still runs.
//
// If the server is silent, Close takes about a second, and half a second more on a
// connection that the caller owns. If the server is at work on the end, which takes
// longer the more candidates there are, Close gives it two seconds. If the server has not
// confirmed the end by then, Close returns [ErrDisconnected], and the znodes go when the
// session expires. On a connection of the caller's, the caller then has to close it, or
// no other candidate may come to lead.
//
// No goroutine of the package outlives Close, except for those that run callbacks and
// functions of the user. A second Close returns nil.
func (c *Client) Close() error {
	if c.sess == nil {
		return nil // not made by Connect, Open or NewClient
	}

	c.mu.Lock()
	all := make([]*Candidate, 0, len(c.candidates))
	for cand := range c.candidates {
		all = append(all, cand)
	}
	reporting := slices.Collect(maps.Keys(c.reporting))
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}

	c.ending.Store(!c.sess.Adopted())
	left := c.endTerms(all)
	ended := c.sess.Close()
	c.states.close()

	ctx, cancel := context.WithTimeout(context.Background(), tellGrace)
	defer cancel()
	for _, cand := range all {
		<-cand.driver.Context().Done()
		cand.reports.wait(ctx)
	}
	for _, reports := range reporting {
		reports.wait(ctx)
	}
	c.states.wait(ctx)
	c.tracer.calls.wait(ctx)

	switch {
	case left > 0:
		return fmt.Errorf("election: Close: %d znodes could not be removed: %w", left, ErrDisconnected)
	case !ended:
		return fmt.Errorf("election: Close: the session goes on until it expires: %w", ErrDisconnected)
	}
	return nil
}

// endTerms ends every term. If the session is not ours to end, it also waits, within
// bounds, until the znodes are removed, and returns how many are not.
func (c *Client) endTerms(all []*Candidate) (left int) {
	bound := tellGrace
	if c.sess.Adopted() {
		bound = closeWait
	}

	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	for _, cand := range all { // before the first one leaves, so that none of the others takes over
		cand.driver.BeginClosing()
	}

	for _, cand := range all {
		cand.endTerm(c.sess.Adopted())
	}

	last, cancelLast := context.WithTimeout(context.Background(), bound+closeWait/2)
	defer cancelLast()
	for _, cand := range all {
		if !cand.awaitEnd(ctx, c.sess.Adopted()) && c.sess.Adopted() && !cand.driver.DeleteZnode(last) {
			left++
		}
	}
	return left
}

// Leader returns the participant at the front of the line at path. The answer is that of
// the server that the client is connected to, which may lag behind the ensemble: use a
// token to act on it. Without a connection, Leader waits some seconds for the next one. It
// waits until ctx ends for the first connection (see [Open]).
//
// Leader returns
//   - [ErrNoLeader] if nobody takes part there;
//   - ctx's error within 100 ms of ctx's end;
//   - [ErrClosed] if the client is closed;
//   - [ErrDisconnected], with the driver's error, if the connection is lost during the
//     call;
//   - [ErrSessionExpired] if ZooKeeper says so; the next call uses a new session;
//   - any other answer of ZooKeeper (zk.ErrNoAuth, say), wrapped, with its name if the
//     driver does not know it;
//   - an error that names the path, if the path is bad.
func (c *Client) Leader(ctx context.Context, path string) (Participant, error) {
	all, err := c.members(ctx, "Leader", path, 1)
	if err == nil && len(all) == 0 {
		return Participant{}, fmt.Errorf("%w at %s", ErrNoLeader, znode.Brief(path))
	}
	if err != nil {
		return Participant{}, err
	}
	return all[0], nil
}

// Participants returns all participants at path, the leader first, then in line. It
// returns an empty list if there are none. It reads one znode after another, so the line
// may change meanwhile. Its other errors are those of [Client.Leader].
func (c *Client) Participants(ctx context.Context, path string) ([]Participant, error) {
	return c.members(ctx, "Participants", path, 0)
}

func (c *Client) members(ctx context.Context, method, path string, limit int) ([]Participant, error) {
	switch {
	case ctx == nil:
		return nil, nilContext(method)
	case c.sess == nil:
		return nil, fmt.Errorf("election: %s of %s: the client was not made by Connect, Open or NewClient: %w", method, znode.Brief(path), ErrClosed)
	}
	if err := znode.CheckPath(path); err != nil {
		return nil, fmt.Errorf("election: %s: path %.200q %w", method, path, err)
	}

	if err := c.ready(ctx); err != nil {
		return nil, fmt.Errorf("election: %s of %s: %w", method, znode.Brief(path), public(err))
	}

	members, err := queue.Members(ctx, c.sess, c.full(path), limit)
	if err != nil {
		return nil, fmt.Errorf("election: %s of %s: %w", method, znode.Brief(path), public(err))
	}

	all := make([]Participant, len(members))
	for i, m := range members {
		all[i] = c.participant(m)
		all[i].Leader = i == 0
	}
	return all, nil
}

// ready waits for the first session of a client that did not wait for it when it was made,
// and for its credentials.
func (c *Client) ready(ctx context.Context) error {
	if c.sess.Status().Timeout == 0 {
		if err := c.sess.Wait(ctx); err != nil {
			return err
		}
	}
	return c.pending.wait(ctx, c.sess.Done())
}

// Observe follows who is at the front of the line at path, without taking part. It yields
// the present state at once and then every change:
//   - a participant with a nil error;
//   - [ErrNoLeader] when nobody takes part;
//   - [ErrDisconnected] when the connection is down and it cannot know; the state again
//     when the connection is back;
//   - any other answer of ZooKeeper (zk.ErrNoAuth, say), after which it asks again every
//     second.
//
// With an error comes a zero [Participant]. States that follow each other faster than
// they are consumed are merged into the latest. The sequence ends when ctx ends, or with
// [ErrClosed] when the client is closed. A bad path yields one error that names it.
//
// Observe watches one znode, not the line. The driver keeps that watch until the leader
// changes, also after the sequence has ended.
func (c *Client) Observe(ctx context.Context, path string) iter.Seq2[Participant, error] {
	return func(yield func(Participant, error) bool) {
		if ctx == nil || c.sess == nil {
			_, err := c.members(ctx, "Observe", path, 0)
			yield(Participant{}, err)
			return
		}
		if err := znode.CheckPath(path); err != nil {
			yield(Participant{}, fmt.Errorf("election: Observe: path %.200q %w", path, err))
			return
		}
		o := queue.Observer{Session: c.sess, Path: c.full(path)}
		o.Run(ctx, func(m queue.Member, err error) bool {
			if err != nil {
				return yield(Participant{}, public(err))
			}
			p := c.participant(m)
			p.Leader = true
			return yield(p, nil)
		})
	}
}

// public turns the internal packages' errors into this one's.
func public(err error) error {
	switch {
	case errors.Is(err, session.ErrClosed):
		return ErrClosed
	case errors.Is(err, queue.ErrNobody):
		return ErrNoLeader
	case errors.Is(err, queue.ErrDisconnected):
		return ErrDisconnected
	case errors.Is(err, zk.ErrSessionExpired):
		return fmt.Errorf("%w: %w", ErrSessionExpired, err)
	case lostConnection(err):
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	return err
}

// lostConnection reports whether a request got no answer: either err is the driver's word
// for that, or, on a connection of the caller's, the network's word for a request that
// could not be written.
func lostConnection(err error) bool {
	var network net.Error
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrClosedPipe)
}

func (c *Client) participant(m queue.Member) Participant {
	id, metadata := znode.Unpack(m.Data)
	return Participant{ID: id, Path: strings.TrimPrefix(m.Path, c.chroot), Token: m.Token, SessionID: m.SessionID,
		Since: time.UnixMilli(m.Created).UTC(), Metadata: metadata}
}

// full puts the chroot before a path.
func (c *Client) full(path string) string {
	if path == "/" && c.chroot != "" {
		return c.chroot
	}
	return c.chroot + path
}

// maxEphemeralBytes is half of jute.maxbuffer's default (0xfffff). It is a quarter of
// what a server with the defaults can read back: since ZooKeeper 3.5.7,
// jute.maxbuffer.extrasize, of the same size, comes on top (BinaryInputArchive).
const maxEphemeralBytes = 512 << 10

// WithMaxEphemeralBytes sets how many bytes the names of a client's znodes may have
// together. A candidate that would exceed it gets [ErrTooMany] from Start, Await and Run.
// If the servers' jute.maxbuffer is smaller than its default, set this to half of
// jute.maxbuffer. More than the default of 512 KiB is refused.
//
// The reason is that ZooKeeper writes the names of all ephemeral znodes of a session into
// the transaction that ends the session (CloseSessionTxn, since 3.6). If that transaction
// is larger than jute.maxbuffer and its extrasize, no server can read its own log again
// (ZOOKEEPER-4306).
//
// A candidate counts while it takes part: from Start, Await or Run until it is closed or
// Run has returned, and its znode is gone. It counts as 4 bytes and its znode's full path: chroot, name and counter
// included. With the default naming and a path of 20 bytes, there is room for some 6,000
// candidates. Ephemeral znodes that the client makes otherwise, such as by Guard, are not
// counted.
func WithMaxEphemeralBytes(n int) ClientOption {
	return func(cfg *clientConfig) {
		switch {
		case n < 1:
			cfg.wrong("WithMaxEphemeralBytes: %d is not positive", n)
		case n > maxEphemeralBytes:
			cfg.wrong("WithMaxEphemeralBytes: %d is over %d, half of what a server takes by default: "+
				"more could keep ZooKeeper from reading its own log; use several clients", n, maxEphemeralBytes)
		}
		cfg.maxBytes = n
	}
}

// What a name takes in the transaction that ends a session: its length, and the counter
// behind the prefix. The longest counter is -2147483648.
const (
	lengthBytes  = 4
	counterBytes = 11
)

// nameBytes is how much a znode's name takes in that transaction, given its full path
// without the counter.
func nameBytes(prefix string) int { return lengthBytes + len(prefix) + counterBytes }

// register adds a candidate that is about to take part, if the client is open and has
// room for its name.
func (c *Client) register(cand *Candidate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	need := cand.bytes
	switch {
	case c.closed:
		return session.ErrClosed
	case c.bytes+need > c.maxBytes:
		return fmt.Errorf("%w: the names of its %d candidates have %d bytes of %d, and this one has %d: "+
			"use another Client for it (see WithMaxEphemeralBytes)", ErrTooMany, len(c.candidates), c.bytes, c.maxBytes, need)
	}
	c.bytes += need
	c.candidates[cand] = struct{}{}
	return nil
}

func (c *Client) unregister(cand *Candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= cand.bytes
	delete(c.candidates, cand)

	// What it has reported may still be to come, and Close waits for that.
	if cand.reports.idle() {
		return
	}
	c.reporting[&cand.reports]++
	cand.reports.run(func() { c.reported(&cand.reports) })
}

// reported notes that the reports of a candidate that had ended have been made. It may
// take part again by now.
func (c *Client) reported(reports *serial) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reporting[reports]--; c.reporting[reports] == 0 {
		delete(c.reporting, reports)
	}
}
