package zksim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
)

// Stats counts what has happened so far.
type Stats struct {
	Connections     int
	Refused         int // connections of clients that had seen a newer zxid than the server
	Requests        int
	Notifications   int // events of watches
	Committed       int // transactions
	Applied         int // transactions, counted at every server
	Elections       int
	Expired         int // sessions
	Crashes         int
	RepliesLost     int
	RequestsRefused int // by [Ensemble.Refuse]

	ConnectionsOpen int // now, at all servers
	Pending         int // now: events that are not yet due
	Watches         int // now, at all servers: a connection and a path; data and child watches count separately
}

// Stats returns the counters.
func (e *Ensemble) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.stats
	for _, s := range e.servers {
		st.ConnectionsOpen += len(s.conns)
		st.Watches += s.tree.watches.count()
	}
	st.Pending = len(e.events)
	return st
}

// Leader returns the id of the leading server, or 0 if there is none. A leader that was
// cut off counts until it notices that, unless there is a newer one.
func (e *Ensemble) Leader() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.leader(); l != nil {
		return l.id
	}
	return 0
}

// Serving reports whether the server lets clients in.
func (e *Ensemble) Serving(id int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.server(id)
	return s.serving && !s.crashed && !s.frozen
}

// Node is a znode in a dump.
type Node struct {
	Path string
	Data []byte
	ACL  []zk.ACL
	Stat zk.Stat
}

// Tree dumps the znodes of the server that has applied most, sorted by path, without
// /zookeeper.
func (e *Ensemble) Tree() []Node { return e.dump(0) }

// TreeAt is [Ensemble.Tree] for the server with the id, which may have applied less.
func (e *Ensemble) TreeAt(id int) []Node { return e.dump(id) }

func (e *Ensemble) dump(id int) []Node {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.viewOf(id)
	var out []Node
	for _, p := range slices.Sorted(maps.Keys(t.nodes)) {
		if n := t.nodes[p]; p != "/zookeeper" && !under(p, "/zookeeper") {
			out = append(out, Node{Path: p, Data: slices.Clone(n.data), ACL: slices.Clone(n.acl), Stat: n.stat()})
		}
	}
	return out
}

// viewOf returns a server's tree. Id 0 stands for the most advanced server.
func (e *Ensemble) viewOf(id int) *tree {
	if id != 0 {
		return e.server(id).tree
	}
	return e.mostAdvanced().tree
}

func (e *Ensemble) mostAdvanced() *server {
	return slices.MaxFunc(e.servers, func(a, b *server) int {
		return cmp.Compare(a.applied.txn.zxid, b.applied.txn.zxid)
	})
}

// Children returns the names of path's children, sorted, at the most advanced server. It
// is nil if there is no such node.
func (e *Ensemble) Children(path string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.viewOf(0).nodes[path]; n != nil {
		return slices.Sorted(slices.Values(n.children))
	}
	return nil
}

// Get returns the node at path, at the most advanced server.
func (e *Ensemble) Get(path string) (Node, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.viewOf(0).nodes[path]
	if n == nil {
		return Node{}, false
	}
	return Node{Path: path, Data: slices.Clone(n.data), ACL: slices.Clone(n.acl), Stat: n.stat()}, true
}

// Session is a session as the leader sees it.
type Session struct {
	ID      int64
	Timeout time.Duration
	Expires time.Duration // from now; touches that have not reached the leader do not count
	Closing bool          // its end is in the log, or on its way there
	Server  int           // the server that it came through last; 0: none since the leader was elected
}

// Sessions returns the leader's sessions, sorted by id. It is nil while there is no
// leader.
func (e *Ensemble) Sessions() []Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.leader()
	if l == nil {
		return nil
	}
	var out []Session
	for _, id := range slices.Sorted(maps.Keys(l.lead.tracker.sessions)) {
		x := l.lead.tracker.sessions[id]
		out = append(out, Session{ID: id, Timeout: x.timeout, Expires: x.expires - e.now(),
			Closing: x.closing, Server: x.server()})
	}
	return out
}

func (x *tracked) server() int {
	switch o := x.owner.(type) {
	case *server:
		return o.id
	case *learner:
		return o.ch.follower.id
	}
	return 0
}

func (e *Ensemble) routes() []route {
	return slices.SortedFunc(maps.Keys(e.links), func(a, b route) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
}

func under(path, dir string) bool { return len(path) > len(dir) && path[:len(dir)+1] == dir+"/" }

func joinPath(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}
