package election

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Candidate is one contender in one election. [Candidate.Start], [Candidate.Await] or
// [Candidate.Run] enters it into the election. It re-enters by itself after every loss,
// until Run returns or it is closed. After Run it can be started again; after
// [Candidate.Close] or [Candidate.Shutdown] it cannot. While it takes no part it has no
// goroutine and no timer, and its client forgets it. It is safe for concurrent use.
type Candidate struct {
	client *Client
	sess   *session.Session
	driver *driver.Driver // does what is done in ZooKeeper; see package internal/driver
	path   string         // as the user gave it
	full   string         // the same, with the client's chroot
	bytes  int            // of the znode's name, see WithMaxEphemeralBytes
	cfg    *config
	log    *slog.Logger

	listeners *listeners
	reports   serial // logs, and calls of the client's Trace

	term    atomic.Pointer[Term] // the present term: all that HasLeadership reads
	last    atomic.Pointer[Term] // the latest term, present or over
	running atomic.Bool          // Run is

	checking   chan struct{}      // holds a token while health checks are made
	stopChecks context.CancelFunc // set at each launch, called when the driver's owner has ended; nil without checks

	mu        sync.Mutex // guards the following; nothing else is locked under it
	healthErr error      // of the latest health check
}

// NewCandidate returns a candidate for the election at path, an absolute znode path below
// the client's chroot. It takes no part before Start, Await or Run. For wrong arguments
// or options it returns one error that names them all.
//
// Missing parts of the path are made as container znodes, which ZooKeeper removes some
// time after the last candidate has gone. Some servers know no containers and cut the
// connection at the request: ZooKeeper before 3.5, ClickHouse Keeper before 2026. A
// client that meets such a server makes persistent znodes from then on, and these stay.
func NewCandidate(client *Client, path string, opts ...Option) (*Candidate, error) {
	cfg := newConfig(opts)
	if client == nil || client.sess == nil {
		cfg.wrong("client is nil, or not made by Connect, Open or NewClient")
	}
	if err := znode.CheckPath(path); err != nil {
		cfg.wrong("path %.200q %w", path, err)
	}
	if client != nil && cfg.within > client.asks/2 {
		cfg.wrong("WithFastFailover: %v is over half of the session timeout of %v", cfg.within, client.asks)
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("election: NewCandidate: %w", err)
	}
	return newCandidate(client, path, cfg), nil
}

func newCandidate(client *Client, path string, cfg *config) *Candidate {
	c := &Candidate{client: client, sess: client.sess, path: path, full: client.full(path), cfg: cfg,
		checking: make(chan struct{}, 1)}
	if cfg.log == nil {
		cfg.log = client.log
	}
	c.log = cfg.log.With("election", znode.Brief(path), "candidate", znode.Brief(cfg.id))
	c.listeners = newListeners(c.log)
	for _, l := range cfg.listeners {
		c.listeners.add(l)
	}

	ownACL := len(cfg.acl) > 0
	if !ownACL {
		cfg.acl = client.acl
	}
	prefix := znode.Prefix(string(cfg.naming), znode.NewUUID())
	c.bytes = nameBytes(c.znode(prefix))
	c.driver = driver.NewDriver(driver.Config{
		Host:    &host{c: c},
		Session: client.sess,
		Entry: &queue.Entry{Session: client.sess, Path: c.full, Data: cfg.data(0), TryToo: ownACL, ACL: cfg.acl, Prefix: prefix,
			Unique: znode.Unique(string(cfg.naming)), Claims: client.claims},
		Machine:    machine.Config{StepDownOnDisconnect: cfg.stepDown, Unhealthy: cfg.healthCheck != nil},
		Beats:      client.beats,
		Fast:       c.fast(),
		Strict:     cfg.strict,
		NoRequests: cfg.noRequests,
		Budget:     &client.looks,
		MaxTerm:    cfg.maxTerm,
		Jitter:     c.jitter(0),
	})
	return c
}

// fast returns nil for a candidate without fast failover.
func (c *Candidate) fast() *driver.Fast {
	if c.cfg.within == 0 {
		return nil
	}
	return &driver.Fast{Within: c.cfg.within, Data: c.cfg.data, Kind: znode.Kind(string(c.cfg.naming))}
}

// jitter is a source of chance. It is drawn from the identity, so that a run can be
// repeated. Each stream is another.
func (c *Candidate) jitter(stream uint64) *rand.Rand {
	seed := fnv.New64a()
	fmt.Fprint(seed, c.path, "\x00", c.cfg.id)
	return rand.New(rand.NewPCG(seed.Sum64(), stream))
}

// znode is the full path of a child of the election path.
func (c *Candidate) znode(name string) string { return znode.Join(c.full, name) }

// HasLeadership reports whether this candidate leads at this moment. It compares the
// lease with the clock at every call, so it is right on the first call after a pause,
// before any goroutine has run. It takes no lock and allocates nothing. It can be out of
// date by the time the caller acts on it: see [Term.Token] and [Term.Guard].
func (c *Candidate) HasLeadership() bool {
	t := c.term.Load()
	return t != nil && t.live(time.Now())
}

// Term returns the present term, or nil if this candidate does not lead.
func (c *Candidate) Term() *Term {
	if t := c.term.Load(); t != nil && t.live(time.Now()) {
		return t
	}
	return nil
}

