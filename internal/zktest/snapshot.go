package zktest

import (
	"encoding/binary"
	"hash/adler32"
	"maps"
	"slices"
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

// snapshot is a file as org.apache.zookeeper.server.persistence.FileSnap writes it: header, sessions, ACLs, znodes with
// their parents first, and the checksum of all that. What later versions append (digests) a server does without.
func snapshot(counters map[string]int32) []byte {
	b := juteWriter("ZKSN").int(2).long(-1) // magic number, version, database
	b = b.int(0)                            // no sessions
	b = b.int(1).long(readACL).int(1).int(1).text("world").text("anyone")
	b = b.node("", openACL, 0) // the root has no name here
	for _, path := range []string{"/zookeeper", "/zookeeper/quota"} {
		b = b.node(path, openACL, 0)
	}
	b = b.node("/zookeeper/config", readACL, 0)
	for _, path := range slices.Sorted(maps.Keys(counters)) {
		b = b.node(path, openACL, counters[path])
	}
	b = b.text("/") // the end of the znodes
	return b.long(int64(adler32.Checksum(b))).text("/")
}

// juteWriter appends what Hadoop's record format, jute, is made of: big-endian numbers, and texts and bytes behind
// their length.
type juteWriter []byte

func (b juteWriter) int(v int32) juteWriter { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func (b juteWriter) long(v int64) juteWriter {
	return binary.BigEndian.AppendUint64(b, uint64(v))
}
func (b juteWriter) text(s string) juteWriter { return append(b.int(int32(len(s))), s...) }

// node appends a znode that was made before all transactions.
func (b juteWriter) node(path string, acl int64, cversion int32) juteWriter {
	b = b.text(path).text("").long(acl)
	b = b.long(0).long(0).long(0).long(0) // czxid, mzxid, ctime, mtime
	b = b.int(0).int(cversion).int(0)     // versions of data, children and ACL
	return b.long(0).long(0)              // owner, pzxid
}
