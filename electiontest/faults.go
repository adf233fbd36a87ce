package electiontest

import (
	"cmp"
	"fmt"
	"time"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// dice is what a fault draws. Each fault draws the same dice, whether it needs them or not,
// so the faults of a seed do not depend on what the service does.
type dice struct {
	slot   int           // of a replica
	id     int           // of a server
	other  int           // of another server; the same if there is one server
	part   time.Duration // up to 1.3 session timeouts
	edge   time.Duration // the most dangerous time: connections just survive, and sessions are about to end
	late   time.Duration // up to half a second
	longer time.Duration // 1 s to 40 s
	op     jute.Op
}

func (c *storm) roll() dice {
	n := c.chaosOptions.servers
	id, apart := c.r.IntN(n), 1+c.r.IntN(max(1, n-1))
	return dice{slot: c.r.IntN(c.replicas), id: 1 + id, other: 1 + (id+apart)%n,
		part:   c.timeout * time.Duration(50+c.r.IntN(1250)) / 1000,
		edge:   c.timeout * time.Duration(500+c.r.IntN(180)) / 1000,
		late:   c.ms(500),
		longer: time.Second + c.ms(39000),
		op: pick(c.r, jute.OpCreate, jute.OpDelete, jute.OpMulti, jute.OpGetData, jute.OpGetChildren2, jute.OpCreateSession,
			jute.OpSetWatches, jute.OpCreateContainer)}
}

func (c *storm) ms(n int) time.Duration { return time.Duration(c.r.IntN(n)) * time.Millisecond }

// target is whom a fault strikes. Who works, and which server leads the others, is not the
// seed's choice, so the report of the faults says only that.
type target struct {
	as   string // "replica b", "the working replica"
	slot *slot
	id   int // of a server; 0: none
}

func (c *storm) replica(d dice) target {
	s := c.slots[d.slot]
	return target{as: "replica " + s.name, slot: s}
}

// worker is the replica whose work began last, which is seldom wrong. Before the first
// work it is any replica.
func (c *storm) worker(dice) target {
	s := c.slots[0]
	if r, _ := c.ledger.working(); r != nil {
		s = c.slots[int(r.name[0]-'a')]
	}
	return target{as: "the working replica", slot: s}
}

func (c *storm) server(d dice) target {
	return target{as: fmt.Sprintf("server %d", d.id), id: d.id}
}

// oneOfTwo is a server that another one can be cut from.
func (c *storm) oneOfTwo(d dice) target {
	t := c.server(d)
	if d.id == d.other {
		t.id = 0
	}
	return t
}

func (c *storm) leadingServer(dice) target {
	return target{as: "the leading server", id: c.servers.LeadingServer()}
}

// workersServer is the server that the working replica is connected to, as far as the
// leading server knows.
func (c *storm) workersServer(d dice) target {
	t := target{as: "the working replica's server"}
	w := c.worker(d).slot.name
	for _, s := range c.servers.sim.Sessions() {
		if s.Server != 0 && c.servers.contacts.of(s.ID).client == w {
			t.id = s.Server
		}
	}
	return t
}

// who says whom the log means, if as does not.
func (t target) who() string {
	var name string
	switch {
	case t.as == "":
		return ""
	case t.slot != nil:
		name = "replica " + t.slot.name
	case t.id != 0:
		name = fmt.Sprintf("server %d", t.id)
	default:
		name = "there is none"
	}
	if name == t.as {
		return ""
	}
	return " (" + name + ")"
}

// fault is one kind of fault.
type fault struct {
	what func(d dice, c *storm) string // with the target in the place of %s
	at   func(c *storm, d dice) target
	do   func(c *storm, t target, d dice)
}

func text(s string) func(dice, *storm) string { return func(dice, *storm) string { return s } }

// lasting returns a text that ends in how long it lasts.
func lasting(s string, d func(dice, *storm) time.Duration) func(dice, *storm) string {
	return func(x dice, c *storm) string { return fmt.Sprintf("%s %v", s, d(x, c)) }
}

func part(d dice, _ *storm) time.Duration   { return d.part }
func edge(d dice, _ *storm) time.Duration   { return d.edge }
func longer(d dice, _ *storm) time.Duration { return d.longer }

// expiry is longer than a session lasts that is not heard of any more, also if the servers'
// clocks are slow.
func expiry(_ dice, c *storm) time.Duration { return 3*c.timeout/2 + 2*tick }

// cutting is a fault that cuts a replica off from all servers for a time.
func cutting(at func(*storm, dice) target, how func(dice, *storm) time.Duration) fault {
	return fault{lasting("cut off %s for", how), at, func(c *storm, t target, d dice) {
		name := t.slot.name
		c.servers.Cut(name)
		time.AfterFunc(how(d, c), func() { c.servers.Heal(name) })
	}}
}

func killing(at func(*storm, dice) target) fault {
	return fault{lasting("kill %s; it is back after", longer), at, func(c *storm, t target, d dice) { c.kill(t.slot, d.longer) }}
}

func stopping(at func(*storm, dice) target) fault {
	return fault{lasting("stop %s in good order; it is back after", longer), at, func(c *storm, t target, d dice) { c.stop(t.slot, d.longer) }}
}

func crashing(at func(*storm, dice) target) fault {
	return fault{lasting("crash %s for", longer), at, func(c *storm, t target, d dice) {
		c.servers.sim.Crash(t.id)
		time.AfterFunc(d.longer, func() { c.servers.sim.Restart(t.id) })
	}}
}

func isolating(at func(*storm, dice) target) fault {
	return fault{text("cut %s off from the other servers until the calm"), at, func(c *storm, t target, _ dice) { c.servers.sim.Isolate(t.id) }}
}

// losing breaks the connection in place of one answer.
func losing() fault {
	return fault{func(d dice, _ *storm) string { return fmt.Sprintf("lose the next answer to a %v", d.op) }, nil,
		func(c *storm, _ target, d dice) {
			remove := c.servers.sim.LoseReply(func(r zksim.Reply) bool { return r.Op == d.op })
			time.AfterFunc(5*time.Second, remove)
		}}
}

// faults are what happens, one as often as the other.
var faults = []fault{
	cutting((*storm).replica, part),
	cutting((*storm).worker, part),
	cutting((*storm).worker, edge),
	cutting((*storm).worker, expiry),
	killing((*storm).replica),
	killing((*storm).worker),
	stopping((*storm).replica),
	stopping((*storm).worker),
	crashing((*storm).server),
	crashing((*storm).leadingServer),
	isolating((*storm).server),
	isolating((*storm).leadingServer),
	isolating((*storm).workersServer),
	losing(),
	losing(),
	{text("break the connections of %s"), (*storm).replica, func(c *storm, t target, _ dice) { c.reset(t.slot) }},
	{func(d dice, _ *storm) string { return fmt.Sprintf("cut %%s from server %d until the calm", d.id) }, (*storm).replica,
		func(c *storm, t target, d dice) { c.servers.sim.Cut(t.slot.name, zksim.ServerName(d.id)) }},
	{func(d dice, _ *storm) string { return fmt.Sprintf("server %d does not hear %%s until the calm", d.id) }, (*storm).replica,
		func(c *storm, t target, d dice) { c.servers.sim.CutOneWay(t.slot.name, zksim.ServerName(d.id)) }},
	{func(d dice, _ *storm) string { return fmt.Sprintf("%%s does not hear server %d until the calm", d.id) }, (*storm).replica,
		func(c *storm, t target, d dice) { c.servers.sim.CutOneWay(zksim.ServerName(d.id), t.slot.name) }},
	{func(d dice, _ *storm) string {
		return fmt.Sprintf("up to %v between %%s and server %d until the calm", d.late, d.id)
	},
		(*storm).replica, func(c *storm, t target, d dice) { c.delay(t.slot.name, zksim.ServerName(d.id), d.late) }},
	{lasting("freeze %s for", part), (*storm).server, func(c *storm, t target, d dice) {
		c.servers.sim.Freeze(t.id)
		time.AfterFunc(d.part, func() { c.servers.sim.Thaw(t.id) })
	}},
	{func(d dice, _ *storm) string { return fmt.Sprintf("cut %%s from server %d until the calm", d.other) }, (*storm).oneOfTwo,
		func(c *storm, t target, d dice) {
			c.servers.sim.Cut(zksim.ServerName(t.id), zksim.ServerName(d.other))
		}},
	{func(d dice, _ *storm) string {
		return fmt.Sprintf("up to %v between %%s and server %d until the calm", d.late, d.other)
	},
		(*storm).oneOfTwo, func(c *storm, t target, d dice) { c.delay(zksim.ServerName(t.id), zksim.ServerName(d.other), d.late) }},
	{func(d dice, _ *storm) string {
		return fmt.Sprintf("up to %v for the disk of %%s until the calm", 2*d.late)
	}, (*storm).server,
		func(c *storm, t target, d dice) { c.servers.sim.SlowDisk(t.id, 0, 2*d.late) }},
	{func(d dice, _ *storm) string {
		return fmt.Sprintf("%%s applies commits up to %v late until the calm", 6*d.late)
	}, (*storm).server,
		func(c *storm, t target, d dice) { c.servers.sim.Lag(t.id, 0, 6*d.late) }},
	{func(d dice, _ *storm) string {
		return fmt.Sprintf("%%s greets up to %v late until the calm", 12*d.late)
	}, (*storm).server,
		func(c *storm, t target, d dice) { c.servers.sim.GreetSlowly(t.id, 0, 12*d.late) }},
}

// strike makes one fault happen.
func (c *storm) strike() {
	c.timeout = cmp.Or(c.longestSession(), c.timeout)
	f, d := pick(c.r, faults...), c.roll()
	what := f.what(d, c)
	var t target
	if f.at != nil {
		t = f.at(c, d)
		what = fmt.Sprintf(what, t.as)
	}

	at := time.Since(c.began)
	c.note("%s%s", what, t.who())
	if f.at == nil || t.slot != nil || t.id != 0 {
		f.do(c, t, d)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf("%.3fs %s", at.Seconds(), what))
}

// longestSession returns the longest session timeout that a client has, or 0 if the servers
// know of none.
func (c *storm) longestSession() (longest time.Duration) {
	for _, s := range c.servers.sim.Sessions() {
		longest = max(longest, s.Timeout)
	}
	return longest
}

func (c *storm) reset(s *slot) {
	c.mu.Lock()
	r := s.current
	c.mu.Unlock()
	if r != nil {
		r.net.reset()
	}
}

func (c *storm) delay(a, b string, most time.Duration) {
	c.servers.sim.Delay(a, b, 0, most)
	c.servers.sim.Delay(b, a, 0, most)
}

// calm ends all faults, and starts all replicas that are to be started again.
func (c *storm) calm() {
	c.note("all faults end")
	sim := c.servers.sim
	sim.HealAll()
	for id := 1; id <= c.chaosOptions.servers; id++ {
		sim.Thaw(id)
		sim.Restart(id)
		sim.Lag(id, 0, 0)
		sim.SlowDisk(id, 0, 0)
		sim.GreetSlowly(id, 0, 0)
		for to := 1; to <= c.chaosOptions.servers; to++ {
			c.delay(zksim.ServerName(id), zksim.ServerName(to), 0)
		}
		for _, s := range c.slots {
			c.delay(s.name, zksim.ServerName(id), 0)
		}
	}
	for _, s := range c.slots {
		c.hurry(s)
		c.launch(s)
	}
}

// hurry makes a replica that is stopping come back at once.
func (c *storm) hurry(s *slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.current != nil {
		s.current.again = 0
	}
}
