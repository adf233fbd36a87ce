// Package zksim is a ZooKeeper ensemble in memory. Clients use the real client library,
// which talks to it over the wire protocol: in virtual time (testing/synctest and
// [Ensemble.DialerFor]), or over TCP on loopback ([Ensemble.ListenTCP]). It is for tests
// and for trying things out. It stores nothing.
//
// # Why
//
// The library's guarantees must hold in rare interleavings: a server that is cut off from
// its ensemble and still answers, a reply that is lost after its commit, a change of
// leader at the wrong moment. A real ensemble shows one of them a minute. Here an hour
// takes milliseconds, every fault is a function call, and a run repeats from its seed.
// Only what the client library leaves to the scheduler differs: it selects at random
// among things that happen at the same instant.
//
// # How it is built
//
//	client library ── net.Pipe or TCP ── conn ── link ── server ── link ── server
//	                                      │               │
//	                                  one frame       queue per session, tree, watches;
//	                                  at a time       leading: outlook, proposals, tracker
//	                                                  learning: touches
//
// One mutex guards all state. Everything that happens is an event on one heap, ordered by
// time and then by the order of scheduling (clock.go). A transport's goroutine, a caller,
// or the one timer makes something happen, and then runs all events that are due. No
// goroutine polls, and none sleeps.
//
// A link is one direction of the network between two parties, given by name. It delays
// and holds messages, but never reorders or drops them (link.go). A server is leading,
// learning or looking (server.go, quorum.go, election.go). Committed transactions form
// one chain for all servers. Each server has applied it up to some point, and a server
// that would commit anything else panics.
//
// # What is exact
//
// The rules are those of ZooKeeper 3.9, and the code names the original of each: the
// order in which the errors of a request are found, stat fields, sequence numbers and
// their wrap, watches and their order, persistent watches and their modes, the results of
// a multi, sessions (ticks, touches, owners), and what a lagging or cut-off server does.
//
// # What is not
//
//   - An election is decided in one step, [Config].ElectionTime after its cause, by what
//     the servers could find out. Joining a leader takes three messages instead of a
//     dozen.
//   - A single server serves reads ahead of a write that waits for its disk, as a server
//     of a quorum does. The original's standalone server keeps them in one queue.
//   - The order of listed children, and the order in which watches of several clients
//     fire, repeats. The original uses the order of a hash set.
//   - There are no TTL nodes, no reconfiguration (a default server refuses both), no
//     quotas, SASL, observers, read-only mode, throttling, or four-letter words. An
//     unknown operation gets the answer Unimplemented and the end of the connection, as
//     in the original.
package zksim
