// Package beat is fast failover: a candidate shows again and again that it is alive, so the
// next in line can replace it long before its session expires.
//
// T is the session timeout. A candidate with fast failover publishes a time S in the
// metadata of its znode. If it gives no sign of life for S, it may be replaced. The two
// candidates at the front of the line beat: each writes its own znode every S/5 (and more
// often if T is less than 2.4 S). A beat writes the data that is already there, and names
// the version that the candidate knows. A [Pool] sends the beats of one session. The
// candidate behind reads the znode after each beat. If it sees no newer version for S, it
// evicts the candidate ahead: it deletes the znode, provided that the znode still has the
// version that it has seen (queue.Entry.Evict).
//
// # The short lease
//
// A candidate with fast failover leads only while two leases are good: the lease of its
// session (package session), and the short lease of its znode. A beat that was sent at
// time s and answered makes the short lease good until s + L. L is S/1.2, or T/3 if that
// is less. Nothing else extends the short lease, because the next in line cannot see any
// other write of the session.
//
// # Why no two lead
//
// The evictor is the candidate that deletes the znode ahead. Let b be the last beat of the
// candidate ahead that was committed before the delete, and v the version that b made.
//
//   - The delete names a version that the evictor has read, and ZooKeeper commits the
//     delete only if the znode still has this version. So it is v.
//   - The evictor read v before it waited for S, and b was sent before that. So the delete
//     was sent at least S after b, by the evictor's clock.
//   - No beat after b was committed before the delete. None can be committed after it,
//     because the znode is gone. A beat that is not committed is not answered with
//     success. So the short lease ended L after b was sent, by the clock of the candidate
//     ahead.
//   - S is 1.2 L or more. The slower of two clocks lags behind the faster one by up to 9 %
//     (package session), and 1/0.91 is less than 1.2. So the short lease was over before
//     the delete was sent, and the candidate behind may lead as if the session had expired.
//
// All candidates behind the evictor may rely on the delete in the same way. So a wrong
// suspicion costs a re-election, but never makes two lead.
//
// # What the proof rests on
//
//   - S is fixed when the znode is created, and every beat writes the same S. If S could
//     become shorter, a successor would wait for the new S while the candidate still
//     relied on the old one. The granted session timeout may shrink later, and then L
//     shrinks, too.
//   - The name refers to the same znode when the evictor reads it and when it deletes it.
//     Suppose that somebody deletes the whole path in between, and that the path is made
//     again. Then the version that the evictor has seen could be the version of another
//     znode. So fast failover needs a naming with a UUID. Also, the delete is in one
//     transaction with a check of the evictor's own znode, which would be gone, too. Before
//     that transaction is answered, the evictor creates no new znode, because a new znode
//     could have the same name.
//   - No one else writes the znode. Most writes by hand only change the version, and so
//     delay the eviction. But a write of data with a shorter S does harm.
//   - The evictor counts S from when the answer to its read has arrived, not from the
//     event that made it read, and by the clock that has advanced less. So after a
//     suspension of its process or machine it does not count its own sleep as silence. The
//     short lease counts from before the beat was sent, by the clock that has advanced more.
//   - Requests are not sent twice. A beat without an answer may be committed late. Then
//     either its version no longer fits, or it delays the eviction. The candidate reads its
//     znode before it beats again. Until then nothing extends its short lease.
//
// # Who beats
//
// A candidate begins to beat when it knows that it is first or second in line. It stays
// first or second, because candidates ahead of it can only leave. It beats until its znode
// is to be removed. So if the version of the znode ahead is not 0, the candidate ahead
// beats. Only a candidate that beats is evicted. A candidate that crashes before its first
// beat is replaced when its session expires.
//
// The second in line beats so that the third can replace it: if the first two crash
// together, the third leads after about 2 S. The third is not notified when it becomes
// second. It only sees that the candidate ahead beats. At the first beat that it sees, and
// at every fifth, it checks whether the others ahead are still there.
//
// # Against wrong suspicions
//
// A candidate that sees no beats may itself be cut off, or its server may lag behind. So
// when S is over, the candidate first sends a write of its own and waits until that is
// committed. Then it reads the znode ahead once more. By then its server has seen all that
// was committed before the candidate's own write.
//
// If the term is over and its work still runs, the candidate goes on beating, because no
// one may lead until the work has returned. Only a process that hangs altogether, or is
// cut off, stops beating and is replaced.
package beat
