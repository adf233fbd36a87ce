package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Guard commits ZooKeeper writes only while a term of leadership lasts: *election.Term.
type Guard interface {
	Guard(ctx context.Context, ops ...any) ([]zk.MultiResponse, error)
}

// Registration keeps one instance registered until it is closed, also when the session expires: the znode is then
// made again in the next session, under the same identity.
//
// One goroutine compares what should be there with what is, and mends the difference. It does so after every change
// and every new session, and again after a pause when something failed. Callers only say what they want, so a
// listener of the election never waits for ZooKeeper.
type Registration struct {
	conn   *Conn
	dir    string // the service's znode, below the chroot
	log    *slog.Logger
	wanted chan struct{} // rung when claim changes
	first  chan struct{} // closed when the instance is registered for the first time
	cancel context.CancelFunc
	ended  chan struct{}

	instance Instance // used by the goroutine alone, but for its ID

	mu    sync.Mutex
	claim Guard // proves that this instance leads; nil while it does not
}

// retryPause is short, since meanwhile the balancer does not know of this instance or of its new role.
const retryPause = 200 * time.Millisecond

// Register has in registered at base/<name>/<id> and returns once it is. When ctx ends first it returns ctx's
// error, and nothing stays registered longer than the session.
func (c *Conn) Register(ctx context.Context, base string, in Instance, log *slog.Logger) (*Registration, error) {
	r := &Registration{conn: c, dir: base + "/" + in.Name, instance: in, log: log,
		wanted: make(chan struct{}, 1), first: make(chan struct{}), ended: make(chan struct{})}
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	go r.keep(keep)
	select {
	case <-r.first:
		return r, nil
	case <-ctx.Done():
		cancel()
		return nil, fmt.Errorf("register %s: %w", r.path(), ctx.Err())
	}
}

// Claim has the payload say that this instance leads. The write goes through the term's Guard: it commits only if
// no later leader can have begun. So claims are written in the order of their terms, and whoever finds two, because
// the earlier claimant is gone and its session is not yet over, may trust the later one.
func (r *Registration) Claim(term Guard) { r.want(term) }

// Disclaim has the payload say that this instance does not lead.
func (r *Registration) Disclaim() { r.want(nil) }

func (r *Registration) want(claim Guard) {
	r.mu.Lock()
	r.claim = claim
	r.mu.Unlock()
	ring(r.wanted)
}

// Close takes the instance out of the registry. When ctx ends before that is confirmed it returns ctx's error, and the
// znode goes with the session.
func (r *Registration) Close(ctx context.Context) error {
	r.cancel()
	removed := make(chan error, 1)
	go func() { // the driver knows no contexts; closing the Conn ends its calls
		<-r.ended
		removed <- r.remove()
	}()
	select {
	case err := <-removed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("deregister %s: %w", r.path(), ctx.Err())
	}
}

func (r *Registration) remove() error {
	if err := r.conn.zk.Delete(r.conn.root+r.path(), -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
		return fmt.Errorf("deregister %s: %w", r.path(), err)
	}
	return nil
}

func (r *Registration) path() string { return r.dir + "/" + r.instance.ID }

func (r *Registration) keep(ctx context.Context) {
	defer close(r.ended)
	for ctx.Err() == nil {
		var retry <-chan time.Time
		if err := r.mend(ctx); err != nil {
			r.log.Warn("registration is not as it should be, will try again", "path", r.path(), "error", err)
			retry = time.After(retryPause)
		} else {
			r.registered()
		}
		select {
		case <-retry:
		case <-r.wanted:
		case <-r.conn.sessions:
		case <-ctx.Done():
		}
	}
}

func (r *Registration) registered() {
	select {
	case <-r.first:
	default:
		close(r.first)
	}
}

// mend makes the znode exist in the present session and say what it should.
func (r *Registration) mend(ctx context.Context) error {
	path := r.conn.root + r.path()
	found, stat, err := r.conn.zk.Exists(path)
	if err != nil {
		return err
	}
	if found && stat.EphemeralOwner != r.conn.zk.SessionID() {
		// Of our own last session, whose end the server has not dealt with. It would go in the middle of this one.
		if err := r.remove(); err != nil {
			return err
		}
		found = false
	}
	if !found {
		if err := r.create(path); err != nil {
			return err
		}
		r.log.Info("registered", "path", r.path())
	}
	return r.publish(ctx, path)
}

// create makes the znode say that this instance does not lead: only a term's Guard may say that it does.
func (r *Registration) create(path string) error {
	if err := r.conn.makePath(r.conn.root + r.dir); err != nil {
		return err
	}
	_, err := r.conn.zk.Create(path, r.data(false), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	return err
}

func (r *Registration) publish(ctx context.Context, path string) error {
	r.mu.Lock()
	claim := r.claim
	r.mu.Unlock()
	if claim == nil {
		_, err := r.conn.zk.Set(path, r.data(false), -1)
		return err
	}
	// The election's client puts the chroot before the path by itself.
	_, err := claim.Guard(ctx, &zk.SetDataRequest{Path: r.path(), Data: r.data(true), Version: -1})
	return err
}

func (r *Registration) data(leader bool) []byte {
	r.instance.Payload.Leader = leader
	data, _ := json.Marshal(r.instance) // strings, numbers and booleans: cannot fail
	return data
}