// AddListener registers l. If the candidate leads now, l.IsLeader is called at once, on
// the listener's goroutine. remove unregisters l: no callback begins after that, except
// for one that was just about to. A callback that is running is not waited for. A nil l
// is ignored.
func (c *Candidate) AddListener(l Listener) (remove func()) {
	if l == nil {
		return func() {}
	}
	return c.listeners.add(l)
}

// Resign ends this candidate's term and sends it to the back of the line, once its work
// has returned. Resign returns nil when the new znode exists. If the candidate is not at
// the front, it keeps its place, and Resign returns nil. Resign returns ctx's error when
// ctx ends first, and the rest goes on by itself. It returns [ErrClosed] if the candidate
// or its client is closed.
//
// Called by the function under Run, with any context, or with the context of that
// function or of the term, Resign returns nil as soon as the term is over, since that
// function may be all that remains to be waited for. A goroutine that the function has
// started is not recognised. If the function waits for that goroutine, let it call with
// the function's context.
func (c *Candidate) Resign(ctx context.Context) error {
	switch {
	case ctx == nil:
		return nilContext("Resign")
	case c.driver.Life() >= driver.Closing || c.sess.Closed():
		return c.waitError("Resign", ctx, ErrClosed)
	case c.driver.Life() == driver.Resting:
		return nil
	}

	_, err := c.resign(ctx, "Resign", machine.Resign{})
	return err
}

// Shutdown leaves the election for good, gracefully. The term ends, NotLeader is called,
// the function under Run returns, and only then is the znode deleted. A second call, also
// after Close, waits for the same.
//
// Shutdown returns
//   - nil when the znode is gone, or if there never was one, or if the client is closed
//     already;
//   - ctx's error when ctx ends first. Leaving goes on by itself, and the znode stays
//     until the work returns or the client is closed;
//   - [ErrClosed] if the client is closed meanwhile.
//
// Called by the function under Run, with any context, or with the context of that
// function or of the term, Shutdown returns as soon as the term is over. Its error then
// wraps context.Canceled and the term's cause, and leaving goes on when the function has
// returned. A goroutine that the function has started is not recognised: it waits until
// its context ends. If the function waits for that goroutine, let it call with the
// function's context.
func (c *Candidate) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return nilContext("Shutdown")
	}

	if !c.close() {
		return nil
	}

	ctx, release := c.inside(ctx)
	defer release()
	err := c.driver.Wait(ctx, func(v driver.View) (bool, error) {
		if v.Aborted {
			return false, ErrClosed
		}
		return v.Life == driver.Closed, nil
	})
	if err = c.waitError("Shutdown", ctx, err); errors.Is(err, context.Canceled) && c.isInside(ctx) {
		return fmt.Errorf("election: the term is over and leaving goes on: %w", err)
	}
	return err
}

// closeWait bounds how long Close waits for the server's answer.
const closeWait = time.Second

// Close leaves the election for good, now. When it returns, the term is over and its
// context cancelled. If no work is running, Close removes the znode and waits for that.
// Otherwise the znode is removed when the work returns, and Close does not wait.
//
// If ZooKeeper does not answer within a second, or cannot be asked, Close returns
// [ErrDisconnected]. Removing the znode goes on until it is done or the session is over.
// A second Close does no harm. The client is not closed.
func (c *Candidate) Close() error {
	if !c.close() {
		return nil
	}

	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := c.driver.Wait(ctx, func(v driver.View) (bool, error) {
		switch {
		case v.Life == driver.Closed || v.Working && c.busy():
			return true, nil
		case v.State == machine.Closed: // the owner has only to end
		case !v.Connected && v.State != machine.Leading && !v.Working:
			return false, ErrDisconnected
		}
		return false, nil
	})
	if err != nil && !c.sess.Closed() {
		return fmt.Errorf("election: Close: the znode is still to be removed: %w", ErrDisconnected)
	}
	return nil
}

// close has the machine leave for good. It returns false if there is nothing to leave:
// the candidate was never launched, or has left.
func (c *Candidate) close() bool {
	c.driver.BeginClosing()
	if t := c.term.Load(); t != nil {
		t.revoke(ErrClosed)
	}
	return c.driver.Send(context.Background(), machine.Close{}) == nil
}

// busy reports whether work of the last term still runs.
func (c *Candidate) busy() bool {
	t := c.last.Load()
	return t != nil && t.working()
}

// endTerm ends the term because the client closes. With leave, it also has the znode
// removed. The driver has begun closing.
func (c *Candidate) endTerm(leave bool) {
	if t := c.term.Load(); t != nil {
		t.revoke(ErrClosed)
		leave = true
	}
	if leave {
		c.driver.Post(machine.Close{})
	}
}

// awaitEnd waits until the listeners have been notified and, with leave, the znode is
// removed, as far as work that still runs permits. It reports whether the candidate has
// left.
func (c *Candidate) awaitEnd(ctx context.Context, leave bool) (left bool) {
	c.driver.Wait(ctx, func(v driver.View) (bool, error) {
		left = v.Life == driver.Closed
		told := v.State != machine.Leading && (!v.Working || c.busy())
		return left || told && (!leave || c.busy()), nil
	})
	return left
}
