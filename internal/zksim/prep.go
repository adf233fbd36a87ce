package zksim

import (
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// prepare turns a request into a transaction (PrepRequestProcessor.pRequest). It decides
// by the leader's outlook, which is the state after all its proposals. A refusal is also
// a transaction: it takes a zxid and goes through the quorum.
func (l *leadership) prepare(r *request) *txn {
	l.zxid++
	x := &txn{zxid: l.zxid, time: l.server.e.wallMs(), session: r.session, op: r.op, request: r}
	if r.server != nil {
		x.entrance = r.server.incarnation
	}
	code := jute.CodeMarshallingError
	switch {
	case r.broken:
	case r.op == jute.OpMulti:
		l.prepareMulti(r, x)
		return x
	default:
		code = l.prepareOne(r, x)
	}
	if code != jute.CodeOK {
		x.op, x.err = jute.OpError, code
	}
	return x
}

// prepareMulti prepares the operations of a multi. The results of a failed multi are the
// original's (DataTree.processTxn): 0 for the operations before the failed one, its code,
// and RUNTIMEINCONSISTENCY for the operations after it.
func (l *leadership) prepareMulti(r *request, x *txn) {
	l.outlook.record()

	failed := jute.CodeOK
	for i, sub := range r.subs {
		y := &txn{zxid: x.zxid, time: x.time, session: x.session, op: sub.op}
		x.subs = append(x.subs, y)
		if failed != jute.CodeOK {
			y.op, y.err = jute.OpError, jute.CodeRuntimeInconsistency
			continue
		}
		sub.owner = r.owner
		if failed = l.prepareOne(sub, y); failed != jute.CodeOK {
			y.op, y.err = jute.OpError, failed
			for _, before := range x.subs[:i] {
				*before = txn{op: jute.OpError}
			}
		}
	}

	if failed != jute.CodeOK {
		l.outlook.rollback()
	}
	l.outlook.keep()
}

// prepareOne fills in x and applies it to the outlook.
func (l *leadership) prepareOne(r *request, x *txn) jute.Code {
	var code jute.Code
	switch r.op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL:
		return l.prepareCreate(r, x)
	case jute.OpDelete:
		code = l.prepareDelete(r, x)
	case jute.OpDeleteContainer:
		code = l.prepareDeleteContainer(r, x)
	case jute.OpSetData:
		code = l.prepareSet(r, x)
	case jute.OpSetACL:
		code = l.prepareSetACL(r, x)
	case jute.OpCheck:
		_, code = l.versioned(r, zk.PermRead, func(n *znode) int32 { return n.version })
	case jute.OpReconfig:
		code = jute.CodeReconfigDisabled // reconfigEnabled is false unless configured
	case jute.OpCreateSession:
		x.timeout = r.timeout
		l.tracker.track(r.session, r.timeout, r.owner)
	case jute.OpCloseSession:
		x.paths = l.outlook.owned(r.session)
		l.tracker.close(r.session)
	}

	if code == jute.CodeOK {
		l.outlook.apply(x)
	}
	return code
}

// session is SessionTracker.checkSession. It comes before all checks of the path.
func (l *leadership) session(r *request) jute.Code {
	if r.trusted {
		return jute.CodeOK
	}
	return l.tracker.check(r.session, r.owner)
}

func (r *request) may(acl []zk.ACL, perms int32) bool {
	return r.trusted || allowed(acl, perms, r.auth)
}

// prepareCreate follows pRequest2TxnCreate check by check, because the order of the
// errors is part of the protocol.
func (l *leadership) prepareCreate(r *request, x *txn) jute.Code {
	mode, code := l.checkCreate(r)
	if code != jute.CodeOK {
		return code
	}
	parentPath, _, ok := parentOf(r.path)
	if !ok {
		return jute.CodeBadArguments
	}
	if x.acl, code = fixACL(r.acl, r.auth); code != jute.CodeOK {
		return code
	}

	parent := l.outlook.nodes[parentPath]
	if parent == nil {
		return jute.CodeNoNode
	}
	if !r.may(parent.acl, zk.PermCreate) {
		return jute.CodeNoAuth
	}

	x.path, x.data = r.path, r.data
	if mode.sequential {
		// Java's and Go's "%010d" agree on negative numbers, too: the sign takes one of
		// the ten places.
		x.path += fmt.Sprintf("%010d", parent.cversion)
	}
	switch {
	case !validPath(x.path):
		return jute.CodeBadArguments
	case l.outlook.nodes[x.path] != nil:
		return jute.CodeNodeExists
	case parent.owner != 0 && parent.owner != containerOwner:
		return jute.CodeNoChildrenForEphemerals
	}

	x.owner = mode.owner(r)
	x.version = parent.cversion + 1
	l.outlook.apply(x)
	l.countCreate(parent, x)
	return jute.CodeOK
}

