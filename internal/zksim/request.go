package zksim

import (
	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// request is one client request on its way through a server. The ensemble also makes
// requests itself, without a connection (expiry, container check, operator).
type request struct {
	server  *server // where it entered; only this server answers it
	conn    *conn   // nil if no answer is needed
	session int64
	xid     int32
	op      jute.Op
	owner   any // what brought it to the leader: a learner or the leader itself (Request.owner)
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
	refused bool // answered with err and not carried out: see Ensemble.Refuse

	err    jute.Code // found before the quorum was asked (reads at the leader)
	result *result   // of applying the transaction
}

// watchLists is the body of setWatches and setWatches2.
type watchLists struct {
	zxid               int64
	data, exist, child []string

	persistent, recursive []string // setWatches2 only
}

// needsCommit reports whether the request waits in its session's queue for the ensemble
// (CommitProcessor.needCommit). Writes do at every server, and sync only at learners.
func (r *request) needsCommit() bool {
	return !r.refused && (writes(r.op) || r.op == jute.OpSync && r.server.lead == nil)
}

// decode reads the body of the request's operation. Unknown operations keep an empty
// body.
func (r *request) decode(d *jute.Decoder) {
	switch r.op {
	case jute.OpMulti:
		r.decodeMulti(d)
	case jute.OpMultiRead:
		r.decodeMultiRead(d)
	case jute.OpSetWatches, jute.OpSetWatches2:
		r.watches = watchLists{zxid: d.Int64(), data: d.Texts(), exist: d.Texts(), child: d.Texts()}
		if r.op == jute.OpSetWatches2 {
			r.watches.persistent, r.watches.recursive = d.Texts(), d.Texts()
		}
	default:
		r.decodeBody(d)
	}
	r.broken = d.Err != nil
}

// decodeBody reads the simple records, which may also be part of a multi.
func (r *request) decodeBody(d *jute.Decoder) {
	switch r.op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		r.path, r.data, r.acl, r.flags = d.Text(), d.Bytes(), d.ACLs(), d.Int32()
		if r.op == jute.OpCreateTTL {
			d.Int64()
		}
	case jute.OpDelete, jute.OpCheck:
		r.path, r.version = d.Text(), d.Int32()
	case jute.OpSetData:
		r.path, r.data, r.version = d.Text(), d.Bytes(), d.Int32()
	case jute.OpSetACL:
		r.path, r.acl, r.version = d.Text(), d.ACLs(), d.Int32()
	case jute.OpExists, jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2:
		r.path, r.watch = d.Text(), d.Bool()
	case jute.OpGetACL, jute.OpSync, jute.OpGetEphemerals, jute.OpGetAllChildrenNumber:
		r.path = d.Text()
	case jute.OpAddWatch, jute.OpCheckWatches, jute.OpRemoveWatches:
		r.path, r.flags = d.Text(), d.Int32()
	case jute.OpReconfig:
		_, _, _, _ = d.Text(), d.Text(), d.Text(), d.Int64()
	}
}

// decodeMulti reads a MultiOperationRecord: a header before each operation, and a last
// header with an end mark. Only in a multi, the flags of a create decide its type
// (Op.Create.getOpcode).
func (r *request) decodeMulti(d *jute.Decoder) {
	for d.Err == nil {
		h := d.MultiHeader()
		if h.Done || d.Err != nil {
			return
		}
		op := h.Op

		sub := &request{server: r.server, conn: r.conn, session: r.session, xid: r.xid, op: op,
			owner: r.owner, auth: r.auth, trusted: r.trusted}
		if !inMulti(op) {
			d.Fail()
			return
		}
		sub.decodeBody(d)
		r.subs = append(r.subs, sub)
		if mode, _ := modeOf(sub.flags); mode.ttl {
			d.Fail() // the original fails with the wrong class
		} else if mode.container {
			sub.op = jute.OpCreateContainer
		}
	}
}

// inMulti reports whether MultiOperationRecord.deserialize knows the operation.
func inMulti(op jute.Op) bool {
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL, jute.OpDelete, jute.OpSetData,
		jute.OpCheck:
		return true
	}
	return false
}

// known reports whether Request.isValid accepts the operation from a client.
func known(op jute.Op) bool {
	switch op {
	case jute.OpExists, jute.OpGetData, jute.OpGetACL, jute.OpGetChildren, jute.OpGetChildren2, jute.OpSync,
		jute.OpPing, jute.OpSetWatches, jute.OpSetWatches2,
		jute.OpAddWatch, jute.OpCheckWatches, jute.OpRemoveWatches, jute.OpGetEphemerals, jute.OpGetAllChildrenNumber,
		jute.OpWhoAmI, jute.OpMultiRead:
		return true
	case jute.OpCreateSession, jute.OpDeleteContainer,
		jute.OpCheck: // a client may send it only in a multi (3.8.5, 3.9.3)
		return false
	}
	return writes(op)
}

// createMode is the meaning of a create's flags (CreateMode.fromFlag).
type createMode struct{ ephemeral, sequential, container, ttl bool }

func modeOf(flags int32) (createMode, jute.Code) {
	switch flags {
	case zk.FlagPersistent:
		return createMode{}, jute.CodeOK
	case zk.FlagEphemeral:
		return createMode{ephemeral: true}, jute.CodeOK
	case zk.FlagSequence:
		return createMode{sequential: true}, jute.CodeOK
	case zk.FlagEphemeralSequential:
		return createMode{ephemeral: true, sequential: true}, jute.CodeOK
	case zk.FlagContainer:
		return createMode{container: true}, jute.CodeOK
	case zk.FlagTTL:
		return createMode{ttl: true}, jute.CodeOK
	case zk.FlagPersistentSequentialWithTTL:
		return createMode{ttl: true, sequential: true}, jute.CodeOK
	}
	return createMode{}, jute.CodeBadArguments
}
