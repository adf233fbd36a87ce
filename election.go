// Package election elects one leader among the copies of a service, on Apache ZooKeeper.
//
// A Candidate stands at an election path. It waits for its turn with Await, does its work under Run, or hears of
// leadership through a Listener:
//
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
//	candidate, err := election.NewCandidate(client, "/nightly-job")
//	err = candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
//		return runJob(ctx, term.Token())
//	})
//
// # What is not promised
//
// A leader may be paused between its check and its act: no election can prevent that its last write arrives when
// the next leader is already in office. Only the resource can, by remembering the largest fencing token it has seen and
// refusing smaller ones (Term.Token), or ZooKeeper, for what is kept there (Term.Guard).
//
// The guarantees below do not hold
//   - if clocks run apart by more than 5 %;
//   - for a moment, if a leader's znode is deleted by hand: its successor may learn of it sooner than the leader;
//   - for T/3, T being the session timeout, if somebody else ends a leader's session;
//   - if the ensemble grants a session timeout of less than two of its ticks, against its own default.
//
// # How it works
//
//	/my-app/nightly-job
//	  ├─ _c_6d3c1b1e-…-latch-0000000004   worker-1   leads: nobody is ahead, and its lease is good
//	  ├─ _c_09f2c1aa-…-latch-0000000005   worker-2   watches …004, keeps its lease ready
//	  └─ _c_e1c81c24-…-latch-0000000006   worker-3   watches …005
//
// Each candidate is an ephemeral sequential znode that watches the one directly ahead and its own. Whose number is
// the lowest may lead, but only as long as its lease is good: every ninth of the session timeout a transaction that
// changes nothing proves to the client that a quorum still knows its session. Package internal/session gives the
// reasoning, package internal/machine the states that a candidate goes through.
//
// # G1 One leader
//
// At no instant do two candidates of a path, in any processes, have HasLeadership true or a term whose context is
// alive. A proof sent at time s makes the lease good until s + T/3 at most, T being the session timeout granted; and
// it ends T/12 before the ensemble could end the session by what its leader is known to have heard. So a candidate
// has stopped believing before its znode can go, whether the process was paused, the network was cut on either side of
// its server, or the ensemble changed its leader. An answer to a ping or a read is no proof: a server that is cut off from
// its ensemble goes on giving them. The clocks of client and servers may run apart by 5 %.
//
// # G2 Belief has a deadline
//
// HasLeadership compares the lease with two clocks at each call: the monotonic one, which stands still while a machine
// sleeps, and the wall clock, which may be set back. After a pause it is false on the first call. Err of the
// term's context does the same; its Done channel closes as soon as a goroutine has run. Ask HasLeadership or Err right
// before an act; use Done to stop waiting.
//
// # G3 Work stops before leadership is handed on
//
// On Resign, Shutdown and Close the belief goes first, then the context is cancelled, then NotLeader is called, which is
// waited for a tenth of a second, while the function under Run returns; only then is the znode deleted. Until its work
// has returned a candidate does not stand again. If it never returns, nobody leads, rather than two: WithOverrun tells
// of it. Only closing the Client does not wait: it ends the session.
//
// # G4 Fencing
//
// Token is the czxid of the candidate's znode, ZooKeeper's transaction number at its making: strictly larger for every
// later leader, also when the path was deleted meanwhile. (Sequence numbers start again then.) Guard puts a
// check of the term's znode before the caller's writes, in one transaction.
//
// # G5 No candidate is lost, none is left behind
//
// While the client is open and ZooKeeper answers, a started candidate has one znode, a closed one none. A create whose
// reply was lost is followed up: names carry a UUID (or see Naming), so the znode is found again and used or removed.
// After a session has expired, or an operator has deleted the znode or the whole path, the candidate stands again by
// itself, at the back of the line.
//
// # G6 Somebody leads
//
// Once faults end, a leader is in office within one session timeout + 2 s. Watches that were lost, and failed requests,
// are made good by a look at the own znode and the one ahead, every half to whole session timeout.
//
// # G7 Callbacks are ordered
//
// For each Listener IsLeader and NotLeader alternate, never overlap, carry the same Term in pairs, and none is lost. Each
// has a queue of its own, so one that is slow, panics or never returns holds up nobody else.
//
// # G8 One wakes
//
// A candidate that ends wakes the one behind it, by its watch. That one has kept its lease ready, so it leads
// without another round trip. The line is listed once for each znode; a re-election costs the same with ten candidates as
// with ten thousand. Those further back are not woken, so they learn who has left ahead of them only by their look, one
// znode at a time: when leaders leave one soon after another, within a session timeout, the next first asks for each that
// it has not heard of, a round trip apiece, and proves its lease meanwhile. Where those are more than some twenty it lists
// the line once more.
//
// # G9 Cancel works
//
// Every call that takes a context returns within 100 ms of its end, also while ZooKeeper cannot be reached; Run alone
// waits for the function under it. The Close methods take none and bound themselves: Candidate.Close to a second,
// Client.Close to one or two. No goroutine outlives Client.Close, the user's own callbacks apart.
//
// # Choosing a session timeout
//
// T trades the speed of a take-over for patience. When a leader's process dies, its znode goes between 2T/3 and T after
// that, rounded up to the ensemble's ticks (2 s by default), and the next leads at once. When a leader is cut off or
// paused, it stops believing T/3 at the latest after its last proof was sent, so it rides out 2T/9 of silence and
// leads on; it keeps its place in line for another 2T/3. A hand-over by Resign or Shutdown takes about a round trip,
// whatever T is. The default of 10 s suits work that tolerates ten seconds without a leader; the server grants
// between 2 and 20 ticks, 4 s to 40 s by its defaults.
//
// # Mixed elections
//
// Our candidates of all namings read one line together with participants of Apache Curator, Kazoo and ZooKeeper's
// recipes. Those see only names of their own kind, or fail on others, so in one election all must bear one kind of name:
// choose theirs by WithNaming. Our guarantees hold for our terms: one of ours leads only if nobody is ahead and its lease
// is good, so an overlap is always of one of theirs who led before, has lost its znode and goes on believing. LeaderLatch
// does while its work stops, since its close deletes first: stop the work before closing it. All of them do for ever when
// their znode is deleted by hand. Tokens are comparable across all. Never write to candidates' znodes: LeaderLatch and
// LeaderElectionSupport lose their watch by it. Package internal/interop has the measurements.
package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/line"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// The errors of this package. Those marked "ends a term" are the context.Cause of a term's context and what Term.Err
// returns; by then HasLeadership is false. Test for them with errors.Is.
var (
	// ErrClosed: the candidate or its client is closed. From Start, Await, Run, Resign, Shutdown, Guard, Leader,
	// Participants and Observe; ends a term when the candidate or the client is closed or shut down.
	ErrClosed = errors.New("election: closed")
	// ErrNoLeader: nobody stands in this election at this moment. From Client.Leader and Client.Observe.
	ErrNoLeader = errors.New("election: no leader")
	// ErrSessionExpired ends a term: ZooKeeper ended the session, and the znode with it. The candidate stands again
	// by itself, at the back of the line.
	ErrSessionExpired = errors.New("election: session expired")
	// ErrLeaseExpired ends a term: no quorum confirmed the session in time, or the process was paused. The
	// znode may well be there; the candidate keeps its place, and leads again after a fresh proof, in a
	// new term with the same token, unless somebody else has come to lead.
	ErrLeaseExpired = errors.New("election: lease expired")
	// ErrDisconnected ends a term of a candidate with WithStepDownOnDisconnect: the connection was lost; the znode
	// keeps its place. Observe yields it while it cannot know who leads, and Leader and Participants return it when
	// they cannot. Guard returns it, wrapped, when no answer came: the writes may have been applied, all of them, or
	// none. Start, Await and Run add it to their ctx's error when there is no connection and no better reason is
	// known. Close of a candidate returns it when its znode is still to be removed, Close of a client when the
	// session could not be ended in time: its znodes go when it expires.
	ErrDisconnected = errors.New("election: disconnected")
	// ErrNodeDeleted ends a term: somebody deleted the candidate's znode, or the whole path. The candidate stands
	// again, at the back of the line. A server that ends a session while its client is connected reports the znode's
	// deletion first, so that, too, can end a term with this error instead of ErrSessionExpired.
	ErrNodeDeleted = errors.New("election: znode deleted")
	// ErrResigned ends a term: Resign was called, WithMaxTerm's time was over, or Run gave the term up.
	ErrResigned = errors.New("election: resigned")
	// ErrUnhealthy ends a term: the health check failed. The candidate is out of the line until it passes.
	ErrUnhealthy = errors.New("election: unhealthy")
	// ErrTermOver: Guard was called for a term that is over, or ZooKeeper refused the writes because its znode is
	// gone. Nothing was written. It wraps the term's cause where that is known.
	ErrTermOver = errors.New("election: term over")
)

