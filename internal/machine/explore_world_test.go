package machine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	missed   string // what hand was when the connection last came back

	code []int // what encode gave; nil: to be made
}

// watch is what a driver holds of one. What it has to say waits in it.
type watch struct {
	name string // empty: none
	says mark
}

type mark int

const (
	quiet mark = iota
	gone
	stale
)

// answer is a result, with the watch that it leaves behind.
type answer struct {
	ev Event
	w  watch
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

// nobodyYet is where all begins: everybody wants to stand, nobody is connected.
func nobodyYet() *world {
	w := &world{}
	for i := range w.all {
		c := &contender{id: i, m: *New(Config{Strict: true})}
		w.all[i] = c
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
)

var deedNames = [...]string{"connects", "hears of its session", "is served", "gets an answer", "hears of its znode",
	"hears of the one ahead", "proves its lease", "has its work return", "tries again", "loses its lease", "is cut off",
	"loses its lease while connected", "loses its session", "has its znode deleted by hand", "is closed", "ticks"}

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
	add(serve, times(c.up && len(c.queue) > 0))
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
		a := c.queue[0]
		c.queue = c.queue[1:]
		c.inbox = append(c.inbox, w.serve(c, a))
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
		c.hand = w.nodes[i].name
		c.excused = c.excused || c.hand == c.termNode
		w.remove(c.hand)
	case closing:
		c.closed = true
		w.take(c, Close{})
	case tick:
		w.take(c, Tick{})
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
		if wt.name != "" && w.find(wt.name) < 0 {
			wt.fire(wt.name)
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
		case i < n:
			w.serve(c, a)
		case create && keeps:
			later = append(later, a)
			continue
		}
		c.inbox = append(c.inbox, answer{ev: unanswered(a)})
	}
	c.up, c.queue = false, later
	c.events = append(c.events, Offline{})
}

