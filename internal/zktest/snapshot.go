package zktest

import (
	"hash/adler32"
	"maps"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// WithCounters has the server start with these znodes below the root, open to all, each as if it had had so many
// children: its next sequential child is called by that number. A client would need as many creates to bring a counter
// to where it wraps, 2^31-1 of them; what no client can do in a test's time, a prepared snapshot can.
//
// The number is the 32-bit one that ZooKeeper keeps (the cversion of its snapshots), so a negative one is a counter that
// has wrapped. All servers of an ensemble get the same snapshot.
func WithCounters(counters map[string]int32) Option {
	return func(s *settings) { s.counters = counters }
}

// snapshotPath is where a server looks for the state of transaction 0.
const snapshotPath = dataDir + "/version-2/snapshot.0"

// The references by which znodes name their ACL (org.apache.zookeeper.server.ReferenceCountedACLCache).
const (
	openACL = -1 // OPEN_ACL_UNSAFE, which is in no table
	readACL = 1  // the first entry of the table
)

// Snapshot returns the file for a server that is no Server: its snapshot.0, in the folder version-2 of its dataDir. See
// WithCounters.
func Snapshot(counters map[string]int32) []byte { return snapshot(counters) }

// snapshot is a file as org.apache.zookeeper.server.persistence.FileSnap writes it: header, sessions, ACLs, znodes with
// their parents first, and the checksum of all that. What later versions append (digests) a server does without.
func snapshot(counters map[string]int32) []byte {
	const magic = 'Z'<<24 | 'K'<<16 | 'S'<<8 | 'N'
	e := jute.NewEncoder()
	e.Int32(magic)
	e.Int32(2)  // version
	e.Int64(-1) // database
	e.Int32(0)  // no sessions

	e.Int32(1) // one access control list
	e.Int64(readACL)
	e.ACLs(zk.WorldACL(zk.PermRead))

	node(e, "", openACL, 0) // the root has no name here
	node(e, "/zookeeper", openACL, 0)
	node(e, "/zookeeper/quota", openACL, 0)
	node(e, "/zookeeper/config", readACL, 0)
	for _, path := range slices.Sorted(maps.Keys(counters)) {
		node(e, path, openACL, counters[path])
	}
	e.Text("/") // the end of the znodes

	e.Int64(int64(adler32.Checksum(e.Record())))
	e.Text("/")
	return e.Record()
}

// node writes a znode that was made before all transactions.
func node(e *jute.Encoder, path string, acl int64, cversion int32) {
	e.Text(path)
	e.Text("") // no data
	e.Int64(acl)
	for range 4 { // czxid, mzxid, ctime, mtime
		e.Int64(0)
	}
	e.Int32(0) // version of the data
	e.Int32(cversion)
	e.Int32(0) // version of the access control list
	e.Int64(0) // no owner
	e.Int64(0) // pzxid
}
