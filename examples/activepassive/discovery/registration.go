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

	"github.com/zkelection/election"
)

// Guard commits ZooKeeper writes only while a term of leadership lasts. An *election.Term
// is a Guard.
type Guard interface {
	Guard(ctx context.Context, ops ...any) ([]zk.MultiResponse, error)
}

// Registration keeps one instance registered until it is closed. [Registry.Register] makes
// one. If the session expires, or somebody deletes the znode, the Registration creates it
// again, with the same UUID. Its methods are safe for concurrent use.
//
// One goroutine compares what should be registered with what is, and corrects the
// difference: when Claim or Disclaim is called, when the watch on its znode fires, and
// after a pause if something has failed. Every watch fires at the end of the session, too.
// The other methods only say what they want and return at once, so a listener of the
// election never waits for ZooKeeper.
type Registration struct {
	client *election.Client
	chroot string
	log    *slog.Logger
	dir    string        // the service's znode, below the chroot
	wanted chan struct{} // signalled when claim changes
	first  chan struct{} // closed when the instance is registered for the first time
	cancel context.CancelFunc
	ended  chan struct{}

	instance Instance // only the goroutine uses it, except for its name and ID

	mu    sync.Mutex
	claim Guard // the term in which this instance leads; nil while it does not lead
}

// retryPause is short, because meanwhile the balancer does not know of this instance or
// its new role.
const retryPause = 200 * time.Millisecond

// Register registers in at base/<name>/<id> and returns when that is done. The instance
// stays registered until [Registration.Close], or until the client is closed, even if ctx
// ends later.
//
// If ctx ends first, Register returns ctx's error, and removes in the background what it may
// have registered. Register returns an error at once if the instance has no address, port
// or ID, if its name cannot be the name of a znode, or if base is no path. It returns
// [election.ErrClosed] if the client is closed.
func (r *Registry) Register(ctx context.Context, base string, in Instance) (*Registration, error) {
	if err := in.check(base); err != nil {
		return nil, fmt.Errorf("discovery: register: %w", err)
	}
	reg := &Registration{client: r.client, chroot: r.chroot, log: r.log, dir: base + "/" + in.Name, instance: in,
		wanted: make(chan struct{}, 1), first: make(chan struct{}), ended: make(chan struct{})}
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	reg.cancel = cancel
	go reg.keep(keep)
	select {
	case <-reg.first:
		return reg, nil
	case <-reg.ended:
		return nil, fmt.Errorf("discovery: register %s: %w", reg.path(), election.ErrClosed)
	case <-ctx.Done():
		cancel()
		return nil, fmt.Errorf("discovery: register %s: %w", reg.path(), ctx.Err())
	}
}

// Claim writes into the payload that this instance leads. It returns at once, and the
// write follows. Call it when a term begins, with the term.
//
// The write goes through the term's [Guard], so it is committed only if no later leader
// can have begun. Claims are therefore written in the order of their terms. If the
// registry has two claims, the later claim is right: see [Newest].
func (r *Registration) Claim(term Guard) { r.want(term) }

// Disclaim writes into the payload that this instance does not lead. It returns at once,
// and the write follows. Call it when a term has ended.
func (r *Registration) Disclaim() { r.want(nil) }

func (r *Registration) want(claim Guard) {
	r.mu.Lock()
	r.claim = claim
	r.mu.Unlock()
	select {
	case r.wanted <- struct{}{}:
	default: // one signal is enough for any number of changes
	}
}

// Close removes the instance from the registry for good. If ctx ends before ZooKeeper has
// confirmed that, Close returns ctx's error. The removal goes on until it succeeds or the
// client is closed.
func (r *Registration) Close(ctx context.Context) error {
	r.cancel()
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("deregister %s: %w", r.path(), ctx.Err())
	}
}

func (r *Registration) path() string { return r.dir + "/" + r.instance.ID }

func (r *Registration) znode() string { return r.chroot + r.path() }

// keep ends when closing does, and the znode is gone then, or when the client is closed.
// The requests do not end with closing: [election.Client.Do] would return, but the driver
// would go on, and might create the znode after it was removed.
func (r *Registration) keep(closing context.Context) {
	defer close(r.ended)
	ctx := context.WithoutCancel(closing)
	for closing.Err() == nil && !r.client.Status().Closed {
		watch, err := r.mend(ctx)
		if err == nil {
			r.registered()
		}
		select {
		case <-r.pause(err):
		case <-r.wanted:
		case <-watch:
		case <-closing.Done():
		}
	}
	for !r.client.Status().Closed {
		err := r.client.Do(ctx, r.remove)
		if err == nil {
			return
		}
		<-r.pause(err)
	}
}

// pause logs an error and returns when to try again, or nil if there is no error.
func (r *Registration) pause(err error) <-chan time.Time {
	if err == nil {
		return nil
	}
	r.log.Warn("registration is not as it should be, will try again", "path", r.path(), "error", err)
	return time.After(retryPause)
}

func (r *Registration) registered() {
	select {
	case <-r.first:
	default:
		close(r.first)
	}
}

// mend makes sure that the znode exists in the present session and says what it should. It
// returns a watch on it.
func (r *Registration) mend(ctx context.Context) (<-chan zk.Event, error) {
	if err := r.client.Do(ctx, r.create); err != nil {
		return nil, err
	}
	if err := r.publish(ctx); err != nil {
		return nil, err
	}
	// Not earlier: what we have written ourselves must not fire the watch.
	var watch <-chan zk.Event
	err := r.client.Do(ctx, func(conn *zk.Conn) error {
		found, stat, w, err := conn.ExistsW(r.znode())
		if err == nil && !(found && ours(conn, stat)) {
			err = errors.New("the znode or its session has gone again")
		}
		watch = w
		return err
	})
	if err != nil { // the function may still run, if the client was closed
		return nil, err
	}
	return watch, nil
}

func ours(conn *zk.Conn, stat *zk.Stat) bool { return stat.EphemeralOwner == conn.SessionID() }

// create creates the znode, unless this session has it already. The znode says that this
// instance does not lead, because only a term's Guard may say that it does.
func (r *Registration) create(conn *zk.Conn) error {
	found, stat, err := conn.Exists(r.znode())
	if err != nil || found && ours(conn, stat) {
		return err
	}
	if found {
		// It belongs to our previous session, which the server has not ended yet. It
		// would go in the middle of this session.
		if err := r.remove(conn); err != nil {
			return err
		}
	}
	if err := makePath(conn, r.chroot+r.dir); err != nil {
		return err
	}
	if _, err := conn.Create(r.znode(), r.data(false), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		return err
	}
	r.log.Info("registered", "path", r.path())
	return nil
}

func (r *Registration) remove(conn *zk.Conn) error {
	if err := conn.Delete(r.znode(), -1); !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	return nil
}

func (r *Registration) publish(ctx context.Context) error {
	r.mu.Lock()
	claim := r.claim
	r.mu.Unlock()
	if claim == nil {
		return r.client.Do(ctx, func(conn *zk.Conn) error {
			_, err := conn.Set(r.znode(), r.data(false), -1)
			return err
		})
	}
	// Guard adds the chroot to the path by itself.
	_, err := claim.Guard(ctx, &zk.SetDataRequest{Path: r.path(), Data: r.data(true), Version: -1})
	return err
}

func (r *Registration) data(leader bool) []byte {
	r.instance.Payload.Leader = leader
	data, _ := json.Marshal(r.instance) // strings, numbers and booleans: cannot fail
	return data
}
