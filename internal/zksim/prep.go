package zksim

import (
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"
)

// prepare turns a request into a transaction (PrepRequestProcessor.pRequest). It is decided on the
// leader's outlook, the state that all its proposals will lead to. A refusal is a transaction too:
// it takes a zxid and goes through the quorum.
func (l *leadership) prepare(r *request) *txn {
	l.zxid++
	x := &txn{zxid: l.zxid, time: l.server.e.wallMs(), session: r.session, op: r.op, request: r}
	if r.server != nil {
		x.entrance = r.server.incarnation
	}
	code := CodeMarshallingError
	switch {
	case r.broken:
	case r.op == OpMulti:
		l.prepareMulti(r, x)
		return x
	default:
		code = l.prepareOne(r, x)
	}
	if code != CodeOK {
		x.op, x.err = opError, code
	}
	return x
}

// prepareMulti answers a failed multi as the original does: 0 for the operations before the one
// that failed, its code, RUNTIMEINCONSISTENCY for those after it (DataTree.processTxn).
func (l *leadership) prepareMulti(r *request, x *txn) {
	l.outlook.record()
	failed := CodeOK
	for i, sub := range r.subs {
		y := &txn{zxid: x.zxid, time: x.time, session: x.session, op: sub.op}
		x.subs = append(x.subs, y)
		if failed != CodeOK {
			y.op, y.err = opError, CodeRuntimeInconsistency
			continue
		}
		sub.owner = r.owner
		if failed = l.prepareOne(sub, y); failed != CodeOK {
			y.op, y.err = opError, failed
			for _, before := range x.subs[:i] {
				*before = txn{op: opError}
			}
		}
	}
	if failed != CodeOK {
		l.outlook.rollback()
	}
	l.outlook.keep()
}

// prepareOne fills in x and applies it to the outlook.
func (l *leadership) prepareOne(r *request, x *txn) Code {
	var code Code
	switch r.op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		return l.prepareCreate(r, x)
	case OpDelete:
		code = l.prepareDelete(r, x)
	case opDeleteContainer:
		code = l.prepareDeleteContainer(r, x)
	case OpSetData:
		code = l.prepareSet(r, x)
	case OpSetACL:
		code = l.prepareSetACL(r, x)
	case OpCheck:
		_, code = l.versioned(r, zk.PermRead, func(n *znode) int32 { return n.version })
	case OpCreateSession:
		x.timeout = r.timeout
		l.tracker.track(r.session, r.timeout, r.owner)
	case OpCloseSession:
		x.paths = l.outlook.owned(r.session)
		l.tracker.close(r.session)
	}
	if code == CodeOK {
		l.outlook.apply(x)
	}
	return code
}

// session is SessionTracker.checkSession, which comes before anything about the path.
func (l *leadership) session(r *request) Code {
	if r.trusted {
		return CodeOK
	}
	return l.tracker.check(r.session, r.owner)
}

func (r *request) may(acl []zk.ACL, perms int32) bool {
	return r.trusted || allowed(acl, perms, r.auth)
}

// prepareCreate follows pRequest2TxnCreate check by check: which error comes first is part of the
// protocol.
func (l *leadership) prepareCreate(r *request, x *txn) Code {
	mode, code := l.checkCreate(r)
	if code != CodeOK {
		return code
	}
	parentPath, _, ok := parentOf(r.path)
	if !ok {
		return CodeBadArguments
	}
	if x.acl, code = fixACL(r.acl, r.auth); code != CodeOK {
		return code
	}
	parent := l.outlook.nodes[parentPath]
	if parent == nil {
		return CodeNoNode
	}
	if !r.may(parent.acl, zk.PermCreate) {
		return CodeNoAuth
	}
	x.path, x.data = r.path, r.data
	if mode.sequential {
		// Java's "%010d" and Go's agree, also on negative numbers: the sign takes one of the ten places.
		x.path += fmt.Sprintf("%010d", parent.cversion)
	}
	switch {
	case !validPath(x.path):
		return CodeBadArguments
	case l.outlook.nodes[x.path] != nil:
		return CodeNodeExists
	case parent.owner != 0 && parent.owner != containerOwner:
		return CodeNoChildrenForEphemerals
	}
	x.owner = mode.owner(r)
	x.version = parent.cversion + 1
	l.outlook.apply(x)
	l.countCreate(parent, x)
	return CodeOK
}

