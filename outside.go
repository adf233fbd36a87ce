package election

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/driver"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// RequestResign asks the leader of the election at path to stop its work and go to the
// back of the line, as [Candidate.Resign] does. It returns the next participant that is
// first in line. That participant leads as soon as its lease is proved. If no one else
// takes part, it is the same candidate again, with another token.
//
// The request is an ephemeral znode beside the election path, <path>.request, and names the
// leader's token. If another participant leads by the time the request is read, the
// request is void, and RequestResign returns that participant. An election has one request
// at a time. RequestResign removes the request before it returns. Without a connection, the
// client removes it as soon as there is one again, or the request goes with the client's
// session. Requests need CREATE and DELETE on the path's parent.
//
// RequestResign returns
//   - [ErrNoLeader] if no one takes part;
//   - [ErrRequested] if another request is under way;
//   - [ErrUnasked] if the leader has not answered within a session timeout: it belongs to
//     another library, or was made with [WithoutRequests], or is cut off from ZooKeeper.
//     The leader will not carry out the request later;
//   - ctx's error within 100 ms of ctx's end. If the leader has accepted the request by
//     then, it still carries it out, as soon as its work has stopped;
//   - otherwise the errors of [Client.Leader], such as zk.ErrNoAuth, wrapped.
func (c *Client) RequestResign(ctx context.Context, path string) (Participant, error) {
	leader, err := c.leaderFor(ctx, "RequestResign", path)
	if err != nil {
		return Participant{}, err
	}
	return c.request(ctx, "RequestResign", path, queue.Request{What: queue.AskResign, Token: leader.Token}, leader)
}

// RequestHandOver asks the leader of the election at path to stop its work and hand over to
// the participant with this ID. It returns nil when that participant is first in line. The
// participant leads as soon as its lease is proved. RequestHandOver returns nil at once if
// the participant leads already. If several have the ID, the first of them behind the
// leader is meant. At most 1,000 may be between it and the leader.
//
// When the leader's work has stopped, one transaction removes its znode and the znodes
// between. Their candidates take part again at the back by themselves, and so do Curator's.
// ZooKeeper's LeaderElectionSupport does not. If the named participant leaves meanwhile, the
// next in line leads.
//
// RequestHandOver returns the errors of [Client.RequestResign]. It also returns an error if
// no participant with this ID is behind the leader, if the ID is too long for a request
// (some 60 KB), or if another participant leads now.
func (c *Client) RequestHandOver(ctx context.Context, path, id string) error {
	const method = "RequestHandOver"
	if id == "" {
		return fmt.Errorf("election: %s: the ID is empty: RequestResign hands over to the next in line", method)
	}
	all, err := c.members(ctx, method, path, 0)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return fmt.Errorf("election: %s: %w at %s", method, ErrNoLeader, znode.Brief(path))
	case all[0].ID == id:
		return nil
	case !stands(all, id):
		return fmt.Errorf("election: %s: no candidate with the ID %q stands at %s", method, znode.Brief(id), znode.Brief(path))
	}

	r := queue.Request{What: queue.AskHandOver, To: id, Token: all[0].Token}
	if r.TooLong() {
		return fmt.Errorf("election: %s: the ID of %d bytes is too long for a request: only the leader itself can hand over to it, by HandOver",
			method, len(id))
	}
	next, err := c.request(ctx, method, path, r, all[0])
	if err == nil && next.ID != id {
		return fmt.Errorf("election: %s: %v is first in line at %s now: the leader has changed, or %q has left", method, next,
			znode.Brief(path), znode.Brief(id))
	}
	return err
}

func stands(all []Participant, id string) bool {
	for _, p := range all {
		if p.ID == id {
			return true
		}
	}
	return false
}

// Evict removes the znode of a participant that does not lead. p is the participant as
// [Client.Participants] has returned it. If the process of the participant runs, it takes
// part again at the back. Evict needs DELETE on the path. It returns
//   - [ErrIsLeader] if the participant is first in line: use [Client.RequestResign];
//   - zk.ErrNoNode, wrapped, if the participant no longer takes part;
//   - ctx's error within 100 ms of ctx's end. The znode may be gone or not;
//   - otherwise the errors of [Client.Leader], such as zk.ErrNoAuth, wrapped.
func (c *Client) Evict(ctx context.Context, path string, p Participant) error {
	const method = "Evict"
	prefix := strings.TrimSuffix(path, "/") + "/"
	name, found := strings.CutPrefix(p.Path, prefix)
	if !found || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("election: %s: participant %.200q does not stand at %.200q", method, p.Path, path)
	}
	if _, err := c.leaderFor(ctx, method, path); err != nil { // checks the arguments, too
		return err
	}

	_, err := session.Call(ctx, c.sess, func() (struct{}, error) {
		return struct{}{}, queue.EvictFollower(c.sess, c.full(path), name, p.Token)
	})
	switch {
	case errors.Is(err, queue.ErrFirst):
		return fmt.Errorf("election: %s: %v: %w: RequestResign sends it to the back", method, p, ErrIsLeader)
	case err != nil:
		return fmt.Errorf("election: %s: %v: %w", method, p, public(err))
	}
	return nil
}