func unanswered(a Action) Event {
	switch a := a.(type) {
	case ReadOwn:
		return OwnRead{Epoch: a.Epoch, Link: a.Link, Fault: Lost}
	case List:
		return Listed{Epoch: a.Epoch, Fault: Lost}
	case WatchAhead:
		return AheadRead{Epoch: a.Epoch, Name: a.Name, Fault: Lost}
	case Check:
		return Checked{Epoch: a.Epoch, Link: a.Link, Fault: Lost}
	case Delete:
		return Deleted{Epoch: a.Epoch, Fault: Lost}
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

// awaits reports whether a watch stands on the znode.
func (c *contender) awaits(name string) bool {
	is := func(wt watch) bool { return wt.name == name && wt.says == quiet }
	return is(c.own) || is(c.ahead) || slices.ContainsFunc(c.inbox, func(a answer) bool { return is(a.w) })
}

// serve does what a request asks, in the connection's session.
func (w *world) serve(c *contender, a Action) answer {
	switch a := a.(type) {
	case Create:
		return answer{ev: Created{Name: w.create(c)}}
	case Recover:
		return answer{ev: Created{Name: w.recover(c)}}
	case ReadOwn:
		return w.readOwn(c, a)
	case List:
		return answer{ev: Listed{Epoch: a.Epoch, Children: w.names()}}
	case WatchAhead:
		if w.find(a.Name) < 0 {
			return answer{ev: AheadRead{Epoch: a.Epoch, Name: a.Name, Fault: NoNode}}
		}
		return answer{AheadRead{Epoch: a.Epoch, Name: a.Name}, watch{name: a.Name}}
	case Check:
		missing := slices.DeleteFunc(slices.Clone(a.Names), func(n string) bool { return w.find(n) >= 0 })
		return answer{ev: Checked{Epoch: a.Epoch, Link: a.Link, Gone: missing}}
	case Delete:
		fault := OK
		if w.find(a.Name) < 0 {
			fault = NoNode
		}
		w.remove(a.Name)
		return answer{ev: Deleted{Epoch: a.Epoch, Fault: fault}}
	}
	w.wrong("no request: %T", a)
	return answer{}
}

func (w *world) readOwn(c *contender, a ReadOwn) answer {
	if w.find(a.Name) < 0 {
		return answer{ev: OwnRead{Epoch: a.Epoch, Link: a.Link, Fault: NoNode}}
	}
	return answer{OwnRead{Epoch: a.Epoch, Link: a.Link, Token: int64(number(a.Name)), Owner: c.session, Session: c.session},
		watch{name: a.Name}}
}

func (w *world) create(c *contender) string {
	w.seq++
	name := fmt.Sprintf("c%d-%010d", c.id, w.seq)
	w.nodes = append(w.nodes, node{name, c.id})
	return name
}

// number is what the server appended. It serves as the znode's czxid, too: both only grow.
func number(name string) int {
	n, _ := strconv.Atoi(name[strings.IndexByte(name, '-')+1:])
	return n
}

func (w *world) recover(c *contender) (found string) {
	for _, n := range slices.Clone(w.nodes) {
		switch {
		case n.maker != c.id:
		case found == "":
			found = n.name
		default:
			w.remove(n.name)
		}
	}
	return found
}

func (w *world) names() []string {
	var all []string
	for _, n := range w.nodes {
		all = append(all, n.name)
	}
	return all
}

// deliver hands the machine a result, and takes up the watch that came with it, as the driver's owner does.
func (w *world) deliver(c *contender, i int) {
	a := c.inbox[i]
	c.inbox = slices.Delete(c.inbox, i, i+1)
	switch a.ev.(type) {
	case OwnRead:
		c.own = a.w
	case AheadRead:
		if a.w.name != "" {
			c.ahead = a.w
		}
	}
	w.take(c, a.ev)
}

func (w *world) ownSays(c *contender) {
	says := c.own.says
	c.own = watch{}
	if says == gone {
		w.take(c, OwnGone{Epoch: c.m.epoch})
		return
	}
	w.take(c, OwnStale{Epoch: c.m.epoch})
}

// aheadSays has the own watch's word come first where both have one, as the driver does.
func (w *world) aheadSays(c *contender) {
	wt, epoch := c.ahead, c.m.epoch
	c.ahead = watch{}
	if c.own.says != quiet {
		w.ownSays(c)
	}
	if wt.says == gone {
		w.take(c, AheadGone{Epoch: epoch, Name: wt.name})
		return
	}
	w.take(c, AheadStale{Epoch: epoch, Name: wt.name})
}

// take hands one event to the machine, and asks for the lease again behind it, as the driver does.
func (w *world) take(c *contender, ev Event) {
	w.apply(c, ev)
	if c.m.state == Elected && c.leased && c.m.owner == c.session {
		w.apply(c, LeaseGood{})
	}
}

func (w *world) apply(c *contender, ev Event) {
	defer func() {
		if r := recover(); r != nil {
			w.wrong("%v", r)
		}
	}()
	epoch := c.m.epoch
	leased := c.leased && c.m.owner == c.session && c.m.owner != 0
	for _, a := range c.m.Step(ev, leased) {
		w.perform(c, a, leased)
	}
	if c.m.epoch != epoch {
		c.own, c.ahead = watch{}, watch{}
	}
}

func (w *world) perform(c *contender, a Action, leased bool) {
	switch a := a.(type) {
	case Renew:
		c.keeps = a.On
	case BeginTerm:
		w.begin(c, a, leased)
	case EndTerm:
		if c.term == 0 {
			w.wrong("candidate %d ends a term that it does not have", c.id)
		}
		c.tail, c.term, c.termNode, c.believes, c.excused = c.term, 0, "", false, false
	case Backoff:
		c.paused = true
	case Report:
		w.wrong("%s", a.Text)
	case Moved:
	case Refuse:
		w.wrong("candidate %d is refused by nobody", c.id)
	default:
		c.queue = append(c.queue, a)
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
	case at < 0 && !c.excused:
		w.wrong("candidate %d begins a term on a znode that is gone", c.id)
	case at > 0:
		w.wrong("candidate %d begins a term behind somebody's back", c.id)
	}
	c.term, c.termNode, c.believes = a.Term, a.Node, true
}

// prune drops what can no longer do anything, so that states differ only where it matters: results of an older znode or
// connection, which the machine drops in its turn, and reads that would give such.
func (c *contender) prune() {
	c.inbox = slices.DeleteFunc(c.inbox, func(a answer) bool { return c.void(a.ev) })
	c.queue = slices.DeleteFunc(c.queue, func(a Action) bool {
		if _, writes := a.(Delete); writes {
			return false
		}
		return c.void(unanswered(a))
	})
}

func (c *contender) void(ev Event) bool {
	switch ev := ev.(type) {
	case OwnRead:
		return ev.Epoch != c.m.epoch
	case Listed:
		return ev.Epoch != c.m.epoch
	case AheadRead:
		return ev.Epoch != c.m.epoch
	case Checked:
		return ev.Epoch != c.m.epoch || ev.Link != c.m.link
	case Deleted:
		return ev.Epoch != c.m.epoch
	case LeaseOver:
		return ev.Term != c.m.term || c.m.state != Leading
	}
	return false
}

// check is what must hold in every state.
func (w *world) check() {
	leaders := 0
	for _, c := range w.all {
		if c.believes && !c.excused {
			leaders++
			if !c.alive {
				w.wrong("candidate %d believes in a term after its session has expired", c.id)
			}
		}
	}
	if leaders > 1 {
		w.wrong("two live terms")
	}
	for _, n := range w.nodes {
		m := &w.all[n.maker].m
		if m.node != n.name && !m.making && !m.unsure {
			w.wrong("candidate %d has forgotten its znode %s", n.maker, n.name)
		}
	}
}
