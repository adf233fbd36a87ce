package zksim

import (
	"hash/fnv"
	"maps"
	"math"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// containerOwner marks container nodes (EphemeralType.CONTAINER_EPHEMERAL_OWNER); clients
// see 0.
const containerOwner = math.MinInt64

// znode is one node. cversion counts only creates. What clients see is derived from it:
// see stat.
type znode struct {
	czxid, mzxid, pzxid         int64
	ctime, mtime                int64
	version, cversion, aversion int32
	owner                       int64
	data                        []byte
	acl                         []zk.ACL
	children                    []string
	index                       map[string]int // child → its place in children
	changed                     int64          // leader's outlook only: zxid of the last pending change
}

// stat is DataNode.copyStat. The Cversion that it returns counts creates and deletes.
// Every create was followed by a delete, except for the children that are still present.
func (n *znode) stat() zk.Stat {
	owner := n.owner
	if owner == containerOwner {
		owner = 0
	}
	return zk.Stat{
		Czxid: n.czxid, Mzxid: n.mzxid, Ctime: n.ctime, Mtime: n.mtime,
		Version: n.version, Cversion: n.cversion*2 - int32(len(n.children)), Aversion: n.aversion,
		EphemeralOwner: owner, DataLength: int32(len(n.data)),
		NumChildren: int32(len(n.children)), Pzxid: n.pzxid,
	}
}

// addChild inserts the child at an index that depends on its name. The original lists
// children in hash order. A sorted list would hide the bug of a client that forgets to
// sort.
func (n *znode) addChild(name string) {
	if n.index == nil {
		n.index = make(map[string]int)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	last := len(n.children)
	n.children = append(n.children, name)
	n.index[name] = last
	n.swapChildren(int(h.Sum32()%uint32(last+1)), last)
}

func (n *znode) removeChild(name string) {
	i, ok := n.index[name]
	if !ok {
		return
	}
	last := len(n.children) - 1
	n.swapChildren(i, last)
	n.children = n.children[:last]
	delete(n.index, name)
}

func (n *znode) swapChildren(i, j int) {
	c := n.children
	c[i], c[j] = c[j], c[i]
	n.index[c[i]], n.index[c[j]] = i, j
}

// tree is the data of one server (DataTree). The leader has a second tree without
// watches, its outlook: the data after all its proposals.
type tree struct {
	nodes      map[string]*znode
	ephemerals map[int64]map[string]bool
	containers map[string]bool
	watches    *watches

	// undo collects, while recording, how to undo each change, the newest last. A multi
	// that fails half-way leaves nothing behind
	// (PrepRequestProcessor.rollbackPendingChanges).
	undo      []func()
	recording bool
}

// newTree returns the tree of a new server.
func newTree() *tree {
	t := &tree{
		nodes:      make(map[string]*znode),
		ephemerals: make(map[int64]map[string]bool),
		containers: make(map[string]bool),
	}
	open := zk.WorldACL(zk.PermAll)
	for _, p := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		t.nodes[p] = &znode{data: []byte{}, acl: open}
		if p != "/" {
			parent, name, _ := parentOf(p)
			t.nodes[parent].addChild(name)
		}
	}
	t.nodes["/zookeeper/config"].acl = zk.WorldACL(zk.PermRead)
	t.nodes["/zookeeper/config"].aversion = -1
	return t
}

// clone copies the nodes, not the watches.
func (t *tree) clone() *tree {
	c := &tree{nodes: make(map[string]*znode, len(t.nodes)), ephemerals: make(map[int64]map[string]bool),
		containers: maps.Clone(t.containers)}
	for p, n := range t.nodes {
		m := *n
		m.children, m.index = slices.Clone(n.children), maps.Clone(n.index)
		c.nodes[p] = &m
	}
	for s, paths := range t.ephemerals {
		c.ephemerals[s] = maps.Clone(paths)
	}
	return c
}

func (t *tree) record() { t.undo, t.recording = nil, true }

func (t *tree) rollback() {
	for _, f := range slices.Backward(t.undo) {
		f()
	}
	t.keep()
}

func (t *tree) keep() { t.undo, t.recording = nil, false }

func (t *tree) onRollback(f func()) {
	if t.recording {
		t.undo = append(t.undo, f)
	}
}

// create is DataTree.createNode. The parent's cversion only grows. Past 2^31-1 the
// negative successor is dropped, so a counter that is full stays full (see prep.go).
func (t *tree) create(path string, n *znode, parentCversion int32) jute.Code {
	parentPath, name, _ := parentOf(path)
	parent := t.nodes[parentPath]
	if parent == nil {
		return jute.CodeNoNode
	}
	if t.nodes[path] != nil {
		return jute.CodeNodeExists
	}

	cversion, pzxid := parent.cversion, parent.pzxid
	if parentCversion == -1 {
		parentCversion = parent.cversion + 1
	}
	if parentCversion > parent.cversion {
		parent.cversion, parent.pzxid = parentCversion, n.czxid
	}

	parent.addChild(name)
	t.nodes[path] = n
	t.index(path, n.owner)
	t.onRollback(func() {
		t.unindex(path, n.owner)
		delete(t.nodes, path)
		parent.removeChild(name)
		parent.cversion, parent.pzxid = cversion, pzxid
	})

	t.watches.fire(t.watches.data(), zk.EventNodeCreated, path, n.acl, n.czxid)
	t.watches.fire(t.watches.child(), zk.EventNodeChildrenChanged, parentPath, parent.acl, n.czxid)
	return jute.CodeOK
}

func (t *tree) index(path string, owner int64) {
	switch owner {
	case 0:
	case containerOwner:
		t.containers[path] = true
	default:
		if t.ephemerals[owner] == nil {
			t.ephemerals[owner] = make(map[string]bool)
		}
		t.ephemerals[owner][path] = true
	}
}

func (t *tree) unindex(path string, owner int64) {
	delete(t.containers, path)
	if paths := t.ephemerals[owner]; paths != nil {
		delete(paths, path)
		if len(paths) == 0 {
			delete(t.ephemerals, owner)
		}
	}
}

// delete is DataTree.deleteNode. A connection that watches both the data and the children
// of the node gets one event.
func (t *tree) delete(path string, zxid int64) jute.Code {
	parentPath, name, _ := parentOf(path)
	parent, n := t.nodes[parentPath], t.nodes[path]
	if parent == nil || n == nil {
		return jute.CodeNoNode
	}

	pzxid := parent.pzxid
	parent.removeChild(name)
	parent.pzxid = max(parent.pzxid, zxid)
	delete(t.nodes, path)
	t.unindex(path, n.owner)
	t.onRollback(func() {
		t.index(path, n.owner)
		t.nodes[path] = n
		parent.addChild(name)
		parent.pzxid = pzxid
	})

	notified := t.watches.fire(t.watches.data(), zk.EventNodeDeleted, path, n.acl, zxid)
	t.watches.fire(t.watches.child(), zk.EventNodeDeleted, path, n.acl, zxid, notified...)
	t.watches.fire(t.watches.child(), zk.EventNodeChildrenChanged, parentPath, parent.acl, zxid)
	return jute.CodeOK
}

// set is DataTree.setData.
func (t *tree) set(path string, data []byte, version int32, zxid, now int64) (zk.Stat, jute.Code) {
	n := t.nodes[path]
	if n == nil {
		return zk.Stat{}, jute.CodeNoNode
	}
	t.restoreOnRollback(n)
	n.data, n.version, n.mzxid, n.mtime = data, version, zxid, now
	t.watches.fire(t.watches.data(), zk.EventNodeDataChanged, path, n.acl, zxid)
	return n.stat(), jute.CodeOK
}

// setACL is DataTree.setACL.
func (t *tree) setACL(path string, acl []zk.ACL, aversion int32) (zk.Stat, jute.Code) {
	n := t.nodes[path]
	if n == nil {
		return zk.Stat{}, jute.CodeNoNode
	}
	t.restoreOnRollback(n)
	n.acl, n.aversion = acl, aversion
	return n.stat(), jute.CodeOK
}

func (t *tree) restoreOnRollback(n *znode) {
	data, version, mzxid, mtime, acl, aversion := n.data, n.version, n.mzxid, n.mtime, n.acl, n.aversion
	t.onRollback(func() {
		n.data, n.version, n.mzxid, n.mtime, n.acl, n.aversion = data, version, mzxid, mtime, acl, aversion
	})
}

// owned returns the session's ephemeral nodes, the oldest first. The original uses the
// order of a hash set; this one repeats.
func (t *tree) owned(session int64) []string {
	paths := slices.Collect(maps.Keys(t.ephemerals[session]))
	slices.SortFunc(paths, func(a, b string) int {
		if d := t.nodes[a].czxid - t.nodes[b].czxid; d != 0 {
			return int(max(-1, min(1, d)))
		}
		if a < b {
			return -1
		}
		return 1
	})
	return paths
}
