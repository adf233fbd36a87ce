package driver

import (
	"errors"
	"math"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// perform carries out what the machine asks for. It never blocks.
func (o *owner) perform(a machine.Action) {
	d := o.Driver // requests may use only the Driver, and not the owner
	switch a := a.(type) {
	case machine.Create:
		o.settle()
		o.ask(func() { d.create(a) })
	case machine.Recover:
		o.ask(func() { d.recover() })
	case machine.ReadOwn:
		if own := o.early.take(a); own != nil {
			o.ask(func() { d.ownRead(a, *own, nil) })
			return
		}
		tried := o.beating.tried
		o.ask(func() { d.readOwn(a, tried) })
	case machine.List:
		o.ask(func() { d.list(a) })
	case machine.WatchAhead:
		o.ask(func() { d.watchAhead(a) })
	case machine.Check:
		o.ask(func() { d.checkExist(a) })
	case machine.Delete:
		if !o.cfg.Host.SessionEnding() { // the end of the session deletes all znodes at once; thousands of deletes would delay it
			lasts := o.beating.lasts
			o.ask(func() { d.remove(a, lasts) })
		}
	case machine.Renew:
		o.keepLease(a.On, a.Node)
	case machine.Beat:
		o.keepBeat(a)
	case machine.ReadRecord:
		o.ask(func() { d.readRecord(a) })
	case machine.Begin:
		lasts, lease := o.beating.lastsFor(o.cfg.Session.Timeout()), o.beating.short
		o.ask(func() { d.begin(a, lasts, lease) })
	case machine.Wait:
		o.wait(a)
	case machine.Evict:
		own, ahead := o.machine.View().Node, o.view.Ahead
		o.ask(func() { d.evict(a, own, ahead) })
	case machine.BeginTerm:
		o.beginTerm(a)
	case machine.EndTerm:
		o.term = 0
		o.cfg.Host.EndTerm(a.Why)
	case machine.Backoff:
		o.backoff(a.Failures)
	case machine.Refuse:
		o.view.Refusals++
		_, o.view.Refusal = o.Problems()
	case machine.Moved:
		o.moved(a)
	case machine.Report:
		o.cfg.Host.Report(a.Text)
	}
}

// ask runs a request on a goroutine of its own.
func (o *owner) ask(request func()) { o.requests = append(o.requests, request) }

// keepLease makes the session renew its lease by proofs that check the znode, or stops it.
func (o *owner) keepLease(on bool, node string) {
	if o.keeping != nil {
		o.keeping.release()
		o.keeping = nil
	}
	if !on {
		o.problems.setLease(nil)
		return
	}
	o.keeping = new(keeping)
	o.keeping.release = o.cfg.Session.Renew(znode.Join(o.cfg.Entry.Path, node), leaseListener{o.Driver, o.keeping})
}

func (o *owner) beginTerm(a machine.BeginTerm) {
	lease := o.cfg.Session.Lease(a.Session)
	if lease == nil { // the session has just ended, so the term will end
		lease = new(session.Lease)
	}
	o.term = a.Term
	o.cfg.Host.BeginTerm(a, o.beating.belief(lease), o.show)
	if d := min(o.cfg.MaxTerm, longestTerm); d > 0 {
		o.limitTerm(a, d-d/10+o.spread(d/5))
	}
	o.outside.expectRequests(o.Driver, a.Term)
}

// longestTerm leaves room for the 10 % that the jitter may add to MaxTerm.
const longestTerm = time.Duration(math.MaxInt64 / 2)

// limitTerm makes the candidate resign after a time if somebody waits behind it. If no one
// waits, it checks again later.
func (o *owner) limitTerm(a machine.BeginTerm, after time.Duration) {
	d := o.Driver
	o.limit = time.AfterFunc(after, func() { d.cfg.Session.Go(func() { d.endOfTerm(a) }) })
}

func (o *owner) moved(a machine.Moved) {
	o.view.Since = time.Now()
	o.beating.noteAlone(a.To)
	o.cfg.Host.Moved(a.From, a.To)
}

// Bounds of the pause before the candidate repeats a failed request. G6's two seconds
// depend on the upper one.
const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Second
)

func (o *owner) backoff(failures int) {
	pause := min(minBackoff<<min(failures, 10), maxBackoff)
	pause = pause/2 + o.spread(pause/2)
	if _, err := o.Problems(); err != nil {
		o.cfg.Host.Retrying(err, pause, failures)
	}

	if o.retry != nil {
		o.retry.Stop()
	}
	d := o.Driver
	o.retry = time.AfterFunc(pause, func() { d.Post(machine.Retry{}) })
}

// The functions below run on the requests' goroutines.

