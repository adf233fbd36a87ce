package zksim

import "fmt"

// readBack finds a transaction that no server could read again. The transaction that ends
// a session contains the names of its ephemerals (CloseSessionTxn). But a server reads no
// record larger than jute.maxbuffer plus its extrasize, which is as much again
// (BinaryInputArchive). A server with such a record in its log does not start any more
// (ZOOKEEPER-4306). Here all servers crash at once, for good: see [Ensemble.Broken].
func (e *Ensemble) readBack(x *txn) {
	size := 4
	for _, path := range x.paths {
		size += 4 + len(path)
	}
	if size <= 2*e.cfg.MaxRequest || e.broken != nil {
		return
	}
	e.broken = fmt.Errorf("zksim: the transaction that ends session %#x has %d bytes of names: "+
		"no server can read its log again", x.session, size)
	e.at(e.now(), func() {
		for _, s := range e.servers {
			s.crash()
		}
	})
}

// Broken returns what has destroyed the ensemble, or nil if nothing has.
func (e *Ensemble) Broken() (err error) {
	e.do(func() { err = e.broken })
	return err
}
