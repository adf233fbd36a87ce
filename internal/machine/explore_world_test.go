package machine

import (
	"fmt"
	"slices"
)

// The world that explore_test.go walks through: three candidates, their drivers, and a server of one list. Unlike the
// random model's it is a value: a step copies what it changes, so that any number of futures can start from one state.
//
// The lease is modelled by its promise, not by a clock: while a candidate is leased, time alone cannot end its session.

const contenders = 3

// world is one state. Worlds share what they did not change.
type world struct {
	nodes []node // the candidates' znodes at the server, in the order of their making
	seq   int    // number of the latest
	all   [contenders]*contender
	mover int    // whose copy is this world's own
	bad   string // what went wrong on the way here
}

type node struct {
	name  string
	maker int // a znode's session is always its maker's present one: when a session ends, its znodes go

	version int // how often it has been written
}

// contender is one candidate with its driver.
type contender struct {
	id int
	m  Machine

	session int64 // as the driver has it; 0 before the first and once it is known to be over
	latest  int64 // highest number of a session so far
	alive   bool  // the server knows the session
	fiat    bool  // the session was ended under a good lease: not by time, hence beyond what a lease promises
	up      bool
	leased  bool
	keeps   bool // the lease is to be kept up
	paused  bool // a Backoff is under way
	closed  bool

	queue  []Action // requests on their way to the server, in order
	events []Event  // what the session said, in order
	inbox  []answer // results, which may come in any order
	own    watch
	ahead  watch

	term     uint64 // the one under way; 0: none
	termNode string
	believes bool   // its user sees it live
	excused  bool   // its znode or its session was taken away by hand
	tail     uint64 // a term whose work has still to return
	hand     string // own znode that was last deleted by hand
	behind   bool   // somebody was ahead of it
	missed   string // what hand was when the connection last came back

	fast beating

	code []int // what encode gave; nil: to be made
}

// watch is what a driver holds of one. What it has to say waits in it.
type watch struct {
	name string // empty: none
	says mark

	version int // of the znode, as read when the watch was set
}

type mark int

const (
	quiet mark = iota
	gone
	stale
)

// answer is a result, with the watch that it leaves behind.
type answer struct {
	ev    Event
	w     watch
	after bool // the own watch had fired by then: in the connection's one stream its word comes first

	behind Event // the result that follows it; nil: none does
}

// looks is a WatchAhead or a Check whose names have been looked at in part: each is a request of its own.
type looks struct {
	Action
	left []string
	gone []string
	w    watch // on the last of a WatchAhead's names, if that is there
}

// clone copies a machine so that the two share nothing that either changes.
func (m Machine) clone() Machine {
	m.ahead, m.out = slices.Clone(m.ahead), nil
	return m
}

func (c *contender) clone() *contender {
	d := *c
	d.code = nil
	d.m = c.m.clone()
	d.queue, d.events, d.inbox = slices.Clone(c.queue), slices.Clone(c.events), slices.Clone(c.inbox)
	return &d
}

// cloneFor copies w with one contender to be changed. The others are shared until a deletion fires their watches.
func (w *world) cloneFor(who int) *world {
	v := *w
	v.nodes = slices.Clone(w.nodes)
	v.all[who] = w.all[who].clone()
	v.mover = who
	return &v
}

// nobodyYet is where all begins: everybody wants to stand, nobody is connected. Each keeps so many names ahead.
func nobodyYet(keep int) *world {
	w := &world{}
	for i := range w.all {
		c := &contender{id: i, m: *New(Config{Strict: true})}
		c.m.KeepAhead(keep)
		w.all[i] = c
	}
	for _, c := range w.all {
		w.take(c, Start{})
	}
	return w
}

func (w *world) wrong(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}

// deed is one thing that can happen. Those from cut on are faults, or what somebody wills.
type deed int

const (
	connect deed = iota
	hear         // what the session said reaches the machine
	serve        // the server takes the oldest request
	deliver      // a result reaches the machine
	ownWatch
	aheadWatch
	prove
	work // of a term that is over returns
	retry
	lapse // the lease runs out, for want of a connection
	cut   // and some of the replies under way are lost
	stall // the lease runs out on a connection that stands
	expire
	deletion
	closing
	tick

	// Of those with fast failover: see explore_fast_test.go.
	beatOnce
	starve // the short lease runs out
	silence
	loseBeat // it is committed, and the connection breaks before the answer
)

var deedNames = [...]string{"connects", "hears of its session", "is served", "gets an answer", "hears of its znode",
	"hears of the one ahead", "proves its lease", "has its work return", "tries again", "loses its lease", "is cut off",
	"loses its lease while connected", "loses its session", "has its znode deleted by hand", "is closed", "ticks", "beats", "loses its short lease",
	"finds the one ahead silent", "beats and is cut off"}

