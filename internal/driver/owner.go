package driver

import (
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
)

// owner is what belongs to the owner goroutine. It outlives that: the next goroutine goes
// on with the same machine, so that what is late for the last one is recognised.
type owner struct {
	*Driver

	machine *machine.Machine
	watches watches
	early   early
	keeping *keeping // nil while the lease is not kept
	beating beating
	outside outside
	term    uint64 // number of the present term; 0 while there is none

	tick, retry, limit *time.Timer

	turn   turn      // to look for lost watches
	looked time.Time // when the latest turn came after a wait

	view     View     // to be shown
	requests []func() // to ZooKeeper, for when all events have been taken
}

// keeping is one time in which the lease is kept.
type keeping struct {
	release func()
	lost    bool // the znode that it is kept with is of no use for a proof
}

// early is the own znode as it was read right behind its create, before the machine has
// asked for that.
type early struct {
	nodeGen, connGen uint64     // of the create
	own              *queue.Own // nil: it was not read
}

// take returns what has been read already, if it answers a. It does not if the connection
// has been lost since the create: what was seen before proves nothing any more.
func (e *early) take(a machine.ReadOwn) *queue.Own {
	read := *e
	*e = early{}
	if read.nodeGen != a.NodeGen || read.connGen != a.ConnGen {
		return nil
	}
	return read.own
}

// watches are those on the candidate's znode and on the one ahead. A nil channel stands
// for no watch.
type watches struct {
	nodeGen   uint64 // of the znode that they belong to
	own       <-chan zk.Event
	ahead     <-chan zk.Event
	aheadName string
	record    <-chan zk.Event // on the record of the last reign, for strict hand-over
	lost      int             // how often the session has lost its watches, as far as the machine knows
}

func newOwner(d *Driver) *owner {
	cfg := d.cfg.Machine
	cfg.PathBytes = len(d.cfg.Entry.Path)
	o := &owner{Driver: d, machine: machine.New(cfg), view: d.View(nil)}
	o.beating.renew(&d.cfg)
	o.turn.come = func() { d.Do(func() { o.looked = time.Now() }, machine.Tick{}) }
	return o
}

func (o *owner) run() {
	unsubscribe := o.cfg.Session.Subscribe(o.onSession)
	o.tick = time.NewTimer(o.tickAfter())
	for o.next() {
		if o.rest(unsubscribe) {
			return
		}
	}

	o.stop()
	o.flush()
	unsubscribe()
	o.cfg.Host.Ended()
	o.birth.Lock()
	defer o.birth.Unlock()
	o.finish()
}

// next waits for something to happen and sees to it. It returns false when the candidate
// has left for good.
func (o *owner) next() bool {
	select {
	case <-o.inbox.wake:
	case ev := <-o.watches.own:
		o.ownEvent(ev)
	case ev := <-o.watches.ahead:
		o.aheadEvent(ev)
	case <-o.watches.record:
		o.recordEvent()
	case <-o.outside.watch:
		o.outside.watch = nil
		o.lookForRequest()
	case <-o.tick.C:
		o.onTick()
	case <-o.cfg.Session.Done():
		o.drain()
		o.step(machine.Close{}) // ends the term; the session takes the znode along
		o.abort()
		return false
	}
	o.drain()
	o.flush()
	return o.machine.View().State != machine.Closed
}

// rest ends an owner that has nothing to do: the candidate takes no part, all that it
// asked for has been answered, and no call is about to start it. It reports whether it
// did. The next owner hears of the session anew, and a health check has to pass again.
func (o *owner) rest(unsubscribe func()) bool {
	if o.machine.View().State != machine.Idle {
		return false
	}
	o.birth.Lock()
	defer o.birth.Unlock()
	if o.Life() != Running || o.starts.Load() > 0 || !o.inbox.shut() {
		return false
	}

	unsubscribe()
	o.stop()
	o.life.Store(int32(Resting))
	o.view.Connected = false
	o.outside = outside{} // the answers to what it asks are dropped
	o.step(machine.Offline{})
	if o.cfg.Machine.Unhealthy {
		o.step(machine.Health{})
	}
	o.flush()
	o.cfg.Host.Ended()
	return true
}

// abort completes the life of a candidate whose client is closed before it could leave by
// itself.
func (o *owner) abort() {
	if v := o.machine.View(); v.State != machine.Closed {
		o.moved(machine.Moved{From: v.State, To: machine.Closed})
		o.board.update(func(shown *View) {
			shown.Since, shown.Aborted = o.view.Since, v.Node != "" || v.Working
		})
	}
}

// stop ends what would outlive the owner.
func (o *owner) stop() {
	o.cfg.Entry.Disclaim()
	o.cfg.Budget.leave(&o.turn)
	for _, t := range []*time.Timer{o.tick, o.retry, o.limit} {
		if t != nil {
			t.Stop()
		}
	}
	o.keepLease(false, "")
	o.beating.stop()
	o.outside.stop()
}

// drain takes messages until there are none.
func (o *owner) drain() {
	for {
		all := o.inbox.take()
		if len(all) == 0 {
			return
		}
		for _, m := range all {
			o.take(m)
		}
	}
}

// take takes a message. What the own watch has to say comes first: see hearOwn.
func (o *owner) take(m message) {
	o.hearOwn()
	if m.first == nil || m.first(o) {
		o.step(m.event)
	}
	if m.done != nil {
		close(m.done)
	}
}

// flush sets going what events called for. The host's logs come first. The requests come
// last, since the scheduler runs first what was started last.
func (o *owner) flush() {
	o.cfg.Host.Flush()
	for _, f := range o.requests {
		o.cfg.Session.Go(f)
	}
	o.requests = nil
}

