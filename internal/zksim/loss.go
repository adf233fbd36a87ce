package zksim

import "maps"

// Backup is the data of an ensemble at one moment.
type Backup struct {
	tree     *tree
	zxid     int64
	epoch    int64
	sessions map[int64]int32
}

// Backup returns the data of the most advanced server, with its sessions, like a copy of
// its disk.
func (e *Ensemble) Backup() (b *Backup) {
	e.do(func() {
		s := e.mostAdvanced()
		b = &Backup{s.tree.clone(), s.applied.txn.zxid, s.epoch, maps.Clone(s.sessions)}
	})
	return b
}

// Wipe stops all servers, removes their data, and starts them again, as if their volumes
// had not been mounted. Crashed servers start, too.
func (e *Ensemble) Wipe() {
	e.do(func() { e.restore(&Backup{tree: newTree(), sessions: map[int64]int32{}}) })
}

// Rollback stops all servers, replaces their data by a backup, and starts them again. The
// new leader starts the timers of the sessions in the backup.
func (e *Ensemble) Rollback(b *Backup) { e.do(func() { e.restore(b) }) }

func (e *Ensemble) restore(b *Backup) {
	for _, s := range e.servers {
		s.frozen, s.backlog = false, nil
		s.crashed = true // so that no server follows it meanwhile
		s.retire()
		s.incarnation++
	}
	root := &entry{txn: &txn{zxid: b.zxid}}
	e.epoch = b.epoch
	for _, s := range e.servers {
		s.tree = b.tree.clone()
		s.tree.watches = newWatches()
		s.applied, s.processed, s.tail, s.flushed = root, b.zxid, nil, b.zxid
		s.sessions = maps.Clone(b.sessions)
		s.promised, s.epoch = b.epoch, b.epoch
		s.crashed = false
		s.reset()
	}
	e.elect()
}