// State is where a candidate is in its life.
type State string

// The states of a candidate.
const (
	StateIdle      State = "idle"      // does not stand: not started, or Run has ended
	StateUnhealthy State = "unhealthy" // would stand, but its health check fails
	StateJoining   State = "joining"   // makes its znode, or waits for ZooKeeper to do so
	StateFollowing State = "following" // somebody is ahead in line
	StateElected   State = "elected"   // nobody is ahead; the lease is still to be proved
	StateLeading   State = "leading"   // leads, as long as the lease is good
	StateStopping  State = "stopping"  // the term is over, its work has still to return
	StateLeaving   State = "leaving"   // removes its znode
	StateClosed    State = "closed"    // has left for good
)

// Participant is one who stands in an election, ours or another library's.
type Participant struct {
	// ID is what the znode holds: WithID's value, Curator's participant id, Kazoo's identifier, the host name of
	// LeaderElectionSupport.
	ID string `json:"id"`
	// Path is the znode's full path, below the chroot.
	Path string `json:"path"`
	// Token is the znode's czxid: the fencing token of this participant's terms.
	Token int64 `json:"token"`
	// SessionID is the session that the znode belongs to.
	SessionID int64 `json:"sessionId"`
	// Leader says that this participant is first in line. It then leads, or is about to, or has lost touch
	// with ZooKeeper and leads no more until it is back: only itself knows.
	Leader bool `json:"leader"`
}

