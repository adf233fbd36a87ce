package zksim

import "github.com/go-zookeeper/zk"

// request is one client request on its way through a server, or one that the ensemble makes itself
// (expiry, container check, operator), which has no connection.
type request struct {
	server  *server // where it entered; only there is it answered
	conn    *conn   // nil when nobody waits for the answer
	session int64
	xid     int32
	op      Op
	owner   any // who brought it to the leader: a learner or the leader itself (Request.owner)
	auth    []zk.ACL
	trusted bool // the ensemble's own: neither session nor ACLs are checked

	path    string
	data    []byte
	acl     []zk.ACL
	flags   int32
	version int32
	watch   bool
	timeout int32 // createSession: in ms
	subs    []*request
	watches watchLists
	broken  bool // the record did not decode: MARSHALLINGERROR

	err    Code    // found before the quorum was asked (reads at the leader)
	result *result // what applying the transaction gave
}

// watchLists is the body of setWatches.
type watchLists struct {
	zxid               int64
	data, exist, child []string
}

// needsCommit reports whether the request waits in its session's queue for the ensemble
// (CommitProcessor.needCommit): writes everywhere, sync at learners only.
func (r *request) needsCommit() bool {
	return r.op.writes() || r.op == OpSync && r.server.lead == nil
}

// decode reads the body that belongs to r.op; unknown operations keep an empty body.
func (r *request) decode(d *decoder) {
	switch r.op {
	case OpMulti:
		r.decodeMulti(d)
	case OpSetWatches:
		r.watches = watchLists{zxid: d.int64(), data: d.strings(), exist: d.strings(), child: d.strings()}
	default:
		r.decodeBody(d)
	}
	r.broken = d.err != nil
}

// decodeBody reads the simple records, those that may also stand inside a multi.
func (r *request) decodeBody(d *decoder) {
	switch r.op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		r.path, r.data, r.acl, r.flags = d.string(), d.bytes(), d.acls(), d.int32()
		if r.op == OpCreateTTL {
			d.int64()
		}
	case OpDelete, OpCheck:
		r.path, r.version = d.string(), d.int32()
	case OpSetData:
		r.path, r.data, r.version = d.string(), d.bytes(), d.int32()
	case OpSetACL:
		r.path, r.acl, r.version = d.string(), d.acls(), d.int32()
	case OpExists, OpGetData, OpGetChildren, OpGetChildren2:
		r.path, r.watch = d.string(), d.bool()
	case OpGetACL, OpSync:
		r.path = d.string()
	}
}

// decodeMulti reads MultiOperationRecord: a header before each operation, the last one marked done.
// Inside a multi, and only there, the flags of a create decide its type (Op.Create.getOpcode).
func (r *request) decodeMulti(d *decoder) {
	for d.err == nil {
		op, done := Op(d.int32()), d.bool()
		d.int32()
		if done || d.err != nil {
			return
		}
		sub := &request{server: r.server, conn: r.conn, session: r.session, xid: r.xid, op: op,
			owner: r.owner, auth: r.auth, trusted: r.trusted}
		if !op.inMulti() {
			d.err = errShort
			return
		}
		sub.decodeBody(d)
		r.subs = append(r.subs, sub)
		if mode, _ := modeOf(sub.flags); mode.ttl {
			d.err = errShort // the original finds itself with the wrong class in hand
		} else if mode.container {
			sub.op = OpCreateContainer
		}
	}
}

// inMulti reports whether MultiOperationRecord.deserialize knows the operation.
func (o Op) inMulti() bool {
	switch o {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL, OpDelete, OpSetData, OpCheck:
		return true
	}
	return false
}

// known reports whether Request.isValid accepts the operation from a client.
func (o Op) known() bool {
	switch o {
	case OpExists, OpGetData, OpGetACL, OpGetChildren, OpGetChildren2, OpSync, OpPing, OpSetWatches:
		return true
	case OpCreateSession, opDeleteContainer:
		return false
	}
	return o.writes()
}

// createMode is what CreateMode.fromFlag makes of a create's flags.
type createMode struct{ ephemeral, sequential, container, ttl bool }

func modeOf(flags int32) (createMode, Code) {
	switch flags {
	case zk.FlagPersistent:
		return createMode{}, CodeOK
	case zk.FlagEphemeral:
		return createMode{ephemeral: true}, CodeOK
	case zk.FlagSequence:
		return createMode{sequential: true}, CodeOK
	case zk.FlagEphemeralSequential:
		return createMode{ephemeral: true, sequential: true}, CodeOK
	case zk.FlagContainer:
		return createMode{container: true}, CodeOK
	case zk.FlagTTL:
		return createMode{ttl: true}, CodeOK
	case zk.FlagPersistentSequentialWithTTL:
		return createMode{ttl: true, sequential: true}, CodeOK
	}
	return createMode{}, CodeBadArguments
}