func (d *Driver) create(a machine.Create) {
	name, listing, err := d.cfg.Entry.Create()
	own := d.cfg.Entry.Early()
	d.answer(err, machine.Created{Name: name, Fault: queue.Fault(err), Listing: listing != nil},
		func(o *owner) { o.early = early{a.NodeGen, a.ConnGen, own} })
	if listing != nil {
		children, err := listing()
		d.listed(a.NodeGen, children, err)
	}
}

func (d *Driver) recover() {
	name, err := d.cfg.Entry.Recover()
	d.answer(err, machine.Created{Name: name, Fault: queue.Fault(err)}, nil)
}

// readOwn reads the candidate's own znode. Unless tried is set, it first finds out whether
// the candidate has all write permissions that it needs. Start returns a refusal.
func (d *Driver) readOwn(a machine.ReadOwn, tried bool) {
	var own queue.Own
	var err error
	if !tried {
		err = d.cfg.Entry.TryWrites(a.Name)
	}
	if err == nil {
		own, err = d.cfg.Entry.ReadOwn(a.Name)
	}
	d.ownRead(a, own, err)
}

func (d *Driver) ownRead(a machine.ReadOwn, own queue.Own, err error) {
	fault := queue.Fault(err)
	if err == nil && own.Session == 0 {
		fault = machine.Failed // the answer came between two sessions
	}
	ev := machine.OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Token: own.Token, Owner: own.Owner,
		Session: own.Session, Fault: fault}
	d.inbox.put(message{first: func(o *owner) bool {
		d.note(err)
		o.ownRead(ev, own.Version, own.Watch)
		return false
	}})
}

func (d *Driver) list(a machine.List) {
	children, err := d.cfg.Entry.List()
	d.listed(a.NodeGen, children, err)
}

func (d *Driver) listed(nodeGen uint64, children []string, err error) {
	d.answer(err, machine.Listed{NodeGen: nodeGen, Children: children, Fault: queue.Fault(err)},
		func(o *owner) { warnOfNames(o, children) })
}

func (d *Driver) watchAhead(a machine.WatchAhead) {
	found, err := d.cfg.Entry.WatchAhead(a.Names)
	watched := found.Watch != nil
	silence := silenceOf{a.NodeGen, a.Names[len(a.Names)-1], found.Version, znode.Within(found.Nearest.Data), time.Now()}
	d.answer(err, machine.AheadRead{NodeGen: a.NodeGen, Names: a.Names, Gone: found.Gone, Watched: watched,
		Token: found.Nearest.Token, Beats: watched && silence.beats(), Fault: queue.Fault(err)}, func(o *owner) {
		if a.NodeGen == o.watches.nodeGen && watched {
			o.watches.ahead, o.watches.aheadName, o.view.Ahead = found.Watch, silence.name, found.Nearest
			o.watchSilence(silence)
		}
	})
}

func (d *Driver) checkExist(a machine.Check) {
	gone, err := d.cfg.Entry.Missing(a.Names)
	d.answer(err, machine.Checked{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Gone: gone, Fault: queue.Fault(err)}, nil)
}

func (d *Driver) remove(a machine.Delete, lasts time.Duration) {
	err := d.cfg.Entry.Leave(queue.Leaving{Name: a.Name, To: a.To, Mark: a.Mark, Version: a.Version,
		Reign: reign.Record{Reign: a.Token, Lasts: lasts}})
	ev := machine.Deleted{NodeGen: a.NodeGen, Fault: queue.Fault(err), Changed: errors.Is(err, zk.ErrBadVersion)}
	if ev.Changed {
		err = nil
	}
	d.answer(err, ev, nil)
}

// answer posts the outcome of a request to the owner. The owner runs note, if it is not
// nil, before the machine gets ev.
func (d *Driver) answer(err error, ev machine.Event, note func(*owner)) {
	d.inbox.put(message{event: ev, first: func(o *owner) bool {
		d.note(err)
		if note != nil {
			note(o)
		}
		return true
	}})
}

// note keeps the error of a request, so that Status and the log can report it.
func (d *Driver) note(err error) {
	if errors.Is(err, zk.ErrNoNode) { // no problem: somebody has left
		err = nil
	}
	d.problems.setRequest(err)
}

// endOfTerm ends a term that has lasted for MaxTerm, if somebody waits behind it.
func (d *Driver) endOfTerm(a machine.BeginTerm) {
	all, err := d.cfg.Entry.List()
	nobody := err != nil || len(all) == 0 || all[len(all)-1] == a.Node
	d.inbox.put(message{event: machine.Resign{}, first: func(o *owner) bool {
		switch {
		case o.term != a.Term:
			return false
		case nobody:
			o.limitTerm(a, d.cfg.MaxTerm/10+time.Millisecond)
			return false
		}
		return true
	}})
}
