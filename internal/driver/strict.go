package driver

import (
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/beat"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/session"
)

// reigning is the owner's state of strict hand-over for one znode: see package reign.
type reigning struct {
	lasts   time.Duration // b: how long a proof is good for; 0 before b is first published
	alone   time.Time     // when the candidate learned that no one is ahead
	waiting *time.Timer   // ends the wait for the last reign
}

// lastsFor returns b, which is how long a proof is good for, with a session timeout of t.
// For one znode it never returns more than before, because the record has published b.
func (b *beating) lastsFor(t time.Duration) time.Duration {
	now := beat.Lease(b.within, t)
	if b.beat != nil {
		now = min(now, b.beat.Lasts())
	}
	if b.lasts == 0 || now < b.lasts {
		b.lasts = now
	}
	return b.lasts
}

// noteAlone notes when the candidate learned that no one is ahead. A candidate that is first
// in line stays first.
func (b *beating) noteAlone(to machine.State) {
	if to == machine.Elected && b.alone.IsZero() {
		b.alone = time.Now()
	}
}

// waited returns how long no one has been ahead. If the wall clock was set back by more than
// that, waited counts from now on. Otherwise no one would lead until the clock shows the
// old time again.
func (b *reigning) waited(now time.Time) time.Duration {
	d := session.AtLeast(b.alone, now)
	if d < 0 {
		b.alone, d = now, 0
	}
	return d
}

// wait posts Waited when the candidate of the last reign has certainly ceased to lead. It
// counts by the clock that has advanced less.
func (o *owner) wait(a machine.Wait) {
	lasts := a.Lasts
	if lasts == 0 { // there is no record, so the last leader may have had any time for fast failover
		lasts = beat.Lease(0, o.cfg.Session.Timeout())
	}
	left := reign.Wait(lasts) - o.beating.waited(time.Now())
	if left <= 0 {
		o.Post(machine.Waited{NodeGen: a.NodeGen, Version: a.Version})
		return
	}
	d := o.Driver
	o.beating.waiting = time.AfterFunc(left, func() {
		d.inbox.put(message{first: func(o *owner) bool {
			if a.NodeGen == o.watches.nodeGen {
				o.wait(a)
			}
			return false
		}})
	})
}

// The functions below run on the requests' goroutines.

// readRecord reads the record, and leaves a watch on it if somebody is ahead.
func (d *Driver) readRecord(a machine.ReadRecord) {
	r, err := d.cfg.Entry.Records().Read(!a.Alone)
	ev := machine.RecordRead{NodeGen: a.NodeGen, Version: r.Version, Reign: r.Reign, Left: r.Left, Lasts: r.Lasts, Alone: a.Alone,
		Fault: queue.Fault(err)}
	d.answer(err, ev, func(o *owner) {
		if a.NodeGen == o.watches.nodeGen && r.Watch != nil {
			o.watches.record = r.Watch
		}
	})
}

// begin writes this candidate's reign into the record. Without fast failover the transaction
// is also the first proof that the candidate's znode exists. With fast failover only beats
// are proofs: this transaction does not change the znode, so the next in line counts the
// silence from the beat before it.
func (d *Driver) begin(a machine.Begin, lasts time.Duration, lease *session.Expiry) {
	proves := d.cfg.Fast == nil
	sent := time.Now()
	err := d.cfg.Entry.Records().Begin(a.Name, reign.Record{Reign: a.Token, Lasts: lasts}, a.Version)
	if err == nil && proves {
		lease.Extend(sent, lasts)
	}
	changed := errors.Is(err, zk.ErrBadVersion)
	ev := machine.Begun{NodeGen: a.NodeGen, Version: a.Version, Changed: changed, Fault: queue.Fault(err)}
	if changed {
		err = nil
	}
	d.answer(err, ev, nil)
}