func (l *leadership) checkCreate(r *request) (createMode, Code) {
	mode, code := modeOf(r.flags)
	switch {
	case code != CodeOK:
	case mode.ttl:
		code = CodeUnimplemented // unless extended types are enabled, which by default they are not
	case r.op == OpCreateTTL:
		code = CodeBadArguments
	default:
		code = l.session(r)
	}
	return mode, code
}

func (m createMode) owner(r *request) int64 {
	switch {
	case r.op == OpCreateContainer:
		return containerOwner
	case m.ephemeral:
		return r.session
	}
	return 0
}

// countCreate moves the parent's counter on in the outlook even where the tree will not
// (DataTree.createNode drops a counter that wrapped to negative): so do the original's change
// records, until the transaction is applied; see reconcile.
func (l *leadership) countCreate(parent *znode, x *txn) {
	cversion, changed := parent.cversion, parent.changed
	l.outlook.onRollback(func() { parent.cversion, parent.changed = cversion, changed })
	parent.cversion, parent.changed = x.version, x.zxid
}

// reconcile drops a pending change once it is applied: from then on the original looks at the tree
// again. Only a counter past 2^31-1 can tell the difference: creates in flight see it wrap, later
// ones find it full.
func (l *leadership) reconcile(x *txn) {
	x.created(func(c *txn) {
		path, _, _ := parentOf(c.path)
		pending, real := l.outlook.nodes[path], l.server.tree.nodes[path]
		if pending != nil && real != nil && pending.changed == x.zxid {
			pending.cversion = real.cversion
		}
	})
}

func (l *leadership) prepareDelete(r *request, x *txn) Code {
	if code := l.session(r); code != CodeOK {
		return code
	}
	parentPath, _, ok := parentOf(r.path)
	if !ok || special(r.path) {
		return CodeBadArguments
	}
	parent, n := l.outlook.nodes[parentPath], l.outlook.nodes[r.path]
	switch {
	case parent == nil:
		return CodeNoNode
	case !r.may(parent.acl, zk.PermDelete):
		return CodeNoAuth
	case n == nil:
		return CodeNoNode
	case r.version != -1 && r.version != n.version:
		return CodeBadVersion
	case len(n.children) > 0:
		return CodeNotEmpty
	}
	x.path = r.path
	return CodeOK
}

func (l *leadership) prepareDeleteContainer(r *request, x *txn) Code {
	n := l.outlook.nodes[r.path]
	switch {
	case n == nil:
		return CodeNoNode
	case len(n.children) > 0:
		return CodeNotEmpty
	case n.owner != 0 && n.owner != containerOwner:
		return CodeBadVersion
	}
	x.path = r.path
	return CodeOK
}

func (l *leadership) prepareSet(r *request, x *txn) Code {
	n, code := l.versioned(r, zk.PermWrite, func(n *znode) int32 { return n.version })
	if code == CodeOK {
		x.path, x.data, x.version = r.path, r.data, n.version+1
	}
	return code
}

func (l *leadership) prepareSetACL(r *request, x *txn) Code {
	if code := l.session(r); code != CodeOK {
		return code
	}
	if !validPath(r.path) {
		return CodeBadArguments
	}
	acl, code := fixACL(r.acl, r.auth)
	if code != CodeOK {
		return code
	}
	n, code := l.versioned(r, zk.PermAdmin, func(n *znode) int32 { return n.aversion })
	if code == CodeOK {
		x.path, x.acl, x.version = r.path, slices.Clone(acl), n.aversion+1
	}
	return code
}

// versioned holds the checks that setData, setACL and check share.
func (l *leadership) versioned(r *request, perms int32, version func(*znode) int32) (*znode, Code) {
	if code := l.session(r); code != CodeOK {
		return nil, code
	}
	if !validPath(r.path) {
		return nil, CodeBadArguments
	}
	n := l.outlook.nodes[r.path]
	switch {
	case n == nil:
		return nil, CodeNoNode
	case !r.may(n.acl, perms):
		return nil, CodeNoAuth
	case r.version != -1 && r.version != version(n):
		return nil, CodeBadVersion
	}
	return n, CodeOK
}
