package zksim_test

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// reconnectScenarios test connections that break and sessions that end.
var reconnectScenarios = []scenario{
	{"reconnect tells of changed data", func(s *script) {
		s.make("/a")
		s.away("/a", func() { s.set("/a", "x", -1) })
	}},
	{"reconnect tells of changed data once", func(s *script) {
		s.make("/a")
		s.away("/a", func() { s.set("/a", "x", -1); s.set("/a", "y", -1) })
	}},
	{"reconnect tells of a deletion", func(s *script) {
		s.make("/a")
		s.away("/a", func() { s.remove("/a", -1) })
	}},
	{"reconnect takes a node made anew for a changed one", func(s *script) {
		s.make("/a")
		s.away("/a", func() { s.remove("/a", -1); s.create("/a", 0) })
	}},
	{"reconnect tells of a creation", func(s *script) {
		s.away("/a", func() { s.create("/a", 0) })
	}},
	{"reconnect knows nothing of a node that came and went", func(s *script) {
		s.away("/a", func() { s.create("/a", 0); s.remove("/a", -1) })
		s.create("/a", 0)
	}},
	{"reconnect tells of a new child", func(s *script) {
		s.make("/a")
		s.away("/a", func() { s.create("/a/kid", 0) })
	}},
	{"reconnect tells of a child that left", func(s *script) {
		s.make("/a", "/a/kid")
		s.away("/a", func() { s.remove("/a/kid", -1) })
	}},
	{"reconnect tells nothing of an acl and a grandchild", func(s *script) {
		s.make("/a", "/a/kid")
		s.away("/a", func() {
			_, err := s.c.SetACL(s.at("/a"), open, -1)
			s.tell("acl", err)
			s.create("/a/kid/deep", 0)
		})
		s.set("/a", "x", -1)
		s.create("/a/other", 0)
	}},
	{"reconnect in time keeps the session", func(s *script) {
		g := &gate{dial: s.site.dial}
		c := s.sessionThrough(g, 10*time.Second)
		_, err := c.Create(s.at("/e"), nil, 1, open)
		s.tell("create", err)
		id := c.SessionID()
		g.cut(s.t)
		g.heal(s.t)
		s.tell("same", c.SessionID() == id)
		_, err = c.Sync(s.dir)
		s.tell("sync", err)
		_, st, err := c.Get(s.at("/e"))
		s.tell("node", st, err)
	}},
	{"expiry removes ephemerals and tells who watches", func(s *script) {
		g := &gate{dial: s.site.dial}
		c := s.sessionThrough(g, 2*time.Second)
		for range 2 {
			p, err := c.Create(s.at("/n-"), nil, 3, open)
			s.tell("create", p, err)
		}
		_, _ = s.c.Sync(s.dir)
		_, _, first, err := s.c.GetW(s.at("/n-0000000000"))
		s.tell("watch", err)
		_, _, second, _ := s.c.GetW(s.at("/n-0000000001"))
		_, _, line, _ := s.c.ChildrenW(s.dir)
		g.cut(s.t)
		s.tell("events", s.event(first), s.event(second), s.event(line))
		s.look("")
		s.create("/n-", 3)
		s.healed(g, c)
	}},
	{"expiry ends the watches of its own session", func(s *script) {
		s.make("/a")
		g := &gate{dial: s.site.dial}
		c := s.sessionThrough(g, 2*time.Second)
		_, err := c.Create(s.at("/e"), nil, 1, open)
		s.tell("create", err)
		_, _, w, err := c.GetW(s.at("/a"))
		s.tell("watch", err)
		s.gone(g, "/e")
		s.set("/a", "x", -1)
		s.healed(g, c)
		ev := s.event(w).(zk.Event)
		s.tell("event", ev, ev.Err)
		_, err = c.Create(s.at("/e"), nil, 1, open)
		s.tell("create again", err)
	}},
}

// away watches the path in every way in another session, and makes changes while that
// session's connection is down. It records which watches fire when the connection is
// back, and after another change that all watches can see.
func (s *script) away(path string, happen func()) {
	g := &gate{dial: s.site.dial}
	c := s.sessionThrough(g, 10*time.Second)
	_, _ = c.Sync(s.dir)
	var watches []<-chan zk.Event
	_, _, w, err := c.ExistsW(s.at(path))
	s.tell("watch", err)
	watches = append(watches, w)
	if _, _, w, err = c.GetW(s.at(path)); err == nil {
		watches = append(watches, w)
	}
	if _, _, w, err = c.ChildrenW(s.at(path)); err == nil {
		watches = append(watches, w)
	}
	_, _, marker, err := c.GetW(s.dir)
	s.tell("marker", err)
	g.cut(s.t)
	happen()
	g.heal(s.t)
	s.set("", "marker", -1)
	s.tell("back", s.event(marker))
	// The client library sets all its watches again in one request, some time after it is
	// back. The marker shows that the server has begun with that request. The events of
	// the other watches come before this answer.
	_, err = c.Sync(s.dir)
	s.tell("sync", err)
	for _, w := range watches {
		s.tell("event", s.eventSoFar(w))
	}
	s.tell("exists", s.touched(c, path))
	for _, w := range watches {
		s.tell("later", s.eventSoFar(w))
	}
}

// touched changes the node at the path, if there is one, and returns what c reads then.
func (s *script) touched(c *zk.Conn, path string) error {
	_, _ = s.c.Set(s.at(path), []byte("touched"), -1)
	_, _ = s.c.Create(s.at(path+"/touched"), nil, 0, open)
	_, _ = c.Sync(s.dir)
	_, _, err := c.Get(s.at(path))
	return err
}

// gone shuts the gate until the session has expired and its node is gone.
func (s *script) gone(g *gate, path string) {
	_, _ = s.c.Sync(s.dir)
	_, _, w, err := s.c.ExistsW(s.at(path))
	s.tell("exists", err)
	g.cut(s.t)
	s.tell("gone", s.event(w))
}

// healed opens the gate again for a client whose session has expired.
func (s *script) healed(g *gate, c *zk.Conn) {
	id := c.SessionID()
	g.set(false)
	await(s.t, g.states, zk.StateExpired)
	await(s.t, g.states, zk.StateHasSession)
	s.names[c.SessionID()] = "the next session"
	s.tell("same session", c.SessionID() == id)
}
