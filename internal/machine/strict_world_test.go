package machine

import (
	"fmt"
	"slices"
	"time"
)

// The world that strict_test.go walks through: candidates with strict hand-over, and a server of one line and one
// record. Nothing in it says when or why ZooKeeper ends a session or deletes a znode: any can go at any moment, and its
// candidate may hear of it as late as can be. The session's lease is taken to be good all the time. So all that keeps
// two from leading is the record, the waits, and the proofs that check the own znode.
//
// Time is abstract. Of a wait is known only that it outlasts each belief whose last proof was sent before the wait began
// to count. So when one ends, those beliefs end at the latest. In the same way, a silence outlasts the beliefs that rest on
// beats from before the reading that it counts from.

const rulers = 4

type strictWorld struct {
	now     int // counts the moves
	path    bool
	line    []strictNode
	made    int // znodes so far
	seq     int // number of the next at this path
	version int32
	reign   int64
	left    bool
	all     [rulers]*ruler
	bad     string
}

type strictNode struct {
	name    string
	token   int64
	maker   int
	session int64
	version int32 // raised by each beat
}

// ruler is one candidate with its driver.
type ruler struct {
	id      int
	m       Machine
	session int64
	up      bool
	ended   bool // the server has ended the session, and the candidate does not know
	dead    bool // it hangs for ever: its belief lasts for as long as it can
	paused  bool

	out []sending // requests on their way to the server, in any order
	in  []word    // what has come back, in any order, but for the own watch

	own, ahead string // the znodes that are watched
	record     int32  // the version of the record that is watched; -1: none is

	seenAt int   // when the one ahead was read last
	seen   int32 // and its version

	beats  bool
	node   string // that the beats check
	over   int    // proofs sent before this moment are good for nothing any more
	proved int    // when the proof was sent that the belief rests on; 0: none is good
	alone  int    // since when nobody is ahead; 0: somebody is
	wait   *Wait

	term uint64
	live bool // a term has begun and has not been over since
	tail uint64
}

type sending struct {
	a    Action
	sent int
}

type word struct {
	ev   Event
	at   int // when the server said so
	sent int // of a proof: when that was sent
}

// proof is a beat's request: a check of the own znode.
type proof struct{ node string }

func (proof) action() {}

// proven is what comes of it.
type proven struct {
	gone bool
	lost bool
	node string
}

func (proven) apply(*Machine) { panic("not for the machine") }

func newStrictWorld(fast bool) *strictWorld {
	w := &strictWorld{}
	for i := range w.all {
		w.all[i] = &ruler{id: i, m: *New(Config{Strict: true, StrictHandover: true, Fast: fast}), record: -1}
	}
	return w
}

func (w *strictWorld) wrong(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}

func (w *strictWorld) find(name string) int {
	return slices.IndexFunc(w.line, func(n strictNode) bool { return n.name == name })
}

func (w *strictWorld) names() (all []string) {
	for _, n := range w.line {
		all = append(all, n.name)
	}
	return all
}

// check is what must hold at every moment.
func (w *strictWorld) check() {
	var leading []int
	for _, c := range w.all {
		if c.live && c.proved > 0 {
			leading = append(leading, c.id)
		}
	}
	if len(leading) > 1 {
		w.wrong("%v lead", leading)
	}
}

// take hands an event to the machine, as the driver's owner does.
func (w *strictWorld) take(c *ruler, ev Event) {
	w.apply(c, ev)
	if c.m.state == Elected && c.proved > 0 {
		w.apply(c, LeaseGood{})
	}
}

func (w *strictWorld) apply(c *ruler, ev Event) {
	nodeGen := c.m.nodeGen
	for _, a := range c.m.Step(ev, c.proved > 0) {
		w.perform(c, a)
	}
	if c.m.nodeGen != nodeGen {
		c.own, c.ahead, c.record, c.proved, c.alone, c.wait = "", "", -1, 0, 0, nil
	}
}

func (w *strictWorld) perform(c *ruler, a Action) {
	switch a := a.(type) {
	case Renew:
	case Beat:
		c.beats, c.node = a.On, a.Node
	case Wait:
		c.wait = &a
	case Backoff:
		c.paused = true
	case Moved:
		if a.To == Elected && c.alone == 0 {
			c.alone = w.now
		}
	case BeginTerm:
		if c.proved == 0 || c.live || c.tail != 0 {
			w.wrong("candidate %d begins a term that it must not", c.id)
		}
		c.term, c.live = a.Term, true
	case EndTerm:
		c.tail, c.live = c.term, false
	case Report, Refuse:
		w.wrong("candidate %d: %+v", c.id, a)
	default:
		c.out = append(c.out, sending{a, w.now})
	}
}

