// Package driver runs one candidate: it owns the state machine of package machine, feeds
// it with what happens and carries out what it asks for. Nobody outside this package can
// reach the machine, the watches or the timers.
//
// A goroutine of its own, the owner, does all of that. Everything else is a message to
// it: what the user wants, what the session, a watch or a timer says, and how a request
// ended. The owner never blocks. Requests to ZooKeeper run on goroutines of their own,
// and come back as messages. An owner that has nothing to do goes to rest.
//
// So there are two types. The methods of a Driver may be called by any goroutine. The
// fields and methods of an owner belong to the owner goroutine. Another goroutine gets at
// them only by a message, whose function runs on the owner.
package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/beat"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
)

// Host is what a Driver tells, and asks, the candidate that it drives. All methods are
// called on the owner: one at a time, in order, and they must not block.
type Host interface {
	// BeginTerm says that the candidate leads, by a belief that may already be over. The
	// host calls publish once: it calls note and shows the new state to others at one
	// moment, see [Driver.View].
	BeginTerm(begin machine.BeginTerm, belief session.Belief, publish func(note func()))
	// EndTerm says that the candidate leads no more. The host posts machine.Stopped when
	// the term's work has stopped.
	EndTerm(why machine.Reason)
	// LeaseShortened says that the lease of the present term, if there is one, may end
	// sooner than it would have.
	LeaseShortened()
	// Moved says that the candidate's state has changed.
	Moved(from, to machine.State)
	// Retrying says that a request failed with err, the latest of so many in a row, and
	// will be made again after a pause.
	Retrying(err error, after time.Duration, failures int)
	// Evicted says that this candidate has removed the one ahead, which was silent.
	Evicted(ahead queue.Member)
	// Log takes a line for the log.
	Log(level slog.Level, message string, args ...any)
	// Report says that something has happened that cannot be.
	Report(text string)
	// Flush is called after each batch of messages. It is the time for logs and the like.
	Flush()
	// SessionEnding reports whether the session is about to end and takes all its znodes
	// along.
	SessionEnding() bool
	// Ended is the last call of an owner. The candidate has left for good, or is at rest.
	Ended()
}

// Config is what a Driver is made with.
type Config struct {
	Host       Host
	Session    *session.Session
	Entry      *queue.Entry
	Machine    machine.Config
	Beats      *beat.Pool    // the client's
	Fast       *Fast         // nil: without fast failover
	Strict     bool          // with strict hand-over
	NoRequests bool          // operators cannot ask for anything
	Budget     *Budget       // the client's; nil: one of its own
	MaxTerm    time.Duration // about how long a term may last when somebody waits; 0: as long as it can
	Jitter     *rand.Rand    // spreads timers; only the owner uses it
}

// Life is how far a Driver has got.
type Life int32

// A Driver goes from Resting to Running and back any number of times, and from either
// towards Closed.
const (
	Resting Life = iota // no owner runs: not launched yet, or there was nothing left to do
	Running             // the owner runs
	Closing             // the owner runs, begins no more terms, and is about to leave for good
	Closed              // has left for good
)

// Driver runs one candidate.
type Driver struct {
	cfg Config

	birth sync.Mutex   // held while life changes; guards owner
	life  atomic.Int32 // a Life
	owner *owner       // nil before the first launch; it belongs to its goroutine while that runs

	ctx    context.Context // ends when the candidate has left for good: nothing of it runs after that
	cancel context.CancelFunc

	inbox    inbox
	board    board
	problems problems
	starts   atomic.Int32 // calls that wait for the candidate's first znode
}