// move is a deed of one contender, or to it. arg picks among several of a kind.
type move struct {
	who  int
	what deed
	arg  int
}

func (mv move) String() string { return fmt.Sprintf("%d %s (%d)", mv.who, deedNames[mv.what], mv.arg) }

// moves lists what can happen in this state: by itself, and as a fault or by somebody's will. Those of one contender
// are together.
func (w *world) moves() (progress, faults []move) {
	for i, c := range w.all {
		add := func(list *[]move) func(deed, int) {
			return func(what deed, n int) {
				for arg := range n {
					*list = append(*list, move{i, what, arg})
				}
			}
		}
		c.progress(add(&progress))
		c.faults(w, add(&faults))
		w.fastMoves(c, add(&progress), add(&faults))
	}
	return progress, faults
}

func times(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *contender) progress(add func(deed, int)) {
	add(connect, times(!c.up && c.m.state != Closed))
	add(hear, times(len(c.events) > 0))
	add(serve, times(c.up)*c.servable())
	add(deliver, len(c.inbox))
	add(ownWatch, times(c.own.says != quiet))
	add(aheadWatch, times(c.ahead.says != quiet))
	add(prove, times(c.up && c.keeps && !c.leased))
	add(work, times(c.tail != 0))
	add(retry, times(c.paused))
	add(lapse, times(c.leased && !c.up))
}

func (c *contender) faults(w *world, add func(deed, int)) {
	add(cut, times(c.up)*2*(len(c.queue)+1))
	add(stall, times(c.leased && c.up))
	add(expire, times(c.alive))
	add(deletion, times(slices.ContainsFunc(w.nodes, func(n node) bool { return n.maker == c.id })))
	add(closing, times(!c.closed))
	add(tick, times(c.m.state == Following || c.m.state == Elected || c.m.state == Leading))
}

// after is the world in which the move was made.
func (w *world) after(mv move) *world {
	v := w.cloneFor(mv.who)
	v.do(v.all[mv.who], mv)
	v.all[mv.who].prune()
	v.check()
	return v
}

func (w *world) do(c *contender, mv move) {
	switch mv.what {
	case connect:
		w.connect(c)
	case hear:
		ev := c.events[0]
		c.events = c.events[1:]
		w.take(c, ev)
	case serve:
		i, name := c.served(mv.arg)
		if a, done := w.serveOne(c, c.queue[i], name); done {
			a.after = c.own.says != quiet
			c.queue = slices.Delete(c.queue, i, i+1)
			c.inbox = append(c.inbox, a)
		} else {
			c.queue[i] = a.ev.(partly).looks
		}
	case deliver:
		w.deliver(c, mv.arg)
	case ownWatch:
		w.ownSays(c)
	case aheadWatch:
		w.aheadSays(c)
	case prove:
		c.leased = true
		w.take(c, LeaseGood{})
	case work:
		n := c.tail
		c.tail = 0
		w.take(c, Stopped{Term: n})
	case retry:
		c.paused = false
		w.take(c, Retry{})
	default:
		w.strike(c, mv)
	}
}

func (w *world) strike(c *contender, mv move) {
	switch mv.what {
	case lapse, stall:
		c.lapse()
	case cut:
		w.cut(c, mv.arg/2, mv.arg%2 == 1)
	case expire:
		w.expire(c)
	case deletion:
		i := slices.IndexFunc(w.nodes, func(n node) bool { return n.maker == c.id })
		c.hand, c.behind = w.nodes[i].name, i > 0
		c.excused = c.excused || c.hand == c.termNode
		w.remove(c.hand)
	case closing:
		c.closed = true
		w.take(c, Close{})
	case tick:
		w.take(c, Tick{})
	default:
		w.fastMove(c, mv.what)
	}
}

// connect brings the connection back, and with it the word that the session is over, if it is.
func (w *world) connect(c *contender) {
	if c.session != 0 && !c.alive {
		c.session, c.fiat = 0, false
		c.lapse()
		c.events = append(c.events, Expired{})
		for _, wt := range []*watch{&c.own, &c.ahead} { // the driver tells every watch that it watches no more
			if wt.name != "" && wt.says == quiet {
				wt.says = stale
			}
		}
		return
	}
	if c.session == 0 {
		c.latest++
		c.session, c.alive = c.latest, true
	}
	c.up, c.missed = true, c.hand
	c.events = append(c.events, Online{Session: c.session})
	c.watches(func(wt *watch) { // the driver sets them anew, and the server tells what they missed
		if wt.name == "" {
			return
		}
		switch i := w.find(wt.name); {
		case i < 0:
			wt.fire(wt.name)
		case w.nodes[i].maker != c.id && w.nodes[i].version != wt.version && wt.says == quiet:
			wt.says = stale
		}
	})
}