// String is the participant in one line, for logs.
func (p Participant) String() string {
	return oneLine(fmt.Sprintf("%s (%s, token %#x, session %#x)", p.ID, p.Path, p.Token, p.SessionID))
}

// oneLine takes out what would begin a new line, or do more to a terminal: other participants name themselves.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Client is one ZooKeeper session, shared by any number of candidates and observers. It is safe for concurrent use.
type Client struct {
	sess   *session.Session
	chroot string
	log    *slog.Logger
	acl    []zk.ACL // of znodes whose candidate names none
	states sequence // of the session, on their way to the log
	claims *line.Claims
	ending atomic.Bool // the session is about to end, and takes the znodes along

	pending *authentication // nil if there is none to wait for

	mu         sync.Mutex // guards the following
	candidates map[*Candidate]struct{}
	closed     bool
}

// Connect opens a session with the ensemble that connectString names: "host:port,host:port/chroot", port 2181
// where it is left out, the chroot optional. It returns when the session stands and every WithAuth is done. ctx has no
// part in the client's later life.
//
// When ctx ends first it returns ctx's error together with the last trouble that a server gave, and what it began is
// undone in the background within a second or two. Credentials that ZooKeeper refuses are an error that wraps
// zk.ErrAuthFailed. A wrong argument or option is an error at once that names it, all of them together.
func Connect(ctx context.Context, connectString string, opts ...ClientOption) (*Client, error) {
	if ctx == nil {
		return nil, nilContext("Connect")
	}
	cfg := newClientConfig(opts)
	servers, chroot, err := parseConnectString(connectString)
	if err := errors.Join(append([]error{err}, cfg.errs...)...); err != nil {
		return nil, fmt.Errorf("election: Connect: %w", err)
	}
	sess, err := dial(ctx, session.Config{Servers: servers, Timeout: cfg.timeout, Dialer: cfg.dial(),
		Provider: cfg.provider, Log: cfg.log})
	if err != nil {
		return nil, fmt.Errorf("election: Connect: %s: %w", connectString, err)
	}
	if err := authenticate(ctx, sess, cfg.auth); err != nil {
		go sess.Close() // takes up to a second, which a caller whose ctx has ended does not have
		return nil, fmt.Errorf("election: Connect: %s: %w", connectString, err)
	}
	return newClient(sess, chroot, cfg), nil
}

// dial obeys ctx, which session.Dial cannot where a host provider of the user's looks names up (zk.HostProvider.Init).
func dial(ctx context.Context, cfg session.Config) (*session.Session, error) {
	type dialled struct {
		sess *session.Session
		err  error
	}
	done := make(chan dialled)
	go func() {
		sess, err := session.Dial(cfg)
		select {
		case done <- dialled{sess, err}:
		case <-ctx.Done():
			if err == nil {
				sess.Close()
			}
		}
	}()
	select {
	case d := <-done:
		return d.sess, d.err
	case <-ctx.Done():
		return nil, session.CtxError(ctx)
	}
}

// nilContext is the error for a context that is missing.
func nilContext(method string) error { return fmt.Errorf("election: %s: ctx is nil", method) }

