package beat

import (
	"errors"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
)

// Shares of S, the time for which a candidate may be silent. The reasons are in the
// package doc.
const (
	leaseParts = 10. / 12 // a beat is good for S/1.2
	leaseShare = 3        // and for T/3 at most, like every proof
	beatShare  = 5        // it beats every S/5
	keepShare  = 4        // and at least four times while a beat is good
)

// Lease returns how long a beat is good for, counted from when it was sent. s is how long
// the candidate may be silent (0: without limit), and t is the session timeout.
func Lease(s, t time.Duration) time.Duration {
	if s == 0 {
		return t / leaseShare
	}
	return min(time.Duration(float64(s)*leaseParts), t/leaseShare)
}

// pause returns the time from the sending of one beat to the sending of the next. s is how
// long the candidate may be silent, and l is how long a beat is good for.
func pause(s, l time.Duration) time.Duration {
	if s == 0 {
		return l / keepShare
	}
	return min(s/beatShare, l/keepShare)
}

// A Listener is notified of the results of the beats. Its methods are called on goroutines
// of the Pool and must not block.
type Listener interface {
	// Good is called when the short lease becomes good again.
	Good()
	// Missed is called when the znode's version is no longer known: an answer was lost, or,
	// if foreign is true, somebody else has written to the znode. The Pool sends no beat
	// until Known is called.
	Missed(foreign bool)
	// Gone is called when the znode is gone. The Pool sends no more beats.
	Gone()
	// Refused is called when the server refused a beat for another reason. The Pool sends
	// the beat again.
	Refused(err error)
}

// Pool sends the beats of one session. It sends beats that are due together in one
// transaction. It is safe for concurrent use.
type Pool struct {
	session *session.Session

	mu  sync.Mutex // guards the following, and the fields of every Beat that say so; no call is made under it
	all map[*Beat]struct{}
}

// NewPool returns a Pool without beats.
func NewPool(s *session.Session) *Pool { return &Pool{session: s, all: map[*Beat]struct{}{}} }

// Config says how a znode beats.
type Config struct {
	Path     string          // of the znode
	Data     []byte          // what the znode holds; each beat writes the same
	Within   time.Duration   // S; 0: each beat only checks that the znode exists, which no one else sees
	Lease    *session.Expiry // each beat that is answered extends this lease
	Most     time.Duration   // a beat is good for this at most; 0: no such limit
	Listener Listener
}

// A Beat is the beating of one znode.
type Beat struct {
	Config
	pool *Pool

	// Guarded by the Pool's lock.
	most    time.Duration // Most, and never more than a beat was good for before
	version int32
	known   bool // whether version is known
	pending bool // a beat waits for its answer
	lost    bool // an answer was lost since the last beat that was answered
	alone   bool // send the next beat without others: the last transaction with others was refused
	ended   bool
	due     time.Time
	timer   *time.Timer
}

// Begin begins to beat. The first beat goes out when Known has reported the znode's version.
// If Within is 0, the version does not matter, and the first beat goes out at once. But if
// the lease is good, the znode has just been proved to exist, and the first beat goes out
// one pause later.
func (p *Pool) Begin(cfg Config) *Beat {
	b := &Beat{Config: cfg, pool: p, most: cfg.Most, known: cfg.Within == 0}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[b] = struct{}{}
	if now := time.Now(); cfg.Within == 0 && cfg.Lease.Live(now) {
		b.due = now.Add(pause(0, b.lasts()))
	}
	b.timer = time.AfterFunc(time.Until(b.due), b.fire)
	return b
}

// Lasts returns how long a beat that is sent from now on is good for, at most.
func (b *Beat) Lasts() time.Duration {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.lasts()
}

// lasts is Lasts with the lock held. It never returns more than before, because the record
// of strict hand-over may have published the value.
func (b *Beat) lasts() time.Duration {
	now := Lease(b.Within, b.pool.session.Timeout())
	if b.most == 0 || now < b.most {
		b.most = now
	}
	return b.most
}

