package zksim

import (
	"slices"

	"github.com/zkelection/election/internal/jute"
)

// watchModes is a set of the ways in which a connection watches a path (WatchStats).
// Since 3.9 a connection can have several modes for a path. Until 3.8 it has only the
// last one that it asked for (WatcherModeManager).
type watchModes uint8

const (
	standard   watchModes = 1 << iota // fires once
	persistent                        // fires until it is removed
	recursive                         // persistent, for the path and all paths below it, without child events

	anyMode = standard | persistent | recursive
)

// watching is one connection's entry in a watch table.
type watching struct {
	conn  *conn
	modes watchModes
}

func (t watchTable) find(path string, c *conn) int {
	return slices.IndexFunc(t[path], func(w watching) bool { return w.conn == c })
}

// has is WatchManager.containsWatcher. It reports whether the connection watches the path
// in any of the modes.
func (t watchTable) has(path string, c *conn, modes watchModes) bool {
	i := t.find(path, c)
	return i >= 0 && t[path][i].modes&modes != 0
}

// addMode is WatchManager.addWatch.
func (t watchTable) addMode(path string, c *conn, mode watchModes) {
	if i := t.find(path, c); i >= 0 {
		t[path][i].modes |= mode
		return
	}
	t[path] = append(t[path], watching{c, mode})
}

// remove is WatchManager.removeWatcher. It reports whether there was anything to remove.
func (t watchTable) remove(path string, c *conn, modes watchModes) bool {
	if !t.has(path, c, modes) {
		return false
	}
	i := t.find(path, c)
	t[path][i].modes &^= modes
	if t[path][i].modes == 0 {
		t.keep(path, slices.Delete(t[path], i, i+1))
	}
	return true
}

func (t watchTable) keep(path string, left []watching) {
	if len(left) == 0 {
		delete(t, path)
		return
	}
	t[path] = left
}

// triggered returns the connections that an event at the path is for, each once: those
// that watch the path, and those with a recursive watch on an ancestor
// (PathParentIterator). It removes the standard watches.
func (t watchTable) triggered(path string) []*conn {
	var conns []*conn
	for _, w := range t[path] {
		conns = append(conns, w.conn)
	}
	t.useUp(path)
	for path != "/" {
		path, _, _ = parentOf(path)
		for _, w := range t[path] {
			if w.modes&recursive != 0 && !slices.Contains(conns, w.conn) {
				conns = append(conns, w.conn)
			}
		}
	}
	return conns
}

func (t watchTable) useUp(path string) {
	if len(t[path]) == 0 {
		return
	}
	left := t[path][:0]
	for _, w := range t[path] {
		if w.modes &^= standard; w.modes != 0 {
			left = append(left, w)
		}
	}
	t.keep(path, left)
}

func (w *watches) count() (n int) {
	for _, t := range []watchTable{w.dataTable, w.childTable} {
		for _, on := range t {
			n += len(on)
		}
	}
	return n
}

// persist is DataTree.addWatch. A recursive watch is not entered among the child watches,
// so it never fires for a change of the list of children.
func (w *watches) persist(path string, c *conn, mode watchModes) {
	w.dataTable.addMode(path, c, mode)
	if mode == persistent {
		w.childTable.addMode(path, c, mode)
	}
}

// rearmPersistent is the end of DataTree.setWatches. It sets persistent watches again.
// They do not fire for what was missed.
func (w *watches) rearmPersistent(c *conn, l watchLists) {
	for _, p := range l.persistent {
		w.persist(p, c, persistent)
	}
	for _, p := range l.recursive {
		w.persist(p, c, recursive)
	}
}

// addWatch answers with a special body, an ErrorResponse of 0. It checks neither the path
// nor the permission to read it: that is checked at each event.
func (s *server) addWatch(r *request) (func(*jute.Encoder), jute.Code) {
	modes := map[int32]watchModes{0: persistent, 1: recursive} // ZooDefs.AddWatchModes
	mode, ok := modes[r.flags]
	if !ok {
		return nil, jute.CodeMarshallingError // WatcherMode.fromZooDef throws
	}
	s.tree.watches.persist(r.path, r.conn, mode)
	return func(w *jute.Encoder) { w.Int32(int32(jute.CodeOK)) }, jute.CodeOK
}

// watcherType says in which tables and modes a request looks for watches
// (Watcher.WatcherType). Types 4 and 5 exist since 3.9.
type watcherType struct{ data, child watchModes }

var watcherTypes = map[int32]watcherType{
	1: {child: standard},
	2: {data: standard},
	3: {data: anyMode, child: anyMode},
	4: {data: persistent, child: persistent},
	5: {data: recursive},
}

// ownWatches answers checkWatches and removeWatches, which concern the connection's own
// watches.
func (s *server) ownWatches(r *request) jute.Code {
	kind, ok := watcherTypes[r.flags]
	if !ok {
		return jute.CodeMarshallingError // WatcherType.fromInt throws
	}
	act := watchTable.has
	if r.op == jute.OpRemoveWatches {
		act = watchTable.remove
	}
	w := s.tree.watches
	data, child := act(w.dataTable, r.path, r.conn, kind.data), act(w.childTable, r.path, r.conn, kind.child)
	if !data && !child {
		return jute.CodeNoWatcher
	}
	return jute.CodeOK
}
