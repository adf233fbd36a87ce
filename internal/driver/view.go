package driver

import (
	"context"
	"sync"
	"time"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
)

// View is what the owner shows to others.
type View struct {
	machine.View
	Life      Life // Closed or not; between the others it may lag behind
	Aborted   bool // the client was closed while the znode was there or the work was running
	Connected bool
	Refusals  int   // starts that were refused
	Refusal   error // why the latest was
	Since     time.Time
	Ahead     queue.Member    // the one ahead as last read
	short     *session.Expiry // of the znode's own proofs; nil if it leads by the session's alone
}

// Belief returns what the candidate leads by, or would lead by, with its present znode. It
// returns false if it has none, or if that is not of the latest session.
func (d *Driver) Belief(v View) (b session.Belief, ok bool) {
	l := d.cfg.Session.Lease(v.Owner)
	if v.Owner == 0 || l == nil {
		return session.Belief{}, false
	}
	return session.Belief{Lease: &l.Expiry, Beat: v.short}, true
}

// board holds the latest view, for all to read.
type board struct {
	mu      sync.Mutex // guards the following; nothing else is locked under it
	view    View
	changed chan struct{} // closed at the next change of view; nil while nobody waits
}

// update changes the view and wakes those who wait for a change.
func (b *board) update(change func(*View)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.view)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *board) read(also func()) View {
	b.mu.Lock()
	defer b.mu.Unlock()
	if also != nil {
		also()
	}
	return b.view
}

// next returns the view, and a channel that is closed when there is another.
func (b *board) next() (View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.view, b.changed
}

func (b *board) wait(ctx context.Context, done func(View) (bool, error)) error {
	for {
		v, changed := b.next()
		if ok, err := done(v); ok || err != nil {
			return err
		}
		if v.Life == Closed {
			return session.ErrClosed
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// problems are the errors to report.
type problems struct {
	mu      sync.Mutex // guards the following; nothing else is locked under it
	lease   error      // why the znode is of no use for a proof of the lease, until the lease is good
	request error      // of the latest request that failed, until one succeeds
}

func (p *problems) get() (lease, request error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease, p.request
}

// setLease keeps why the lease cannot be proved with this candidate's znode. Other
// requests may well succeed.
func (p *problems) setLease(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lease = err
}

func (p *problems) setRequest(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request = err
}
