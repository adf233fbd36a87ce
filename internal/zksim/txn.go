package zksim

import "github.com/go-zookeeper/zk"

// txn is a transaction as it stands in the log: what was decided, not what was asked, so that every
// server comes to the same state (org.apache.zookeeper.txn).
type txn struct {
	zxid    int64
	time    int64 // ms since the epoch, the leader's clock
	session int64
	op      Op
	err     Code // opError

	path     string
	data     []byte
	acl      []zk.ACL
	owner    int64 // create: ephemeralOwner
	version  int32 // create: the parent's new cversion; setData, setACL: the new version
	timeout  int32 // createSession
	paths    []string
	subs     []*txn
	request  *request // whose request it was, for the one server that will answer it
	entrance int      // that server's incarnation: one that crashed meanwhile answers nobody
}

// result is what a server found when it applied a transaction (DataTree.ProcessTxnResult).
type result struct {
	op   Op
	err  Code
	path string
	stat zk.Stat
	subs []result
}

// apply carries the transaction out (DataTree.processTxn). It cannot fail where the leader's
// outlook was right; codes are kept for the sake of the reply.
func (t *tree) apply(x *txn) result {
	r := result{op: x.op, path: x.path, err: x.err}
	switch x.op {
	case OpCreate, OpCreate2, OpCreateContainer:
		n := &znode{czxid: x.zxid, mzxid: x.zxid, pzxid: x.zxid, ctime: x.time, mtime: x.time,
			owner: x.owner, data: x.data, acl: x.acl}
		r.err = t.create(x.path, n, x.version)
		r.stat = n.stat()
	case OpDelete, opDeleteContainer:
		r.err = t.delete(x.path, x.zxid)
	case OpSetData:
		r.stat, r.err = t.set(x.path, x.data, x.version, x.zxid, x.time)
	case OpSetACL:
		r.stat, r.err = t.setACL(x.path, x.acl, x.version)
	case OpCloseSession:
		for _, p := range append(x.paths, t.owned(x.session)...) {
			t.delete(p, x.zxid)
		}
	case OpMulti:
		for _, sub := range x.subs {
			r.subs = append(r.subs, t.apply(sub))
		}
	}
	return r
}

// created walks the creates of a transaction.
func (x *txn) created(visit func(*txn)) {
	switch x.op {
	case OpCreate, OpCreate2, OpCreateContainer:
		visit(x)
	case OpMulti:
		for _, sub := range x.subs {
			sub.created(visit)
		}
	}
}