// lapse ends what rests on the last proof. The machine hears of it later.
func (w *strictWorld) lapse(c *ruler) {
	c.proved = 0
	if c.live {
		c.live = false
		w.say(c, LeaseOver{Term: c.term})
	}
}

func (w *strictWorld) say(c *ruler, ev Event) { c.in = append(c.in, word{ev: ev, at: w.now}) }

// prove takes a proof that was sent at this moment and answered well.
func (w *strictWorld) prove(c *ruler, sent int) {
	if sent >= c.over && sent > c.proved {
		c.proved = sent
	}
}

// remove takes a znode away, whoever asked for that.
func (w *strictWorld) remove(name string) {
	i := w.find(name)
	if i < 0 {
		return
	}
	w.line = slices.Delete(w.line, i, i+1)
	for _, c := range w.all {
		w.notify(c)
	}
}

// notify has watches fire whose time has come. Those of a candidate without a connection wait until it is back.
func (w *strictWorld) notify(c *ruler) {
	if !c.up {
		return
	}
	if c.own != "" && w.find(c.own) < 0 {
		w.say(c, OwnGone{c.m.nodeGen})
		c.own = ""
	}
	if c.ahead != "" && w.find(c.ahead) < 0 {
		w.say(c, AheadGone{c.m.nodeGen, c.ahead})
		c.ahead = ""
	}
	if c.record >= 0 && (c.record != w.version || !w.path) {
		w.say(c, RecordStale{c.m.nodeGen})
		c.record = -1
	}
}

// write writes the record.
func (w *strictWorld) write(reign int64, left bool) {
	w.version, w.reign, w.left = w.version+1, reign, left
	for _, c := range w.all {
		w.notify(c)
	}
}

func (w *strictWorld) end(session int64) {
	for _, n := range slices.Clone(w.line) {
		if n.session == session {
			w.remove(n.name)
		}
	}
}

// serve has the server take a request. What it answers is nil if there is no path.
func (w *strictWorld) serve(c *ruler, s sending) Event {
	switch a := s.a.(type) {
	case Create:
		return w.create(c, a)
	case Recover:
		return w.recover(c)
	case ReadOwn:
		if i := w.find(a.Name); i >= 0 {
			c.own = a.Name
			return OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Token: w.line[i].token, Owner: w.line[i].session, Session: c.session}
		}
		return OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: NoNode}
	case List:
		return Listed{NodeGen: a.NodeGen, Children: w.names()}
	case WatchAhead:
		return w.watchAhead(c, a)
	case Check:
		return Checked{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Gone: w.missing(a.Names)}
	case proof:
		return w.beat(c, a)
	case Evict:
		return w.evict(a)
	}
	return w.serveRecord(c, s.a)
}

// beat has a proof seen by whoever watches the znode, if it is a beat.
func (w *strictWorld) beat(c *ruler, a proof) Event {
	i := w.find(a.node)
	if i < 0 {
		return proven{gone: true, node: a.node}
	}
	if c.m.cfg.Fast {
		w.line[i].version++
		for _, o := range w.all {
			if o.up && o.ahead == a.node {
				w.say(o, AheadStale{o.m.nodeGen, o.ahead})
				o.ahead = ""
			}
		}
	}
	return proven{node: a.node}
}

// evict takes the one ahead out of the line, and says in the record that its reign is over.
func (w *strictWorld) evict(a Evict) Event {
	switch i := w.find(a.Name); {
	case i < 0:
		return Evicted{NodeGen: a.NodeGen, Name: a.Name}
	case w.line[i].version != a.Version:
		return Evicted{NodeGen: a.NodeGen, Name: a.Name, Fault: Failed}
	case w.line[i].token == w.reign && !w.left:
		w.write(w.reign, true)
	}
	w.remove(a.Name)
	return Evicted{NodeGen: a.NodeGen, Name: a.Name}
}

// outlast ends what a candidate's belief has from proofs that were sent before this moment.
func (w *strictWorld) outlast(c *ruler, moment int) {
	c.over = max(c.over, moment)
	if c.proved > 0 && c.proved < moment {
		w.lapse(c)
	}
}

func (w *strictWorld) missing(names []string) (gone []string) {
	for _, n := range names {
		if w.find(n) < 0 {
			gone = append(gone, n)
		}
	}
	return gone
}