func (l *leadership) checkCreate(r *request) (createMode, jute.Code) {
	mode, code := modeOf(r.flags)
	switch {
	case code != jute.CodeOK:
	case mode.ttl:
		code = jute.CodeUnimplemented // unless extended types are enabled, which by default they are not
	case r.op == jute.OpCreateTTL:
		code = jute.CodeBadArguments
	default:
		code = l.session(r)
	}
	return mode, code
}

func (m createMode) owner(r *request) int64 {
	switch {
	case r.op == jute.OpCreateContainer:
		return containerOwner
	case m.ephemeral:
		return r.session
	}
	return 0
}

// countCreate increments the parent's counter in the outlook, even if the tree will not:
// DataTree.createNode drops a counter that wrapped to negative. The original's change
// records do the same until the transaction is applied; see reconcile.
func (l *leadership) countCreate(parent *znode, x *txn) {
	cversion, changed := parent.cversion, parent.changed
	l.outlook.onRollback(func() { parent.cversion, parent.changed = cversion, changed })
	parent.cversion, parent.changed = x.version, x.zxid
}

// reconcile drops a pending change once it is applied. From then on the original reads
// the tree again. The difference shows only in a counter past 2^31-1: pending creates see
// it wrap, and later ones find it full.
func (l *leadership) reconcile(x *txn) {
	x.created(func(c *txn) {
		path, _, _ := parentOf(c.path)
		pending, real := l.outlook.nodes[path], l.server.tree.nodes[path]
		if pending != nil && real != nil && pending.changed == x.zxid {
			pending.cversion = real.cversion
		}
	})
}

func (l *leadership) prepareDelete(r *request, x *txn) jute.Code {
	if code := l.session(r); code != jute.CodeOK {
		return code
	}
	parentPath, _, ok := parentOf(r.path)
	if !ok || special(r.path) {
		return jute.CodeBadArguments
	}

	parent, n := l.outlook.nodes[parentPath], l.outlook.nodes[r.path]
	switch {
	case parent == nil:
		return jute.CodeNoNode
	case !r.may(parent.acl, zk.PermDelete):
		return jute.CodeNoAuth
	case n == nil:
		return jute.CodeNoNode
	case r.version != -1 && r.version != n.version:
		return jute.CodeBadVersion
	case len(n.children) > 0:
		return jute.CodeNotEmpty
	}
	x.path = r.path
	return jute.CodeOK
}

func (l *leadership) prepareDeleteContainer(r *request, x *txn) jute.Code {
	n := l.outlook.nodes[r.path]
	switch {
	case n == nil:
		return jute.CodeNoNode
	case len(n.children) > 0:
		return jute.CodeNotEmpty
	case n.owner != 0 && n.owner != containerOwner:
		return jute.CodeBadVersion
	}
	x.path = r.path
	return jute.CodeOK
}

func (l *leadership) prepareSet(r *request, x *txn) jute.Code {
	n, code := l.versioned(r, zk.PermWrite, func(n *znode) int32 { return n.version })
	if code == jute.CodeOK {
		x.path, x.data, x.version = r.path, r.data, n.version+1
	}
	return code
}

func (l *leadership) prepareSetACL(r *request, x *txn) jute.Code {
	if code := l.session(r); code != jute.CodeOK {
		return code
	}
	if !validPath(r.path) {
		return jute.CodeBadArguments
	}
	acl, code := fixACL(r.acl, r.auth)
	if code != jute.CodeOK {
		return code
	}
	n, code := l.versioned(r, zk.PermAdmin, func(n *znode) int32 { return n.aversion })
	if code == jute.CodeOK {
		x.path, x.acl, x.version = r.path, slices.Clone(acl), n.aversion+1
	}
	return code
}

// versioned makes the checks that setData, setACL and check have in common.
func (l *leadership) versioned(r *request, perms int32, version func(*znode) int32) (*znode, jute.Code) {
	if code := l.session(r); code != jute.CodeOK {
		return nil, code
	}
	if !validPath(r.path) {
		return nil, jute.CodeBadArguments
	}
	n := l.outlook.nodes[r.path]
	switch {
	case n == nil:
		return nil, jute.CodeNoNode
	case !r.may(n.acl, perms):
		return nil, jute.CodeNoAuth
	case r.version != -1 && r.version != version(n):
		return nil, jute.CodeBadVersion
	}
	return n, jute.CodeOK
}
