package machine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// awaits reports whether a watch stands on the znode.
func (c *contender) awaits(name string) bool {
	is := func(wt watch) bool { return wt.name == name && wt.says == quiet }
	return is(c.own) || is(c.ahead) || slices.ContainsFunc(c.inbox, func(a answer) bool { return is(a.w) }) ||
		slices.ContainsFunc(c.queue, func(a Action) bool { return is(left(a)) })
}

// servable is how many requests the server may take next. They are sent from goroutines of their own, so in any order, and
// a WatchAhead or a Check is one for each of its names.
func (c *contender) servable() (n int) {
	for _, a := range c.queue {
		n += max(1, len(namesOf(a)))
	}
	return n
}

// served is the one of them that arg stands for: its place in the queue, and which of its names.
func (c *contender) served(arg int) (i int, name string) {
	for i, a := range c.queue {
		names := namesOf(a)
		switch n := max(1, len(names)); {
		case arg >= n:
			arg -= n
		case len(names) > 0:
			return i, names[arg]
		default:
			return i, ""
		}
	}
	panic("no such request")
}

// namesOf are the names that are still to be looked at.
func namesOf(a Action) []string {
	switch a := a.(type) {
	case looks:
		return a.left
	case WatchAhead:
		return a.Names
	case Check:
		return a.Names
	}
	return nil
}

// left is the watch that a request has left so far.
func left(a Action) watch {
	if l, ok := a.(looks); ok {
		return l.w
	}
	return watch{}
}

// partly is what has come of a request of which names are left.
type partly struct{ looks }

func (partly) apply(*Machine) { panic("not an answer yet") }

// serveOne has the server take a request, or look at one of its names. done is false while names are left.
func (w *world) serveOne(c *contender, a Action, name string) (an answer, done bool) {
	if name == "" {
		return w.serve(c, a), true
	}
	l, ok := a.(looks)
	if !ok {
		l = looks{Action: a, left: namesOf(a)}
	}
	l.left = slices.DeleteFunc(slices.Clone(l.left), func(n string) bool { return n == name })
	ahead, watches := l.Action.(WatchAhead)
	switch {
	case w.find(name) < 0:
		l.gone = append(slices.Clone(l.gone), name)
	case watches && name == ahead.Names[len(ahead.Names)-1]:
		l.w = watch{name: name, version: w.nodes[w.find(name)].version}
	}
	switch {
	case len(l.left) > 0:
		return answer{ev: partly{l}}, false
	case watches:
		return answer{ev: AheadRead{NodeGen: ahead.NodeGen, Names: ahead.Names, Gone: l.gone, Watched: l.w.name != "", Beats: w.beats(l.w)},
			w: l.w}, true
	}
	check := l.Action.(Check)
	return answer{ev: Checked{NodeGen: check.NodeGen, ConnGen: check.ConnGen, Gone: l.gone}}, true
}

// serve does what a request asks, in the connection's session.
func (w *world) serve(c *contender, a Action) answer {
	switch a := a.(type) {
	case Create:
		if c.id == 1 { // the others stand for those whose listing does not go out with the create
			return answer{ev: Created{Name: w.create(c), Listing: true}, behind: Listed{NodeGen: a.NodeGen, Children: w.names()}}
		}
		return answer{ev: Created{Name: w.create(c)}}
	case Recover:
		return answer{ev: Created{Name: w.recover(c)}}
	case ReadOwn:
		return w.readOwn(c, a)
	case List:
		return answer{ev: Listed{NodeGen: a.NodeGen, Children: w.names()}}
	case Delete:
		fault := OK
		if w.find(a.Name) < 0 {
			fault = NoNode
		}
		w.remove(a.Name)
		return answer{ev: Deleted{NodeGen: a.NodeGen, Fault: fault}}
	case Evict:
		return answer{ev: w.evict(c, a)}
	}
	w.wrong("no request: %T", a)
	return answer{}
}

func (w *world) readOwn(c *contender, a ReadOwn) answer {
	if w.find(a.Name) < 0 {
		return answer{ev: OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Fault: NoNode}}
	}
	return answer{ev: OwnRead{NodeGen: a.NodeGen, ConnGen: a.ConnGen, Token: int64(number(a.Name)), Owner: c.session, Session: c.session},
		w: watch{name: a.Name}}
}

func (w *world) create(c *contender) string {
	w.seq++
	name := fmt.Sprintf("c%d-%010d", c.id, w.seq)
	w.nodes = append(w.nodes, node{name: name, maker: c.id})
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

// deliver hands the machine a result, and takes up the watch that came with it, as the driver's owner does. The word of
// the own watch comes first, also that of a watch which the result brings along.
func (w *world) deliver(c *contender, i int) {
	a := c.inbox[i]
	c.inbox = slices.Delete(c.inbox, i, i+1)
	if a.after && c.own.says != quiet {
		w.ownSays(c)
	}
	if c.void(a.ev) {
		return
	}
	switch ev := a.ev.(type) {
	case OwnRead:
		if a.w.name != "" {
			c.own = a.w
			c.fast.known = true
		}
		if a.w.says != quiet {
			w.ownSays(c)
			ev.Spent = true
			a.ev = ev
		}
	case AheadRead:
		if a.w.name != "" {
			c.ahead = a.w
			c.fast.hear(a.w, ev.Beats)
		}
	}
	w.take(c, a.ev)
	if a.behind != nil {
		c.inbox = append(c.inbox, answer{ev: a.behind})
	}
}

func (w *world) ownSays(c *contender) {
	says := c.own.says
	c.own = watch{}
	if says == gone {
		w.take(c, OwnGone{NodeGen: c.m.nodeGen})
		return
	}
	w.take(c, OwnStale{NodeGen: c.m.nodeGen})
}

// aheadSays has the own watch's word come first where both have one, as the driver does.
func (w *world) aheadSays(c *contender) {
	wt, nodeGen := c.ahead, c.m.nodeGen
	c.ahead = watch{}
	if c.own.says != quiet {
		w.ownSays(c)
	}
	if wt.says == gone {
		w.take(c, AheadGone{NodeGen: nodeGen, Name: wt.name})
		return
	}
	w.take(c, AheadStale{NodeGen: nodeGen, Name: wt.name})
}

// take hands one event to the machine, and asks for the lease again behind it, as the driver does.
func (w *world) take(c *contender, ev Event) {
	w.apply(c, ev)
	if c.m.state == Elected && c.good() {
		w.apply(c, LeaseGood{})
	}
}

func (w *world) apply(c *contender, ev Event) {
	defer func() {
		if r := recover(); r != nil {
			w.wrong("%v", r)
		}
	}()
	nodeGen := c.m.nodeGen
	leased := c.good()
	for _, a := range c.m.Step(ev, leased) {
		w.perform(c, a, leased)
	}
	if c.m.nodeGen != nodeGen {
		c.own, c.ahead = watch{}, watch{}
		c.fast.renew()
	}
}

// good reports whether the candidate may believe.
func (c *contender) good() bool {
	return c.leased && c.m.owner == c.session && c.m.owner != 0 && (!c.m.cfg.Fast || c.fast.short)
}

func (w *world) perform(c *contender, a Action, leased bool) {
	switch a := a.(type) {
	case Renew:
		c.keeps = a.On
	case Beat:
		c.fast.on = a.On
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
