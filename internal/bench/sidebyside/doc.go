// Command sidebyside measures this library beside others in one run, and makes
// docs/benchmarks.md of what it has measured.
//
// measure starts one ZooKeeper server and one etcd server, and runs each participant as an
// operating-system process of its own: this binary again for those in Go, and the
// programs in the folder peers for Java and Python. All obey the same commands and write
// the same events (peer.go), with the times of the machine's monotonic clock. So all are
// measured in the same way. What was measured goes to a file of JSON.
//
// draw makes the page and its drawings of that file and of nothing else. A test compares
// them with those in docs.
//
// The module has this command because only it needs etcd.
package main
