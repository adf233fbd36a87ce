package zksim

import (
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
)

// final answers a request (FinalRequestProcessor): writes from what applying them gave, reads from
// this server's own state, however old it is.
func (s *server) final(r *request) {
	c := r.conn
	if c == nil || c.closed {
		return
	}
	code := r.code()
	if code == CodeSessionMoved || r.anySub(CodeSessionMoved) {
		// The client lives elsewhere by now: no answer, but the end of this connection (ZOOKEEPER-710).
		c.close()
		return
	}
	if r.op == OpCreateSession {
		c.established(code == CodeOK)
		return
	}
	var body func(*encoder)
	if code == CodeOK {
		body, code = s.answer(r)
	}
	c.reply(r, code, body)
	if r.op == OpCloseSession {
		c.close()
	}
}

func (r *request) code() Code {
	switch {
	case r.err != CodeOK:
		return r.err
	case r.result != nil && r.result.op != OpMulti:
		return r.result.err
	case r.broken:
		return CodeMarshallingError
	}
	return CodeOK
}

func (r *request) anySub(code Code) bool {
	return r.result != nil && slices.ContainsFunc(r.result.subs, func(sub result) bool { return sub.err == code })
}

// answer gives the body of a reply without error.
func (s *server) answer(r *request) (func(*encoder), Code) {
	switch r.op {
	case OpCreate:
		return func(w *encoder) { w.string(r.result.path) }, CodeOK
	case OpCreate2, OpCreateContainer:
		return func(w *encoder) { w.string(r.result.path); w.stat(r.result.stat) }, CodeOK
	case OpSetData, OpSetACL:
		return func(w *encoder) { w.stat(r.result.stat) }, CodeOK
	case OpMulti:
		return r.result.multi, CodeOK
	case OpSync:
		return func(w *encoder) { w.string(r.path) }, CodeOK
	case OpSetWatches:
		s.tree.rearm(r.conn, r.watches)
		return nil, CodeOK
	case OpExists, OpGetData, OpGetChildren, OpGetChildren2, OpGetACL:
		return s.read(r)
	}
	return nil, CodeOK // delete, check, ping, closeSession: the header says it all
}

// multi is MultiResponse.serialize. The reply's own header says success even if the multi failed.
func (m *result) multi(w *encoder) {
	for _, sub := range m.subs {
		w.int32(int32(sub.op))
		w.bool(false)
		w.int32(int32(sub.err))
		switch sub.op {
		case opError:
			w.int32(int32(sub.err))
		case OpCreate:
			w.string(sub.path)
		case OpCreate2, OpCreateContainer:
			w.string(sub.path)
			w.stat(sub.stat)
		case OpSetData:
			w.stat(sub.stat)
		}
	}
	w.int32(-1)
	w.bool(true)
	w.int32(-1)
}

// read answers from the tree. A watch is left only where the read succeeded, but for exists, which
// watches what is not there.
func (s *server) read(r *request) (func(*encoder), Code) {
	if r.op == OpExists {
		return s.exists(r)
	}
	n := s.tree.nodes[r.path]
	if n == nil {
		return nil, CodeNoNode
	}
	perms := int32(zk.PermRead)
	if r.op == OpGetACL {
		perms |= zk.PermAdmin
	}
	if !allowed(n.acl, perms, r.auth) {
		return nil, CodeNoAuth
	}
	stat := n.stat()
	switch r.op {
	case OpGetData:
		r.leaveWatch(s.tree.watches.dataTable)
		return func(w *encoder) { w.bytes(n.data); w.stat(stat) }, CodeOK
	case OpGetACL:
		acl := n.acl
		if !allowed(acl, zk.PermAdmin, r.auth) {
			acl = masked(acl)
		}
		return func(w *encoder) { w.acls(acl); w.stat(stat) }, CodeOK
	}
	r.leaveWatch(s.tree.watches.childTable)
	return func(w *encoder) {
		w.strings(n.children)
		if r.op == OpGetChildren2 {
			w.stat(stat)
		}
	}, CodeOK
}

func (r *request) leaveWatch(t watchTable) {
	if r.watch {
		t.add(r.path, r.conn)
	}
}

func (s *server) exists(r *request) (func(*encoder), Code) {
	n := s.tree.nodes[r.path]
	switch {
	case strings.IndexByte(r.path, 0) >= 0:
		return nil, CodeBadArguments
	case n != nil && !allowed(n.acl, zk.PermRead, r.auth):
		return nil, CodeNoAuth
	}
	r.leaveWatch(s.tree.watches.dataTable)
	if n == nil {
		return nil, CodeNoNode
	}
	return func(w *encoder) { w.stat(n.stat()) }, CodeOK
}
