package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
)

// Guard applies ZooKeeper writes atomically with the proof that this term's znode still
// exists. So they commit only if no later leader can have begun. ops are
// *[zk.CreateRequest], *[zk.DeleteRequest], *[zk.SetDataRequest] and
// *[zk.CheckVersionRequest], with paths below the client's chroot. Without any, Guard is
// that proof alone. It returns one response for each, within 100 ms of ctx's end.
//
//	error                                     what was written     does the term last?
//	ErrTermOver                               nothing              no: it is over, or its znode is gone
//	names one of ops, wraps the driver's      nothing              yes
//	  error (zk.ErrBadVersion, say)
//	names one of ops that is nil, of another  nothing was sent     as before
//	  type, or has a bad path or bad flags
//	ZooKeeper's word for why it did not       nothing, unless the  yes
//	  carry the request out                   error says that the
//	  ("THROTTLEDOP (-127)", say)             outcome is unknown
//	ErrDisconnected, ErrClosed or ctx's       all of ops or none:  only reading tells
//	  error: no answer came                   only reading tells
//	ctx's error or ErrClosed, with "nothing   nothing was sent     as before
//	  was sent": ctx or the client had ended
//	  before it was this call's turn
//
// A client sends up to 64 calls of Guard at once. Others wait for their turn, so that they
// cannot delay the proofs of the lease.
//
// With a naming that has no UUID, the proof goes by a name that can come again. After the
// whole path was deleted by hand and created again, it may find another candidate's
// znode, until this candidate has noticed.
func (t *Term) Guard(ctx context.Context, ops ...any) ([]zk.MultiResponse, error) {
	sent := time.Now()
	responses, err := t.guard(ctx, ops)
	t.traceGuarded(len(ops), time.Since(sent), err)
	return responses, err
}

func (t *Term) guard(ctx context.Context, ops []any) ([]zk.MultiResponse, error) {
	if ctx == nil {
		return nil, nilContext("Guard")
	}

	all, err := queue.FencedOps(t.cand.znode(t.node), t.cand.client.full, ops)
	if err != nil {
		return nil, fmt.Errorf("election: Guard: %w", err)
	}
	mayGuard := func() error { return cmp.Or(t.Err(), session.CtxError(ctx)) }
	if err := mayGuard(); err != nil {
		return nil, unsent(t, err)
	}

	sess := t.cand.sess // mayGuard again, since the turn may come late
	responses, began, err := session.CallInTurn(ctx, sess, mayGuard, func() (res []zk.MultiResponse, err error) {
		_, err = sess.Write(func(c *zk.Conn) (err error) {
			if res, err = c.Multi(all...); err == nil && len(res) != len(all) { // Connect's connections do not let it through
				err = fmt.Errorf("the server sent %d results for %d operations", len(res), len(all))
			}
			return err
		})
		return res, err
	})

	switch {
	case !began:
		return nil, unsent(t, err)
	case !session.Answered(err) && (ctx.Err() != nil || errors.Is(err, session.ErrClosed)):
		return nil, fmt.Errorf("election: Guard: the outcome is unknown: %w", public(err))
	}
	return t.guardError(responses, err)
}

// unsent is the error of a Guard of t that did not send anything, for the given reason.
func unsent(t *Term, reason error) error {
	if err := t.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrTermOver, err)
	}
	return fmt.Errorf("election: Guard: nothing was sent: %w", public(reason))
}

// guardError finds out what an error is about. The driver returns the error of the first operation
// that failed. An operation after that one has RuntimeInconsistency, and one before it
// has none (DataTree.processTxn).
func (t *Term) guardError(responses []zk.MultiResponse, err error) ([]zk.MultiResponse, error) {
	chroot := t.cand.client.chroot
	for i := range responses {
		responses[i].String = strings.TrimPrefix(responses[i].String, chroot)
		responses[i].Error = session.Translate(responses[i].Error)
	}

	switch {
	case err == nil:
		return responses[1:], nil
	case len(responses) > 0 && errors.Is(responses[0].Error, zk.ErrNoNode), errors.Is(err, zk.ErrSessionExpired):
		t.cand.driver.Post(machine.Tick{}) // have the candidate look at its znode
		return nil, fmt.Errorf("%w: its znode is gone: %w", ErrTermOver, err)
	case len(responses) > 0 && responses[0].Error != nil:
		return nil, fmt.Errorf("election: Guard: check of the term's znode: %w", responses[0].Error)
	}
	if errors.Is(err, zk.ErrShortBuffer) { // the driver's own limit, 1.5 MiB
		return nil, fmt.Errorf("election: Guard: ops are too large, nothing was sent: %w", err)
	}

	for i := range max(len(responses)-1, 0) {
		if e := responses[i+1].Error; e != nil {
			return responses[1:], fmt.Errorf("election: Guard: operation %d: %w", i, e)
		}
	}

	switch {
	case session.Uncertain(err):
		return nil, fmt.Errorf("election: Guard: the outcome is unknown: %w", err)
	case session.Answered(err): // an error in a reply's head, of which no operation is to blame
		return nil, fmt.Errorf("election: Guard: nothing was applied: %w", err)
	}
	return nil, fmt.Errorf("election: Guard: the outcome is unknown: %w: %w", ErrDisconnected, err)
}
