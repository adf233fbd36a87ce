// Command chaos lets candidates of several elections lead on three real ZooKeeper servers,
// does harm to servers and candidates, and judges what it saw on one clock. docs/chaos.md
// says what it does and how to read what it writes.
//
// The judge is the process that the user starts. It launches the servers (internal/zktest),
// stands between them and the candidates with proxies, and runs each candidate in an
// operating-system process of its own, which is this binary again. Java's LeaderLatch takes
// part in one of the elections (internal/interop).
//
// This is a module of its own, because only it needs porcupine and bbolt.
package main