// leaderFor is Leader on behalf of another method.
func (c *Client) leaderFor(ctx context.Context, method, path string) (Participant, error) {
	all, err := c.members(ctx, method, path, 1)
	switch {
	case err != nil:
		return Participant{}, err
	case len(all) == 0:
		return Participant{}, fmt.Errorf("election: %s: %w at %s", method, ErrNoLeader, znode.Brief(path))
	}
	return all[0], nil
}

// request makes a request that is meant for leader, and waits until another participant is
// first in line.
func (c *Client) request(ctx context.Context, method, path string, r queue.Request, leader Participant) (next Participant, err error) {
	fail := func(err error) (Participant, error) {
		return Participant{}, fmt.Errorf("election: %s at %s: %w", method, znode.Brief(path), err)
	}
	ctx, release := c.insideOf(ctx, path)
	defer release()
	r.By = fmt.Sprintf("%x", znode.NewUUID())
	at := queue.RequestsAt(c.sess, c.full(path))
	made, withdraw := c.make(at, r)
	defer withdraw(ctx)
	select {
	case err = <-made:
	case <-ctx.Done():
		return fail(session.CtxError(ctx))
	case <-c.sess.Done():
		return fail(ErrClosed)
	}
	switch {
	case errors.Is(err, zk.ErrNodeExists):
		return fail(c.inTheWay(ctx, at))
	case err != nil:
		return fail(public(err))
	}

	waiting, give := context.WithCancelCause(ctx)
	defer give(nil)
	if !session.Loop(c.sess, func() { give(c.awaitAnswer(waiting, at, r.By)) }) {
		return fail(ErrClosed)
	}
	for p, err := range c.Observe(waiting, path) {
		switch {
		case err == nil && p.Token != leader.Token:
			return p, nil
		case errors.Is(err, ErrClosed), err != nil && session.Answered(err):
			return fail(err)
		}
	}
	if ctx.Err() != nil {
		return fail(session.CtxError(ctx))
	}
	return fail(context.Cause(waiting))
}

// insideOf is [Candidate.inside] for the candidate of this client at path whose work calls,
// if any. The work must not wait for its own end.
func (c *Client) insideOf(ctx context.Context, path string) (obeyed context.Context, release func()) {
	c.mu.Lock()
	var here *Candidate
	for cand := range c.candidates {
		if t := cand.last.Load(); cand.path == path && t != nil && t.worksHere() {
			here = cand
		}
	}
	c.mu.Unlock()
	if here == nil {
		return ctx, func() {}
	}
	return here.inside(ctx)
}

// make makes a request and sends the outcome on made. withdraw removes the request and
// returns when it is removed. If ctx ends first, withdraw returns and the removal goes on by
// itself. make also removes the request if the client is closed and its connection stays
// open.
func (c *Client) make(at queue.Requests, r queue.Request) (made <-chan error, withdraw func(context.Context)) {
	outcome, done, gone := make(chan error, 1), make(chan struct{}), make(chan struct{})
	if !c.sess.Go(func() {
		defer close(gone)
		err := at.Make(r)
		outcome <- err
		if err != nil && session.Answered(err) && !session.Uncertain(err) {
			return
		}
		select {
		case <-done:
		case <-c.sess.Done():
		}
		c.remove(at, r.By)
	}) {
		outcome <- session.ErrClosed
		close(gone)
	}
	return outcome, func(ctx context.Context) {
		close(done)
		select {
		case <-gone:
		case <-c.sess.Done():
		case <-ctx.Done():
		}
	}
}

// removePause is the time between two attempts to remove a request.
const removePause = 200 * time.Millisecond

// remove removes a request. It tries again as often as the connection is lost, and once more
// when the client has been closed.
func (c *Client) remove(at queue.Requests, by string) {
	for {
		last := c.sess.Closed()
		err := at.Remove(by, false)
		if last || session.Processed(err) {
			return
		}
		pause := time.NewTimer(removePause)
		select {
		case <-pause.C:
		case <-c.sess.Done():
		}
		_ = c.sess.Wait(context.Background())
	}
}

