package zksim

import (
	"slices"

	"github.com/go-zookeeper/zk"
)

// watchTable keeps which connections watch which path, in the order of their requests
// (WatchManager, which uses the order of a hash set).
type watchTable map[string][]watching

func (t watchTable) add(path string, c *conn) { t.addMode(path, c, standard) }

func (t watchTable) forget(c *conn) {
	for path := range t {
		t.remove(path, c, anyMode)
	}
}

// watches has the watches of one server's connections. A nil *watches belongs to the
// leader's outlook, and fires nothing.
type watches struct{ dataTable, childTable watchTable }

func newWatches() *watches {
	return &watches{dataTable: make(watchTable), childTable: make(watchTable)}
}

func (w *watches) data() watchTable {
	if w == nil {
		return nil
	}
	return w.dataTable
}

func (w *watches) child() watchTable {
	if w == nil {
		return nil
	}
	return w.childTable
}

func (w *watches) forget(c *conn) {
	w.dataTable.forget(c)
	w.childTable.forget(c)
}

// fire notifies all connections that watch the path in the table, or an ancestor in the
// recursive mode, except for those already notified, and returns all of these connections
// (WatchManager.triggerWatch). A connection that may not read the node gets no event, but
// its watch is used up (NIOServerCnxn.process, since 3.8.4 and 3.9.2).
func (w *watches) fire(t watchTable, event zk.EventType, path string, acl []zk.ACL, zxid int64,
	notified ...*conn) []*conn {
	if t == nil {
		return nil
	}
	conns := t.triggered(path)
	for _, c := range conns {
		if !slices.Contains(notified, c) && allowed(acl, zk.PermRead, c.auth) {
			c.notify(event, path, zxid)
		}
	}
	return conns
}

// rearm is DataTree.setWatches. Each watch of a reconnecting client is either set again,
// or fires now for what the client has missed since the last zxid that it saw.
func (t *tree) rearm(c *conn, l watchLists) {
	for _, p := range l.data {
		t.rearmOne(t.watches.dataTable, c, p, zk.EventNodeDataChanged, func(n *znode) bool { return n.mzxid > l.zxid })
	}
	for _, p := range l.exist {
		if t.nodes[p] != nil {
			c.notify(zk.EventNodeCreated, p, -1)
		} else {
			t.watches.dataTable.add(p, c)
		}
	}
	for _, p := range l.child {
		t.rearmOne(t.watches.childTable, c, p, zk.EventNodeChildrenChanged,
			func(n *znode) bool { return n.pzxid > l.zxid })
	}
	t.watches.rearmPersistent(c, l)
}

func (t *tree) rearmOne(table watchTable, c *conn, path string, event zk.EventType, missed func(*znode) bool) {
	switch n := t.nodes[path]; {
	case n == nil:
		c.notify(zk.EventNodeDeleted, path, -1)
	case missed(n):
		c.notify(event, path, -1)
	default:
		table.add(path, c)
	}
}
