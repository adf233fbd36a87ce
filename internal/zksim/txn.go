package zksim

import (
	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// txn is a transaction in the log (org.apache.zookeeper.txn). It holds what was decided
// and not what was requested, so that every server gets the same state.
type txn struct {
	zxid    int64
	time    int64 // ms since the epoch, the leader's clock
	session int64
	op      jute.Op
	err     jute.Code // if op is OpError

	path     string
	data     []byte
	acl      []zk.ACL
	owner    int64 // create: ephemeralOwner
	version  int32 // create: the parent's new cversion; setData, setACL: the new version
	timeout  int32 // createSession
	paths    []string
	subs     []*txn
	request  *request // the request, for the one server that will answer it
	entrance int      // the incarnation of that server: if it has crashed since, it does not answer
}

// result is what a server found when it applied a transaction
// (DataTree.ProcessTxnResult).
type result struct {
	op   jute.Op
	err  jute.Code
	path string
	stat zk.Stat
	subs []result
}

// apply carries the transaction out (DataTree.processTxn). It cannot fail if the leader's
// outlook was right. The codes are kept for the reply.
func (t *tree) apply(x *txn) result {
	r := result{op: x.op, path: x.path, err: x.err}
	switch x.op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer:
		n := &znode{czxid: x.zxid, mzxid: x.zxid, pzxid: x.zxid, ctime: x.time, mtime: x.time,
			owner: x.owner, data: x.data, acl: x.acl}
		r.err = t.create(x.path, n, x.version)
		r.stat = n.stat()
	case jute.OpDelete, jute.OpDeleteContainer:
		r.err = t.delete(x.path, x.zxid)
	case jute.OpSetData:
		r.stat, r.err = t.set(x.path, x.data, x.version, x.zxid, x.time)
	case jute.OpSetACL:
		r.stat, r.err = t.setACL(x.path, x.acl, x.version)
	case jute.OpCloseSession:
		for _, p := range append(x.paths, t.owned(x.session)...) {
			t.delete(p, x.zxid)
		}
	case jute.OpMulti:
		for _, sub := range x.subs {
			r.subs = append(r.subs, t.apply(sub))
		}
	}
	return r
}

// created calls visit for each create of a transaction.
func (x *txn) created(visit func(*txn)) {
	switch x.op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer:
		visit(x)
	case jute.OpMulti:
		for _, sub := range x.subs {
			sub.created(visit)
		}
	}
}
