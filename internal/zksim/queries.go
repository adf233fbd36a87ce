package zksim

import (
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// query answers requests that no election sends, but a console or another client may
// (FinalRequestProcessor).
func (s *server) query(r *request) (func(*jute.Encoder), jute.Code) {
	switch r.op {
	case jute.OpGetEphemerals:
		own := s.tree.ephemeralsUnder(r.session, r.path)
		return func(w *jute.Encoder) { w.Texts(own) }, jute.CodeOK
	case jute.OpWhoAmI:
		return func(w *jute.Encoder) { writeClients(w, r.auth) }, jute.CodeOK
	case jute.OpMultiRead:
		return s.multiRead(r), jute.CodeOK
	}
	return s.allChildrenNumber(r)
}

// ephemeralsUnder returns a session's ephemeral nodes whose paths begin with prefix.
// prefix is a prefix of the string, and need not end at a slash. An empty prefix and the
// root stand for all nodes.
func (t *tree) ephemeralsUnder(session int64, prefix string) []string {
	all := t.owned(session)
	blank := strings.TrimFunc(prefix, func(c rune) bool { return c <= ' ' }) // String.trim
	if blank == "" || blank == "/" {
		return all
	}
	var some []string
	for _, p := range all {
		if strings.HasPrefix(p, prefix) {
			some = append(some, p)
		}
	}
	return some
}

// allChildrenNumber counts all nodes below the path. It needs READ only on the node at
// the path.
func (s *server) allChildrenNumber(r *request) (func(*jute.Encoder), jute.Code) {
	n := s.tree.nodes[r.path]
	switch {
	case n == nil:
		return nil, jute.CodeNoNode
	case !allowed(n.acl, zk.PermRead, r.auth):
		return nil, jute.CodeNoAuth
	}
	count := int32(0)
	for p := range s.tree.nodes {
		if p != "/" && (r.path == "/" || under(p, r.path)) {
			count++
		}
	}
	return func(w *jute.Encoder) { w.Int32(count) }, jute.CodeOK
}

// writeClients writes a WhoAmIResponse: the connection's identities, without the hashes
// of digests (AuthUtil.getClientInfos).
func writeClients(w *jute.Encoder, auth []zk.ACL) {
	w.Int32(int32(len(auth)))
	for _, id := range auth {
		user := id.ID
		if id.Scheme == "digest" {
			user, _, _ = strings.Cut(user, ":")
		}
		w.Text(id.Scheme)
		w.Text(user)
	}
}

// decodeMultiRead reads a MultiOperationRecord of reads. No read leaves a watch, even if
// it asks for one (Op.GetData, Op.GetChildren).
func (r *request) decodeMultiRead(d *jute.Decoder) {
	for d.Err == nil {
		h := d.MultiHeader()
		if h.Done || d.Err != nil {
			return
		}
		op := h.Op
		if op != jute.OpGetData && op != jute.OpGetChildren {
			d.Fail()
			return
		}
		sub := &request{server: r.server, conn: r.conn, session: r.session, xid: r.xid, op: op, auth: r.auth}
		sub.decodeBody(d)
		sub.watch = false
		r.subs = append(r.subs, sub)
	}
}

// multiRead answers each read separately. Unlike in a multi, one read can fail and others
// succeed.
func (s *server) multiRead(r *request) func(*jute.Encoder) {
	return func(w *jute.Encoder) {
		for _, sub := range r.subs {
			body, code := s.read(sub)
			if code != jute.CodeOK {
				w.MultiHeader(jute.MultiHeader{Op: jute.OpError, Code: code})
				w.Int32(int32(code))
				continue
			}
			w.MultiHeader(jute.MultiHeader{Op: sub.op})
			body(w)
		}
		w.MultiEnd()
	}
}