// ownEvent takes what the watch on the own znode says.
func (o *owner) ownEvent(ev zk.Event) {
	o.watches.own = nil
	if ev.Type == zk.EventNodeDeleted {
		o.step(machine.OwnGone{NodeGen: o.watches.nodeGen})
		return
	}
	o.step(machine.OwnStale{NodeGen: o.watches.nodeGen})
}

// hearOwn takes what the watch on the own znode has to say, if anything. It comes before
// whatever else is taken. The driver delivers events and answers in the server's order, but
// each watch has a channel of its own, and answers come by the inbox, so the order is
// lost. If the own znode was deleted, and then one ahead, the candidate must not learn only
// the second: it would take itself for the first in line.
func (o *owner) hearOwn() {
	select {
	case ev := <-o.watches.own:
		o.ownEvent(ev)
	default:
	}
}

// ownRead takes the answer to ReadOwn, with the watch that it left. If the watch has fired
// by now, its word comes first, too.
func (o *owner) ownRead(ev machine.OwnRead, version int32, watch <-chan zk.Event) {
	if ev.NodeGen == o.watches.nodeGen && watch != nil {
		o.beating.known(version)
		o.beating.tried = true
		o.watches.own = watch
		o.hearOwn()
		ev.Spent = o.watches.own == nil
	}
	o.step(ev)
}

// aheadEvent takes what the watch on the znode ahead says.
func (o *owner) aheadEvent(ev zk.Event) {
	name := o.watches.aheadName
	o.watches.ahead = nil
	o.hearOwn()

	if ev.Type == zk.EventNodeDeleted {
		o.step(machine.AheadGone{NodeGen: o.watches.nodeGen, Name: name})
		return
	}
	o.step(machine.AheadStale{NodeGen: o.watches.nodeGen, Name: name})
}

// recordEvent takes that somebody has written the record. If that was the one ahead when it
// left, what the watch on its znode says comes first: who knows that it is gone begins, and
// has no use for another look at the record, which would delay that.
func (o *owner) recordEvent() {
	o.watches.record = nil
	select {
	case ev := <-o.watches.ahead:
		o.aheadEvent(ev)
	default:
	}
	o.hearOwn()
	o.step(machine.RecordStale{NodeGen: o.watches.nodeGen})
}

// onTick looks after what may have been lost: the znode that the lease is kept with, at
// once, and a watch, as soon as the Budget has a turn.
func (o *owner) onTick() {
	o.tick.Reset(o.tickAfter())
	if o.keeping != nil && o.keeping.lost {
		o.keepLease(true, o.machine.View().Node)
	}
	if o.outside.watch == nil {
		o.lookForRequest()
	}

	requests, near := look(o.machine.View())
	switch soon := time.Since(o.looked) < o.cfg.Session.Timeout()/2; {
	case requests == 0:
		o.cfg.Budget.leave(&o.turn)
	case !soon && o.cfg.Budget.ask(&o.turn, requests, near):
		o.step(machine.Tick{})
	}
}

// look says how many requests machine.Tick leads to at most, and whether the candidate
// leads or is next.
func look(v machine.View) (requests int, near bool) {
	const own, nearest, first = 1, 1, 1
	switch {
	case v.State == machine.Elected, v.State == machine.Leading:
		return own, true
	case v.State != machine.Following:
		return 0, false
	case v.Place == 2:
		return own + nearest, true
	}
	return own + nearest + first, false
}

// tickAfter is between half a session timeout and a whole one: late enough to be cheap,
// early enough that a candidate whose watch was lost takes over within the bound of G6.
// The Budget may make it later. That does no harm: a server loses watches only when the
// connection is lost, and after a reconnect every candidate looks at once.
func (o *owner) tickAfter() time.Duration {
	t := o.cfg.Session.Timeout()
	return t/2 + o.spread(t/2)
}

// spread is a random part of d.
func (o *owner) spread(d time.Duration) time.Duration {
	return time.Duration(o.cfg.Jitter.Int64N(int64(d) + 1))
}

// step is the one place where the machine takes an event, and its actions are carried
// out.
//
// The lease is asked about twice. Before the event, the znode's owner may not be known
// yet (its reading is the event), so there is no lease to ask. And nobody here heard of a
// lease that a proof made good before this candidate kept it. In both cases the candidate
// would stay first in line and wait for the next tick.
func (o *owner) step(ev machine.Event) {
	o.apply(ev)
	if o.machine.View().State == machine.Elected && o.leased() {
		o.apply(machine.LeaseGood{})
	}
	o.show(nil)
}

func (o *owner) apply(ev machine.Event) {
	leased := o.leased()
	for _, a := range o.machine.Step(ev, leased) {
		o.perform(a)
	}
	if v := o.machine.View(); v.NodeGen != o.watches.nodeGen { // another znode: the old one's watches mean nothing
		o.watches.nodeGen, o.watches.own, o.watches.ahead, o.watches.record = v.NodeGen, nil, nil, nil
		o.beating.renew(&o.cfg)
		o.view.Ahead = queue.Member{}
		if v.Node == "" {
			o.cfg.Entry.Disclaim()
		}
	}
}

// leased reports whether the lease of the znode's session is good. To a candidate that
// closes none is: it begins no term.
func (o *owner) leased() bool {
	l := o.cfg.Session.Lease(o.machine.View().Owner)
	return l != nil && o.beating.belief(l).Live(time.Now()) && o.Life() < Closing
}

// show publishes the machine's state, together with note, which may be nil.
func (o *owner) show(note func()) {
	o.view.View, o.view.Life, o.view.short = o.machine.View(), o.Life(), o.beating.short
	o.board.update(func(v *View) {
		*v = o.view
		if note != nil {
			note()
		}
	})
}
