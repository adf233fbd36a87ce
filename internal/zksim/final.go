package zksim

import (
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// final answers a request (FinalRequestProcessor). The answer to a write is the result of
// applying it. The answer to a read comes from this server's own state, however old that
// is.
func (s *server) final(r *request) {
	c := r.conn
	if c == nil || c.closed {
		return
	}

	code := r.code()
	if code == jute.CodeSessionMoved && !r.refused || r.anySub(jute.CodeSessionMoved) {
		// The session has moved to another server. This connection ends without an answer
		// (ZOOKEEPER-710).
		c.close()
		return
	}

	if r.op == jute.OpCreateSession {
		c.established(code == jute.CodeOK)
		return
	}
	var body func(*jute.Encoder)
	if code == jute.CodeOK {
		body, code = s.answer(r)
	}

	c.reply(r, code, body)
	if r.endsConnection(code) {
		c.close()
	}
}

func (r *request) code() jute.Code {
	switch {
	case r.err != jute.CodeOK:
		return r.err
	case r.result != nil && r.result.op != jute.OpMulti:
		return r.result.err
	case r.broken:
		return jute.CodeMarshallingError
	}
	return jute.CodeOK
}

func (r *request) anySub(code jute.Code) bool {
	return r.result != nil && slices.ContainsFunc(r.result.subs, func(sub result) bool { return sub.err == code })
}

// answer returns the body of a reply without an error.
func (s *server) answer(r *request) (func(*jute.Encoder), jute.Code) {
	switch r.op {
	case jute.OpCreate:
		return func(w *jute.Encoder) { w.Text(r.result.path) }, jute.CodeOK
	case jute.OpCreate2, jute.OpCreateContainer:
		return func(w *jute.Encoder) { w.Text(r.result.path); w.Stat(r.result.stat) }, jute.CodeOK
	case jute.OpSetData, jute.OpSetACL:
		return func(w *jute.Encoder) { w.Stat(r.result.stat) }, jute.CodeOK
	case jute.OpMulti:
		return r.result.multi, jute.CodeOK
	case jute.OpSync:
		return func(w *jute.Encoder) { w.Text(r.path) }, jute.CodeOK
	case jute.OpSetWatches, jute.OpSetWatches2:
		s.tree.rearm(r.conn, r.watches)
		return nil, jute.CodeOK
	case jute.OpExists, jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2, jute.OpGetACL:
		return s.read(r)
	case jute.OpAddWatch:
		return s.addWatch(r)
	case jute.OpCheckWatches, jute.OpRemoveWatches:
		return nil, s.ownWatches(r)
	case jute.OpGetEphemerals, jute.OpGetAllChildrenNumber, jute.OpWhoAmI, jute.OpMultiRead:
		return s.query(r)
	}
	return nil, jute.CodeOK // delete, check, ping, closeSession: their replies have no body
}

// multi is MultiResponse.serialize. The head of the reply reports success even if the
// multi failed.
func (m *result) multi(w *jute.Encoder) {
	for _, sub := range m.subs {
		w.MultiHeader(jute.MultiHeader{Op: sub.op, Code: sub.err})
		switch sub.op {
		case jute.OpError:
			w.Int32(int32(sub.err))
		case jute.OpCreate:
			w.Text(sub.path)
		case jute.OpCreate2, jute.OpCreateContainer:
			w.Text(sub.path)
			w.Stat(sub.stat)
		case jute.OpSetData:
			w.Stat(sub.stat)
		}
	}
	w.MultiEnd()
}

// read answers from the tree. It leaves a watch only if the read succeeds. exists is
// different: it also watches a node that is not there.
func (s *server) read(r *request) (func(*jute.Encoder), jute.Code) {
	if r.op == jute.OpExists {
		return s.exists(r)
	}
	n := s.tree.nodes[r.path]
	if n == nil {
		return nil, jute.CodeNoNode
	}

	perms := int32(zk.PermRead)
	if r.op == jute.OpGetACL {
		perms |= zk.PermAdmin
	}
	if !allowed(n.acl, perms, r.auth) {
		return nil, jute.CodeNoAuth
	}

	stat := n.stat()
	switch r.op {
	case jute.OpGetData:
		r.leaveWatch(s.tree.watches.dataTable)
		return func(w *jute.Encoder) { w.Bytes(n.data); w.Stat(stat) }, jute.CodeOK
	case jute.OpGetACL:
		acl := n.acl
		if !allowed(acl, zk.PermAdmin, r.auth) {
			acl = masked(acl)
		}
		return func(w *jute.Encoder) { w.ACLs(acl); w.Stat(stat) }, jute.CodeOK
	}

	r.leaveWatch(s.tree.watches.childTable)
	return func(w *jute.Encoder) {
		w.Texts(n.children)
		if r.op == jute.OpGetChildren2 {
			w.Stat(stat)
		}
	}, jute.CodeOK
}

func (r *request) leaveWatch(t watchTable) {
	if r.watch {
		t.add(r.path, r.conn)
	}
}

func (s *server) exists(r *request) (func(*jute.Encoder), jute.Code) {
	n := s.tree.nodes[r.path]
	switch {
	case strings.IndexByte(r.path, 0) >= 0:
		return nil, jute.CodeBadArguments
	case n != nil && !s.e.cfg.OpenExists && !allowed(n.acl, zk.PermRead, r.auth):
		return nil, jute.CodeNoAuth
	}
	r.leaveWatch(s.tree.watches.dataTable)
	if n == nil {
		return nil, jute.CodeNoNode
	}
	return func(w *jute.Encoder) { w.Stat(n.stat()) }, jute.CodeOK
}