// watches visits those that stand, or will once their result is delivered.
func (c *contender) watches(visit func(*watch)) {
	visit(&c.own)
	visit(&c.ahead)
	for i := range c.inbox {
		visit(&c.inbox[i].w)
	}
	for i, a := range c.queue {
		if l, ok := a.(looks); ok {
			visit(&l.w)
			c.queue[i] = l
		}
	}
}

func (wt *watch) fire(name string) {
	if wt.name == name && wt.says == quiet {
		wt.says = gone
	}
}

// cut breaks the connection after the server has taken the first n requests; their replies are lost. Of the others,
// creates go out when the connection is back, if the driver keeps them.
func (w *world) cut(c *contender, n int, keeps bool) {
	var later []Action
	for i, a := range c.queue {
		_, create := a.(Create)
		switch {
		case i < n && len(namesOf(a)) == 0:
			w.serve(c, a)
		case create && keeps:
			later = append(later, a)
			continue
		}
		c.inbox = append(c.inbox, answer{ev: unanswered(a), w: left(a), after: c.own.says != quiet})
	}
	c.up, c.queue = false, later
	c.events = append(c.events, Offline{})
}

func unanswered(a Action) Event {
	switch a := a.(type) {
	case ReadOwn:
		return OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: Lost}
	case List:
		return Listed{NodeGen: a.NodeGen, Fault: Lost}
	case looks:
		ev := unanswered(a.Action)
		if ahead, ok := ev.(AheadRead); ok { // what was answered counts
			ahead.Gone, ahead.Watched = a.gone, a.w.name != ""
			return ahead
		}
		return ev
	case WatchAhead:
		return AheadRead{NodeGen: a.NodeGen, Names: a.Names, Fault: Lost}
	case Check:
		return Checked{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: Lost}
	case Delete:
		return Deleted{NodeGen: a.NodeGen, Fault: Lost}
	case Evict:
		return Evicted{NodeGen: a.NodeGen, Name: a.Name, Fault: Failed}
	}
	return Created{Fault: Lost}
}

// expire ends the session at the server. Under a good lease this is a fiat: an operator's, or a leader's that closes it.
func (w *world) expire(c *contender) {
	c.alive, c.fiat = false, c.leased
	c.excused = c.excused || c.fiat
	if c.up {
		w.cut(c, 0, false)
	}
	for _, n := range slices.Clone(w.nodes) {
		if n.maker == c.id {
			w.remove(n.name)
		}
	}
}

// lapse ends the lease, and the belief at once; the machine hears of it later.
func (c *contender) lapse() {
	c.leased = false
	c.disbelieve()
}

func (c *contender) disbelieve() {
	if c.believes {
		c.believes = false
		c.inbox = append(c.inbox, answer{ev: LeaseOver{Term: c.term}})
	}
}

func (w *world) find(name string) int {
	return slices.IndexFunc(w.nodes, func(n node) bool { return n.name == name })
}

func (w *world) remove(name string) {
	i := w.find(name)
	if i < 0 {
		return
	}
	w.nodes = slices.Delete(w.nodes, i, i+1)
	for i, c := range w.all {
		if c.up && c.awaits(name) {
			if i != w.mover {
				c = c.clone()
				w.all[i] = c
			}
			c.watches(func(wt *watch) { wt.fire(name) })
		}
	}
}

// begin holds a term against what the server knows.
func (w *world) begin(c *contender, a BeginTerm, leased bool) {
	at := w.find(a.Node)
	c.excused = at < 0 && (c.hand == a.Node || c.fiat) // the word of it is on its way
	switch {
	case c.term != 0 || c.tail != 0:
		w.wrong("candidate %d begins a term before the last one's work has returned", c.id)
	case !leased:
		w.wrong("candidate %d begins a term without a lease", c.id)
	case !c.m.verified:
		w.wrong("candidate %d begins a term on a znode that it has not seen since the last disconnect", c.id)
	case a.Session != c.session || a.Token != int64(number(a.Node)):
		w.wrong("candidate %d begins a term with another znode's token or session: %+v", c.id, a)
	case c.missed == a.Node && c.up && len(c.events) == 0:
		w.wrong("candidate %d begins a term on a znode that was deleted before it reconnected, and has not looked", c.id)
	case at < 0 && c.hand == a.Node && c.behind:
		w.wrong("candidate %d begins a term on a znode that was deleted by hand when somebody was ahead of it", c.id)
	case at < 0 && !c.excused:
		w.wrong("candidate %d begins a term on a znode that is gone", c.id)
	case at > 0:
		w.wrong("candidate %d begins a term behind somebody's back", c.id)
	}
	c.term, c.termNode, c.believes = a.Term, a.Node, true
}
