package zksim

import "time"

// GreetSlowly makes a server answer connect requests lo to hi late, as an overloaded
// server does. The server makes the session first, so a client that does not wait leaves
// an unused session behind. Zero ends it, but answers that are already late stay late.
func (e *Ensemble) GreetSlowly(id int, lo, hi time.Duration) {
	e.do(func() { e.server(id).greeting = e.spread(lo, hi) })
}

// established answers the connect request, now or later.
func (c *conn) established(valid bool) {
	if c.server.greeting == nil {
		c.greet(valid)
		return
	}
	c.server.after(c.server.greeting(), func() { c.greet(valid) })
}