// End ends the beating. It does not wait for a beat that is under way, and that beat may
// still extend the lease.
func (b *Beat) End() {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	b.ended = true
	b.timer.Stop()
	delete(p.all, b)
}

// Known tells the Beat which version the znode had when the candidate last read it.
func (b *Beat) Known(version int32) {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Within == 0 || b.pending || b.ended || b.known && version <= b.version { // a beat has been committed since that read
		return
	}
	b.version, b.known = version, true
	b.wait()
}

// wait sets the timer for the next beat. The lock must be held.
func (b *Beat) wait() {
	if b.known && !b.pending && !b.ended {
		b.timer.Reset(time.Until(b.due))
	}
}

// ready reports whether the beat may go out at by. The lock must be held.
func (b *Beat) ready(by time.Time) bool {
	return b.known && !b.pending && !b.ended && !b.due.After(by)
}

// Limits of one transaction. A server refuses a request of 1 MiB (jute.maxbuffer).
const (
	mostTogether = 100
	mostBytes    = 64 << 10
)

// fire sends b's beat, together with other beats that are due soon.
func (b *Beat) fire() {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !b.ready(now) {
		return
	}

	all, size := []*Beat{b}, len(b.Data)
	for o := range p.all {
		if b.alone || len(all) == mostTogether {
			break
		}
		soon := now.Add(pause(o.Within, o.lasts()) / 4)
		if o != b && !o.alone && o.ready(soon) && size+len(o.Data) <= mostBytes {
			all, size = append(all, o), size+len(o.Data)
		}
	}
	ops := make([]any, len(all))
	for i, o := range all {
		o.pending, o.due = true, now.Add(pause(o.Within, o.lasts()))
		o.timer.Stop()
		ops[i] = o.op()
	}
	p.session.Go(func() { p.send(all, ops, now) })
}

// op returns the beat's operation in a transaction.
func (b *Beat) op() any {
	if b.Within == 0 {
		return &zk.CheckVersionRequest{Path: b.Path, Version: -1}
	}
	return &zk.SetDataRequest{Path: b.Path, Data: b.Data, Version: b.version}
}

// send sends the beats, which are due at sent or soon after it, and handles the answer.
func (p *Pool) send(all []*Beat, ops []any, sent time.Time) {
	_, err := p.session.Write(func(c *zk.Conn) error {
		if set, ok := ops[0].(*zk.SetDataRequest); ok && len(ops) == 1 {
			_, err := c.Set(set.Path, set.Data, set.Version)
			return err
		}
		_, err := c.Multi(ops...)
		return err
	})
	good := time.Now()
	for _, b := range all {
		if tell := b.answered(sent, good, len(all) > 1, err); tell != nil {
			tell()
		}
	}
}

// answered handles the answer to a beat. together says that the transaction had other beats
// as well. answered returns the call of the listener that has to follow, or nil.
func (b *Beat) answered(sent, now time.Time, together bool, err error) (tell func()) {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	b.pending = false
	defer b.wait()

	unanswered := session.Uncertain(err) || !session.Answered(err) || errors.Is(err, zk.ErrSessionExpired)
	switch {
	case err == nil:
		b.version++
		b.lost, b.alone = false, false
		if again := b.Lease.Renew(sent, b.lasts()); again && !b.ended {
			return b.Listener.Good
		}
		return nil
	case b.ended:
		return nil
	case unanswered && b.Within == 0: // no version is needed for the next beat
		return nil
	case unanswered:
		b.known, b.lost = false, true
		return func() { b.Listener.Missed(false) }
	case together: // no beat was committed, because the server refused one of them
		b.alone, b.due = true, now
		return nil
	}
	return b.refused(err)
}

// refused handles a server's refusal of a beat. The lock must be held.
func (b *Beat) refused(err error) (tell func()) {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		b.known, b.ended = false, true
		delete(b.pool.all, b)
		return b.Listener.Gone
	case errors.Is(err, zk.ErrBadVersion):
		foreign := !b.lost
		b.known, b.lost = false, false
		return func() { b.Listener.Missed(foreign) }
	}
	return func() { b.Listener.Refused(err) }
}
