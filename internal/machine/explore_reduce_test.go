package machine

import "slices"

// What need not be walked in every order. A move is a candidate's private matter if no other candidate's move can tell
// whether it has been made, or change what it does: a message of its session that it hears, a result that it is given.
// If everything that a candidate can do now is private, and nothing that others do can give it something else to do
// first, then doing that first leaves out only orders in which the same comes of the same moves (a persistent set, as
// model checkers call it), provided that whatever is put off so is made in the end: every state must lead to a rest, in
// which nothing is left to be made. The explorer checks that, and that its two walks find the same rests.

// private reports whether these steps, all that one candidate can make in w, are its own matter.
func (w *world) private(own []place) bool {
	c := w.all[own[0].by.who]
	if c.hears(w) {
		return false
	}
	return !slices.ContainsFunc(own, func(q place) bool { return w.shows(c, q) })
}

// hears reports whether another's move can fire a watch of c, which is all that others can do to it. Its own znode goes
// by its own moves.
func (c *contender) hears(w *world) bool {
	waits := c.ahead.name != "" && (c.ahead.says == quiet || c.fast.heard.name != "")
	return waits || slices.ContainsFunc(c.queue, func(a Action) bool {
		wt := left(a)
		return wt.name != "" && wt.says == quiet
	}) || slices.ContainsFunc(c.inbox, func(a answer) bool {
		_, ahead := a.ev.(AheadRead)
		return ahead && a.w.name != "" && a.w.says == quiet
	})
}

// shows reports whether a step of c is more than its own matter: it looks at others' znodes, changes its own, or begins
// or ends a belief, which is held against theirs.
func (w *world) shows(c *contender, q place) bool {
	d := q.w.all[c.id]
	if d.believes != c.believes || d.excused != c.excused || d.term != c.term {
		return true
	}
	switch q.by.what {
	case beatOnce, starve: // which others may see
		return true
	case serve:
	default:
		return false
	}
	i, _ := c.served(q.by.arg)
	switch a := c.queue[i].(type) {
	case ReadOwn:
		return false
	case Check:
		return len(a.Names) > 1
	case Recover:
		return slices.ContainsFunc(w.nodes, func(n node) bool { return n.maker == c.id })
	case Delete:
		return w.find(a.Name) >= 0
	}
	return true
}
