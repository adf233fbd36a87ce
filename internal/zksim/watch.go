package zksim

import (
	"slices"

	"github.com/go-zookeeper/zk"
)

// watchTable keeps who watches which path, in the order of asking (WatchManager; the original's
// order is that of a hash set).
type watchTable map[string][]*conn

func (t watchTable) add(path string, c *conn) {
	if !slices.Contains(t[path], c) {
		t[path] = append(t[path], c)
	}
}

func (t watchTable) forget(c *conn) {
	for path, conns := range t {
		if i := slices.Index(conns, c); i >= 0 {
			t[path] = slices.Delete(conns, i, i+1)
			if len(t[path]) == 0 {
				delete(t, path)
			}
		}
	}
}

// watches are the watches of one server's connections. A nil *watches is the leader's outlook: it
// fires nothing.
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

// fire tells everybody who watches the path in the table, once, except those already told, and
// returns whom (WatchManager.triggerWatch). Connections that may not read the node hear nothing,
// and their watch is used up all the same (NIOServerCnxn.process, since 3.8.4 and 3.9.2).
func (w *watches) fire(t watchTable, event zk.EventType, path string, acl []zk.ACL, zxid int64, told ...*conn) []*conn {
	if t == nil {
		return nil
	}
	conns := t[path]
	delete(t, path)
	for _, c := range conns {
		if !slices.Contains(told, c) && allowed(acl, zk.PermRead, c.auth) {
			c.notify(event, path, zxid)
		}
	}
	return conns
}

// rearm is DataTree.setWatches: each watch that a reconnecting client still holds is either set
// again, or fires now for what the client missed since the zxid it saw last.
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
		t.rearmOne(t.watches.childTable, c, p, zk.EventNodeChildrenChanged, func(n *znode) bool { return n.pzxid > l.zxid })
	}
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