// NewClient uses a connection that the caller dialled and goes on owning: it must stay open as long as the client
// is used, and Close does not close it. Its event channel is left alone. Paths are taken as they are, so a chroot
// does not apply. It returns at once, whether or not conn has a session yet.
//
// sessionTimeout is what the server granted, which the driver keeps to itself (it logs it, as "authenticated: id=…,
// timeout=…"). A value that is too small makes leases needlessly short. One that is too large breaks
// guarantee G1: the candidate would believe longer than ZooKeeper keeps its znode.
//
// What Connect learns by reading along, such a client has to find out by requests of its own. So its first candidate
// leads at the earliest 21/80 of the session timeout after NewClient; the connection's loss is noticed within a
// tenth of a second, not at once; and calls that the driver has not answered when the client is closed end only
// when it does. Nor can it be guarded against what the driver does with a failed write, or a server that accepts and
// never answers, which can hold it up for minutes, or against its data race between setting watches again and reading
// replies: prefer Connect.
//
// WithSessionTimeout, WithTLS, WithDialer and WithHostProvider do not apply and are refused. WithAuth authenticates in
// the background; Start, Await and Run wait for that, and return the error if ZooKeeper refuses.
func NewClient(conn *zk.Conn, sessionTimeout time.Duration, opts ...ClientOption) (*Client, error) {
	cfg := newClientConfig(opts)
	if conn == nil {
		cfg.wrong("conn is nil")
	}
	if sessionTimeout < time.Millisecond || sessionTimeout > maxTimeout {
		cfg.wrong("sessionTimeout %v is not between 1ms and %v", sessionTimeout, maxTimeout)
	}
	for _, name := range []string{"WithSessionTimeout", "WithTLS", "WithDialer", "WithHostProvider"} {
		if cfg.used[name] {
			cfg.wrong("%s does not apply to a connection that is already made", name)
		}
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("election: NewClient: %w", err)
	}
	sess := session.Adopt(conn, sessionTimeout, cfg.log)
	c := newClient(sess, "", cfg)
	if len(cfg.auth) > 0 {
		c.pending = authenticateLater(sess, cfg.auth)
	}
	return c, nil
}

func newClient(sess *session.Session, chroot string, cfg *clientConfig) *Client {
	c := &Client{sess: sess, chroot: chroot, log: cfg.log, claims: line.NewClaims(),
		candidates: map[*Candidate]struct{}{}}
	c.acl = zk.WorldACL(zk.PermAll)
	if len(cfg.auth) > 0 {
		c.acl = append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
	}
	known := false // a session; until then there is none that could be down or expired
	sess.Subscribe(func(st session.State) {
		if known = known || st.Connected; known {
			c.logState(st)
		}
	})
	return c
}

// logState is called under the session's lock, where no code of the user's may run, and a log handler is that: it may be
// slow, or ask a candidate for its Status.
func (c *Client) logState(st session.State) { c.states.run(func() { c.writeState(st) }) }

func (c *Client) writeState(st session.State) {
	switch {
	case st.Connected:
		c.log.Info("zookeeper session up", "session", hexID(st.ID), "timeout", st.Timeout)
	case st.ID == 0:
		c.log.Info("zookeeper session expired")
	default:
		c.log.Info("zookeeper disconnected", "session", hexID(st.ID))
	}
}

// hexID is an id as logs show it. It is formatted only where somebody listens.
type hexID int64

func (id hexID) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%#x", uint64(id))) }

// Close closes all candidates and ends the session, and with it their znodes: every term is over and every context
// cancelled before that, but work under Run is not waited for; use Candidate.Shutdown first where that matters. On
// a connection that the caller owns the znodes are removed one by one, also those whose work still runs.
//
// It takes a second or two at most; when the server has not confirmed the end by then it returns ErrDisconnected, and
// the znodes go when the session expires: on a connection of the caller's that means that the caller has to close it,
// or nobody else may come to lead. No goroutine of the package outlives Close, other than those in callbacks and
// functions of the user. A second Close returns nil.
func (c *Client) Close() error {
	if c.sess == nil {
		return nil // not made by Connect or NewClient
	}
	c.mu.Lock()
	all := make([]*Candidate, 0, len(c.candidates))
	for cand := range c.candidates {
		all = append(all, cand)
	}
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	c.ending.Store(!c.sess.Adopted())
	left := c.dismiss(all)
	ended := c.sess.Close()
	ctx, cancel := context.WithTimeout(context.Background(), tellGrace)
	defer cancel()
	for _, cand := range all {
		<-cand.exited
		cand.told.wait(ctx)
	}
	c.states.wait(ctx)
	switch {
	case left > 0:
		return fmt.Errorf("election: Close: %d znodes could not be removed: %w", left, ErrDisconnected)
	case !ended:
		return fmt.Errorf("election: Close: the session goes on until it expires: %w", ErrDisconnected)
	}
	return nil
}

