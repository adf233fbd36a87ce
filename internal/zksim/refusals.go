package zksim

import (
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// ContainerSupport says how servers treat a request for a container.
type ContainerSupport int

const (
	// WithContainers makes the container.
	WithContainers ContainerSupport = iota
	// NoContainers answers UNIMPLEMENTED and ends the connection, as ZooKeeper before 3.5
	// (UnimplementedRequestProcessor).
	NoContainers
	// CutsForContainers ends the connection without an answer, as ClickHouse Keeper
	// before 2026.
	CutsForContainers
)

// knows reports whether a client may send the operation.
func (e *Ensemble) knows(op jute.Op) bool {
	return known(op) && (op != jute.OpCreateContainer || e.cfg.Containers == WithContainers)
}

// refuseUnknown refuses an operation that a client may not send, and ends the connection.
func (s *server) refuseUnknown(r *request) {
	if r.op != jute.OpCreateContainer || s.e.cfg.Containers != CutsForContainers {
		r.conn.reply(r, jute.CodeUnimplemented, nil)
	}
	r.conn.close()
}

// CreateFor is [Ensemble.Create] with an access control list.
func (e *Ensemble) CreateFor(path string, data []byte, acl []zk.ACL) error {
	return e.operate(&request{op: jute.OpCreate, path: path, data: data, acl: acl})
}

// SetACL changes a node's access control list as an operator, like [Ensemble.Delete].
func (e *Ensemble) SetACL(path string, acl []zk.ACL) error {
	return e.operate(&request{op: jute.OpSetACL, path: path, acl: acl, version: -1})
}

// Asked is a request that has reached a server.
type Asked struct {
	Server  int    // the id of the server
	Client  string // the client's name on the network
	Session int64
	Op      jute.Op
	Path    string // of a multi: the path of its first operation
}

// refusal is used by pointer, so that each one can be found again.
type refusal struct{ code func(Asked) jute.Code }

// Refuse calls f for every request, except for pings and for those that begin and end a
// session. If f returns another code than [jute.CodeOK], the request is not carried out.
// It is answered with the code in its turn, as an overloaded server does (THROTTLEDOP).
// After a refusal of credentials, and after SESSIONCLOSEDREQUIRESASLAUTH, the connection
// ends. remove unregisters f.
//
// f runs under the ensemble's lock and must not call the ensemble.
func (e *Ensemble) Refuse(f func(Asked) jute.Code) (remove func()) {
	r := &refusal{f}
	e.do(func() { e.refusals = append(e.refusals, r) })
	return func() {
		e.do(func() { e.refusals = slices.DeleteFunc(e.refusals, func(o *refusal) bool { return o == r }) })
	}
}

// refusal returns the code with which a client's request is refused, or [jute.CodeOK].
func (s *server) refusal(r *request) jute.Code {
	if r.conn == nil || r.op == jute.OpPing || r.op == jute.OpCreateSession || r.op == jute.OpCloseSession {
		return jute.CodeOK
	}
	a := Asked{Server: s.id, Client: r.conn.client, Session: r.session, Op: r.op, Path: r.path}
	if len(r.subs) > 0 {
		a.Path = r.subs[0].path
	}
	for _, h := range s.e.refusals {
		if code := h.code(a); code != jute.CodeOK {
			s.e.stats.RequestsRefused++
			return code
		}
	}
	return jute.CodeOK
}

// refuse answers a request with a code, after the earlier requests of its session.
// Credentials are answered at once.
func (s *server) refuse(r *request, code jute.Code) {
	r.err, r.refused = code, true
	if r.op == jute.OpAuth {
		s.final(r)
		return
	}
	s.enqueue(r)
}

// endsConnection reports whether a server hangs up after it has sent the code
// (AuthenticationHelper, ZooKeeperServer.processPacket).
func (r *request) endsConnection(code jute.Code) bool {
	return r.op == jute.OpCloseSession || r.refused && (r.op == jute.OpAuth || code == jute.CodeRequiresSASL)
}
