// Package reign holds the record that candidates with strict hand-over keep of the last
// reign. A reign is the time in which one candidate leads with one znode. It has one term
// or several.
//
// The record closes a gap that the lease leaves: a session may end earlier than its client
// can know, or somebody may delete a leader's znode. The successor then waits until the
// last leader can no longer consider itself leader.
//
// The record is the data of the election path. It has the token of the last reign, whether
// that reign has left, and b: for how long after its last proof its candidate may consider
// itself leader. Only candidates write the record, and each write names the version that
// the candidate expects. The path is a plain persistent znode, because a container could
// vanish with the record.
//
// # The protocol
//
//   - Proofs. A candidate considers itself leader only for b after it sent a proof that
//     checks its own znode. Such a proof is a transaction with a check of this znode, or a
//     beat (package beat). b is T/3, or the length of the short lease with fast failover.
//     The session's lease must be good as well. It alone is not enough, because a proof of
//     another candidate's znode may extend it.
//   - Begin. The first term on a znode begins with one transaction, which is sent when no
//     one is ahead. It checks the candidate's own znode, and writes the record with the
//     candidate's token and b. Without fast failover, this transaction is also the first
//     proof. With fast failover it is not: the next in line counts the silence of the
//     znode, and this transaction does not change the znode. Further terms on the same
//     znode write no record.
//   - Leave. When the work has stopped, one transaction deletes the candidate's znode and
//     writes that the reign has left. A candidate that evicts another one writes the same
//     for it.
//   - The version to expect. A reign writes the record twice: when it begins and when it
//     leaves. The second in line knows the record of the reign ahead, of version v. When
//     the znode ahead is gone, version v + 1 means that the reign has left. So the second
//     at once sends its own beginning, which names v + 1. If ZooKeeper refuses that, the
//     second reads the record.
//   - Wait. A candidate that finds no one ahead reads the record. If the reign in it has
//     left, the candidate begins, and names the version that it has read. If not, it first
//     waits for 1.1 b. The wait counts from when it learned that no one was ahead, by the
//     clock that has advanced less. If there is no record, it takes T/3 for b, with its own
//     T: that is the longest b there is for candidates with this T.
//
// # Why no two lead
//
// A candidate leads only after a transaction that wrote the record for it. When that was
// committed, the candidate's znode existed and no one was ahead of it. Consider the reign
// in the record before.
//
//   - It has left: its candidate wrote so when its term and its work were over. Or the
//     candidate was evicted, and then its term was over, too (package beat).
//   - Or its znode was gone for 1.1 b when the new reign began. Each of its proofs checks
//     that very znode, so the last good proof was sent before the znode went. Its candidate
//     ceased to lead b after it sent that proof. The slower of two clocks lags behind the
//     faster one by up to 9 % (package session), and 1/0.91 is less than 1.1.
//
// No step asks when or why ZooKeeper ended a session or deleted a znode. Only the rates of
// the clocks count. These gaps remain:
//
//   - If somebody writes the record by hand, or the ensemble's data goes back to an older
//     state, the record is wrong.
//   - If the path is deleted, the record is gone. The next candidate then goes by its own
//     session timeout. So all candidates of an election should have the same.
//   - If the path is deleted and names have no UUID, the name of a leader's znode may become
//     another candidate's. A check of it then proves nothing. The leader is notified of the
//     deletion before the answer to any later check arrives, but on another goroutine.
//   - A candidate without strict hand-over writes no record of its reign, and no one waits
//     for it.
package reign

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Record is what the path's data says about the last reign.
type Record struct {
	Reign int64         // its token; 0: there is no record
	Lasts time.Duration // b
	Left  bool
}

// stored is a Record as it is written. The token is a hexadecimal string, since a number
// in JSON loses digits above 2^53.
type stored struct {
	Reign string `json:"reign"`
	B     int64  `json:"b"` // milliseconds
	Left  bool   `json:"left"`
}

// Encode returns the record as the path's data holds it.
func (r Record) Encode() []byte {
	ms := (r.Lasts + time.Millisecond - 1) / time.Millisecond
	text, err := json.Marshal(stored{fmt.Sprintf("%#x", uint64(r.Reign)), int64(ms), r.Left})
	if err != nil {
		panic(err) // a struct of a string, a number and a bool
	}
	return text
}

// longest is the longest b that Decode accepts in a record.
const longest = time.Hour

// Decode returns the record that the path's data holds. It returns the zero Record for data
// of another form.
func Decode(data []byte) Record {
	var s stored
	if json.Unmarshal(data, &s) != nil {
		return Record{}
	}
	token, err := strconv.ParseUint(s.Reign, 0, 64)
	if err != nil || token == 0 || s.B <= 0 || s.B > longest.Milliseconds() {
		return Record{}
	}
	return Record{int64(token), time.Duration(s.B) * time.Millisecond, s.Left}
}

// Wait returns how long a candidate waits, with no one ahead, for a reign that may last for
// lasts after its last proof. After that, the candidate of that reign has ceased to lead.
func Wait(lasts time.Duration) time.Duration { return lasts + lasts/10 }