// dismiss ends every term; where the session is not ours to end, it also waits, within bounds, until the znodes
// are removed, and returns how many are not.
func (c *Client) dismiss(all []*Candidate) (left int) {
	bound := tellGrace
	if c.sess.Adopted() {
		bound = closeWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	for _, cand := range all { // before the first one leaves, so that none of the others takes over
		cand.closing.Store(true)
	}
	for _, cand := range all {
		cand.dismiss(c.sess.Adopted())
	}
	last, cancelLast := context.WithTimeout(context.Background(), bound+closeWait/2)
	defer cancelLast()
	for _, cand := range all {
		if !cand.awaitDismissed(ctx, c.sess.Adopted()) && c.sess.Adopted() && !cand.evict(last) {
			left++
		}
	}
	return left
}

// Leader returns who is first in line at path. ErrNoLeader means that nobody stands there. The answer is that of the
// server connected to, which may lag behind the ensemble; use a token to act on it. It returns ctx's error within
// 100 ms of ctx's end, ErrClosed when the client is closed, and ErrDisconnected, with the driver's error, when the
// connection is lost under it; without one it waits a second or so for the next. What ZooKeeper refuses
// (zk.ErrNoAuth, say) comes wrapped, and a bad path is an error that names it.
func (c *Client) Leader(ctx context.Context, path string) (Participant, error) {
	all, err := c.members(ctx, "Leader", path, 1)
	if err == nil && len(all) == 0 {
		return Participant{}, fmt.Errorf("%w at %s", ErrNoLeader, path)
	}
	if err != nil {
		return Participant{}, err
	}
	return all[0], nil
}

// Participants returns everybody who stands at path, the leader first, then in line; nobody is no error. It reads one
// znode after another, so the line may change meanwhile. Errors are those of Leader.
func (c *Client) Participants(ctx context.Context, path string) ([]Participant, error) {
	return c.members(ctx, "Participants", path, 0)
}

func (c *Client) members(ctx context.Context, method, path string, limit int) ([]Participant, error) {
	switch {
	case ctx == nil:
		return nil, nilContext(method)
	case c.sess == nil:
		return nil, fmt.Errorf("election: %s of %s: the client was not made by Connect or NewClient: %w", method, path, ErrClosed)
	}
	if err := znode.CheckPath(path); err != nil {
		return nil, fmt.Errorf("election: %s: path %.200q %w", method, path, err)
	}
	members, err := line.Members(ctx, c.sess, c.full(path), limit)
	if err != nil {
		return nil, fmt.Errorf("election: %s of %s: %w", method, path, public(err))
	}
	all := make([]Participant, len(members))
	for i, m := range members {
		all[i] = c.participant(m)
		all[i].Leader = i == 0
	}
	return all, nil
}

// Observe follows who is first in line at path, without standing: it yields the present state at once and then every
// change. A participant comes with a nil error; ErrNoLeader comes when nobody stands, ErrDisconnected when the
// connection is down and it cannot know, both with a zero Participant, and the state again when it is back. It
// watches one znode, not the line; the driver keeps that watch until the leader changes, also when nobody follows any
// more. States that follow each other faster than they are consumed are merged into the latest.
//
// What ZooKeeper answers instead (zk.ErrNoAuth, say) is yielded like a state, and it is asked again every second. The
// sequence ends when ctx ends, or with ErrClosed when the client is closed; a bad path yields one error that names it.
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
		o := line.Observer{Session: c.sess, Path: c.full(path)}
		o.Run(ctx, func(m line.Member, err error) bool {
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
	case errors.Is(err, line.ErrNobody):
		return ErrNoLeader
	case errors.Is(err, line.ErrDisconnected):
		return ErrDisconnected
	case lostConnection(err):
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	return err
}

// lostConnection reports whether err is the driver's word for a request that got no answer, or, on a connection of the
// caller's, the network's for one that could not be written.
func lostConnection(err error) bool {
	var network net.Error
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrSessionMoved) ||
		errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrClosedPipe)
}

func (c *Client) participant(m line.Member) Participant {
	return Participant{ID: m.ID, Path: strings.TrimPrefix(m.Path, c.chroot), Token: m.Token, SessionID: m.SessionID}
}

// full puts the chroot before a path.
func (c *Client) full(path string) string {
	if path == "/" && c.chroot != "" {
		return c.chroot
	}
	return c.chroot + path
}

// enlist registers a candidate that begins to stand; false if the client is closed.
func (c *Client) enlist(cand *Candidate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.candidates[cand] = struct{}{}
	}
	return !c.closed
}

func (c *Client) strike(cand *Candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.candidates, cand)
}