func (w *strictWorld) create(c *ruler, a Create) Event {
	if c.ended || a.Session != c.session {
		return Created{Fault: Failed}
	}
	if !w.path {
		w.path, w.seq, w.version, w.reign, w.left = true, 0, 0, 0, false
	}
	w.made++
	n := strictNode{fmt.Sprintf("c%d.%d-%010d", c.id, w.made, w.seq), int64(100 + w.made), c.id, c.session, 0}
	w.seq++
	w.line = append(w.line, n)
	return Created{Name: n.name}
}

func (w *strictWorld) recover(c *ruler) Event {
	var found string
	for _, n := range slices.Clone(w.line) {
		switch {
		case n.maker != c.id:
		case found == "" && n.session == c.session:
			found = n.name
		default:
			w.remove(n.name)
		}
	}
	return Created{Name: found}
}

func (w *strictWorld) watchAhead(c *ruler, a WatchAhead) Event {
	ev := AheadRead{NodeGen: a.NodeGen, Names: a.Names, Gone: w.missing(a.Names)}
	if i := w.find(a.Names[len(a.Names)-1]); i >= 0 {
		ev.Watched, ev.Token, c.ahead = true, w.line[i].token, w.line[i].name
		c.seenAt, c.seen = w.now, w.line[i].version
		ev.Beats = c.seen > 0
	}
	return ev
}

const strictLasts = time.Second

func (w *strictWorld) serveRecord(c *ruler, a Action) Event {
	switch a := a.(type) {
	case ReadRecord:
		if !w.path {
			return RecordRead{NodeGen: a.NodeGen, Alone: a.Alone, Fault: NoNode}
		}
		if !a.Alone {
			c.record = w.version
		}
		ev := RecordRead{NodeGen: a.NodeGen, Version: w.version, Reign: w.reign, Left: w.left, Alone: a.Alone}
		if w.reign != 0 {
			ev.Lasts = strictLasts
		}
		return ev
	case Begin:
		ev := Begun{NodeGen: a.NodeGen, Version: a.Version}
		switch {
		case w.find(a.Name) < 0:
			ev.Fault = NoNode
		case a.Version != w.version:
			ev.Fault, ev.Changed = Failed, true
		default:
			w.write(a.Token, false)
		}
		return ev
	case Delete:
		ev := Deleted{NodeGen: a.NodeGen}
		switch {
		case a.Mark && w.path && a.Version != w.version:
			ev.Fault, ev.Changed = Failed, true
			return ev
		case w.find(a.Name) < 0:
			ev.Fault = NoNode
			return ev
		case a.Mark:
			w.write(a.Token, true)
		}
		w.remove(a.Name)
		return ev
	}
	w.wrong("no request: %T", a)
	return nil
}

// lost is the answer to a request whose answer is lost.
func lost(a Action) Event {
	switch a := a.(type) {
	case ReadRecord:
		return RecordRead{NodeGen: a.NodeGen, Alone: a.Alone, Fault: Lost}
	case Begin:
		return Begun{NodeGen: a.NodeGen, Version: a.Version, Fault: Lost}
	case proof:
		return proven{lost: true, node: a.node}
	case Evict:
		return Evicted{NodeGen: a.NodeGen, Name: a.Name, Fault: Failed}
	}
	return unanswered(a)
}

// deliver hands the machine something that has come back. If the own watch has fired before that was sent, its word comes
// first.
func (w *strictWorld) deliver(c *ruler, i int) {
	it := c.in[i]
	first := slices.IndexFunc(c.in, func(o word) bool {
		gone, ok := o.ev.(OwnGone)
		return ok && gone.NodeGen == c.m.nodeGen && o.at < it.at
	})
	c.in = slices.Delete(c.in, i, i+1)
	if first >= 0 {
		if first > i {
			first--
		}
		own := c.in[first]
		c.in = slices.Delete(c.in, first, first+1)
		w.take(c, own.ev)
	}
	switch ev := it.ev.(type) {
	case proven:
		w.proven(c, ev, it.sent)
	case Begun:
		if ev.NodeGen == c.m.nodeGen && ev.Fault == OK && !c.m.cfg.Fast {
			w.prove(c, it.sent)
		}
		w.take(c, ev)
	default:
		w.take(c, ev)
	}
}

func (w *strictWorld) proven(c *ruler, ev proven, sent int) {
	if ev.node != c.m.node || ev.lost {
		return
	}
	if ev.gone {
		w.take(c, OwnGone{c.m.nodeGen})
		return
	}
	if c.proved == 0 {
		if w.prove(c, sent); c.proved > 0 {
			w.take(c, LeaseGood{})
		}
		return
	}
	w.prove(c, sent)
}