// NewDriver returns a Driver that has not been launched.
func NewDriver(cfg Config) *Driver {
	if cfg.Budget == nil {
		cfg.Budget = new(Budget)
	}
	cfg.Machine.Fast, cfg.Entry.Beats = cfg.Fast != nil, cfg.Fast != nil
	cfg.Machine.StrictHandover, cfg.Entry.Strict = cfg.Strict, cfg.Strict
	d := &Driver{cfg: cfg, inbox: inbox{wake: make(chan struct{}, 1)}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.board.view.Since = time.Now()
	return d
}

// Life returns how far the candidate has got.
func (d *Driver) Life() Life { return Life(d.life.Load()) }

// Context ends when the candidate has left for good.
func (d *Driver) Context() context.Context { return d.ctx }

// Launch starts the owner, if it does not run. It calls admit first, and returns its
// error; it can then be called again, unless that error is session.ErrClosed. Launch
// returns session.ErrClosed if the candidate is closing or closed.
//
// An owner that has nothing to do goes to rest again, unless a call waits for a start: see
// BeginStart.
func (d *Driver) Launch(admit func() error) error {
	d.birth.Lock()
	defer d.birth.Unlock()

	if d.Life() == Resting {
		d.inbox.open() // what admit starts may have something to say
		switch err := admit(); {
		case errors.Is(err, session.ErrClosed):
			d.leave()
		case err != nil:
			d.inbox.close()
			return err
		default:
			if d.owner == nil {
				d.owner = newOwner(d)
			}
			d.life.Store(int32(Running))
			go d.owner.run()
		}
	}
	if d.Life() >= Closing {
		return session.ErrClosed
	}
	return nil
}

// BeginClosing sees to it that no term begins from now on. A candidate at rest is closed
// by it; another one leaves when machine.Close is posted.
func (d *Driver) BeginClosing() {
	d.birth.Lock()
	defer d.birth.Unlock()

	if d.Life() == Resting {
		d.leave()
	}
	d.life.CompareAndSwap(int32(Running), int32(Closing))
}

// leave closes a candidate at rest. The caller holds birth.
func (d *Driver) leave() {
	if d.owner != nil {
		d.owner.step(machine.Close{})
		d.cfg.Host.Flush()
	}
	d.finish()
}

// finish makes it known that the candidate has left for good. The caller holds birth.
func (d *Driver) finish() {
	d.owner = nil
	d.life.Store(int32(Closed))
	d.board.update(func(v *View) {
		v.View = machine.View{State: machine.Closed, Stood: v.Stood, Working: v.Working}
		v.Life, v.Ahead = Closed, queue.Member{}
	})
	d.inbox.close()
	d.cancel()
}

// Post leaves an event for the machine. It never blocks. Of a candidate at rest, an event
// is dropped, like all messages.
func (d *Driver) Post(ev machine.Event) { d.inbox.put(message{event: ev}) }

// Do has f run on the owner, and the machine take an event after it, if ev is not nil. It
// never blocks.
func (d *Driver) Do(f func(), ev machine.Event) {
	d.inbox.put(message{event: ev, first: func(*owner) bool {
		f()
		return ev != nil
	}})
}

// Send posts an event and returns when the machine has taken it, ctx has ended, or the
// candidate has left for good. It returns nil at once if the candidate is at rest.
func (d *Driver) Send(ctx context.Context, ev machine.Event) error {
	done := make(chan struct{})
	if !d.inbox.put(message{event: ev, done: done}) {
		if d.Life() == Closed {
			return session.ErrClosed
		}
		return nil
	}

	select {
	case <-done:
		return nil
	case <-d.ctx.Done():
		return session.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// BeginStart counts a call that waits for the candidate's first znode, and returns how
// often a start has been refused. Until EndStart takes it back, an owner that runs does
// not go to rest. So it comes before Launch.
func (d *Driver) BeginStart() (refusals int) {
	d.starts.Add(1)
	return d.View(nil).Refusals
}

// EndStart withdraws a candidate that no call waits for and that has no znode yet: its
// start is undone. And it has the owner see whether there is anything left to do.
func (d *Driver) EndStart() {
	if d.starts.Add(-1) == 0 {
		d.inbox.put(message{event: machine.Withdraw{}, first: func(o *owner) bool {
			return d.starts.Load() == 0 && !o.machine.View().Stood // a znode may have been made meanwhile
		}})
	}
}

// View returns what others may know of the candidate. If also is not nil, it is called at
// the same moment: it sees what a note saw that was published with this view, and nothing
// of a later one.
func (d *Driver) View(also func()) View { return d.board.read(also) }

// Wait calls done with each new view, the present one first, and returns done's error as
// soon as done returns true or an error. It returns ctx's error when ctx ends, and
// session.ErrClosed when the candidate has left for good.
func (d *Driver) Wait(ctx context.Context, done func(View) (bool, error)) error {
	return d.board.wait(ctx, done)
}

// Problems returns why the lease cannot be proved with the candidate's znode, nil while
// it can, and the error of the latest request that failed, nil after one that succeeded.
func (d *Driver) Problems() (lease, request error) { return d.problems.get() }

// DeleteZnode removes the znode of a candidate that could not do so itself in time, on a
// connection that goes on when the session is closed. It reports whether the znode is
// gone.
func (d *Driver) DeleteZnode(ctx context.Context) (gone bool) {
	name := d.View(nil).Node
	if name == "" {
		return d.Life() == Closed
	}
	_, err := session.Call(ctx, d.cfg.Session, func() (struct{}, error) { return struct{}{}, d.cfg.Entry.Delete(name) })
	return err == nil || errors.Is(err, zk.ErrNoNode)
}

// onSession is called by the session, in order.
func (d *Driver) onSession(st session.Status) {
	var ev machine.Event = machine.Offline{}
	switch {
	case st.Connected:
		ev = machine.Online{Session: st.ID}
	case st.ID == 0:
		ev = machine.Expired{}
	}

	d.inbox.put(message{event: ev, first: func(o *owner) bool {
		o.view.Connected = st.Connected
		if st.Unwatched != o.watches.lost {
			o.watches.lost, o.outside.watch = st.Unwatched, nil
			o.step(machine.OwnStale{NodeGen: o.watches.nodeGen})
			o.step(machine.AheadStale{NodeGen: o.watches.nodeGen, Name: o.watches.aheadName})
		}
		o.awaitSilence()
		if st.Connected && o.outside.watch == nil {
			o.lookForRequest()
		}
		return true
	}})
}

// leaseListener passes on to the owner what the session says about the lease
// (session.LeaseListener).
type leaseListener struct {
	d  *Driver
	of *keeping // for the owner
}

func (l leaseListener) LeaseGood() {
	l.d.problems.setLease(nil)
	l.d.Post(machine.LeaseGood{})
}

func (l leaseListener) LeaseShortened() { l.d.Do(l.d.cfg.Host.LeaseShortened, nil) }

func (l leaseListener) TargetLost(err error) {
	l.d.inbox.put(message{event: machine.Tick{}, first: func(o *owner) bool {
		if o.keeping == l.of { // else the lease is kept with another znode by now, or no longer
			l.d.problems.setLease(fmt.Errorf("prove the lease: %w", err))
			l.of.lost = true // take it up again at the next tick
		}
		return true
	}})
}