// inTheWay returns an error that says why no request could be made.
func (c *Client) inTheWay(ctx context.Context, at queue.Requests) error {
	type what struct {
		text    string
		request bool
	}
	is, err := session.Call(ctx, c.sess, func() (what, error) {
		text, request, err := at.Whose()
		return what{text, request}, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w (%w)", ErrRequested, public(err))
	case !is.request:
		return fmt.Errorf("%s: %w", is.text, zk.ErrNodeExists)
	}
	return fmt.Errorf("%w: %s", ErrRequested, is.text)
}

// awaitAnswer waits until ctx ends. It returns an error before that if the leader refuses
// the request, or does not answer within a session timeout. In the second case it first
// withdraws the request, so the leader does not carry it out later.
func (c *Client) awaitAnswer(ctx context.Context, at queue.Requests, by string) error {
	patience := time.NewTimer(c.sess.Timeout())
	defer patience.Stop()
	for {
		found, err := session.Call(ctx, c.sess, at.Look)
		var again <-chan time.Time
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			again = time.After(time.Second)
		case found.By != by: // withdrawn, or gone with the session
		case found.Answer == queue.Taken:
			<-ctx.Done()
			return ctx.Err()
		case found.Answer != "":
			return fmt.Errorf("the leader refuses: %s", found.Answer)
		}
		select {
		case <-found.Watch:
		case <-again:
		case <-patience.C:
			_, err := session.Call(ctx, c.sess, func() (struct{}, error) { return struct{}{}, at.Remove(by, true) })
			if err == nil {
				return fmt.Errorf("%w within %v: it belongs to another library, has WithoutRequests, or is cut off. "+
					"To move the leadership, end its process", ErrUnasked, c.sess.Timeout())
			}
			patience.Reset(time.Second) // the leader has answered just now, or there is no connection
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// HandOver ends this candidate's term and hands over to the participant with this ID, as
// [Client.RequestHandOver] does from outside. It returns nil when that participant is first
// in line and this candidate is in line again, at the back. If several have the ID, the
// first of them behind this candidate is meant. HandOver returns
//   - an error if this candidate does not lead, or if no participant with this ID is behind
//     it. The term then lasts;
//   - an error that names who is first in line now, if the named participant has left
//     meanwhile;
//   - ctx's error when ctx ends first. If the term is over by then, the hand-over goes on by
//     itself;
//   - [ErrClosed] if the candidate or its client is closed.
//
// Called by the function under Run, HandOver returns nil as soon as the term is over, like
// [Candidate.Resign].
func (c *Candidate) HandOver(ctx context.Context, id string) error {
	const method = "HandOver"
	if ctx == nil {
		return nilContext(method)
	}
	term := c.Term()
	switch {
	case c.driver.Life() >= driver.Closing || c.sess.Closed():
		return c.waitError(method, ctx, ErrClosed)
	case id == "":
		return fmt.Errorf("election: %s: the ID is empty: Resign hands over to the next in line", method)
	case term == nil:
		return fmt.Errorf("election: %s: %s does not lead at %s", method, znode.Brief(c.cfg.id), znode.Brief(c.path))
	}
	found, err := session.Call(ctx, c.sess, func() (bool, error) { return c.driver.Stands(term.node, id) })
	if err != nil {
		return c.waitError(method, ctx, public(err))
	}
	if !found {
		return fmt.Errorf("election: %s: no candidate with the ID %q stands behind this one at %s", method, znode.Brief(id), znode.Brief(c.path))
	}

	if inside, err := c.resign(ctx, method, machine.Resign{To: id, Token: term.Token()}); inside || err != nil {
		return err
	}
	next, err := c.client.leaderFor(ctx, method, c.path)
	if err == nil && next.ID != id {
		return fmt.Errorf("election: %s: %v is first in line at %s now: %q has left, or the term had ended before", method, next, znode.Brief(c.path), znode.Brief(id))
	}
	return err
}

// resign makes the candidate go to the back of the line, and waits until it is there. inside
// is true if resign did not wait, because the function under Run calls it.
func (c *Candidate) resign(ctx context.Context, method string, how machine.Resign) (inside bool, err error) {
	ctx, release := c.inside(ctx)
	defer release()
	if c.isInside(ctx) { // the resignation itself ends ctx; the owner takes the message without delay
		ctx = context.WithoutCancel(ctx)
		return true, c.waitError(method, ctx, c.driver.Send(ctx, how))
	}
	if err := c.driver.Send(ctx, how); err != nil {
		return false, c.waitError(method, ctx, err)
	}

	err = c.driver.Wait(ctx, func(v driver.View) (bool, error) {
		if v.Life == driver.Closed {
			return false, ErrClosed
		}
		inLine := v.State == machine.Following || v.State == machine.Elected || v.State == machine.Leading
		return !v.Rejoin && (inLine || !v.Started || v.State == machine.Unhealthy), nil
	})
	return false, c.waitError(method, ctx, err)
}
