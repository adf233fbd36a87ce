// Package zksim is a ZooKeeper ensemble in memory, which the real client library talks to over the
// wire protocol: in virtual time (testing/synctest and [Ensemble.DialerFor]), or over TCP on
// loopback ([Ensemble.ListenTCP]). It is for tests and for trying things out; it stores nothing.
//
// # Why
//
// What the library promises is about rare interleavings: a server cut off from its ensemble that
// still answers, a reply lost after its commit, a leader change in the wrong moment. A real ensemble
// shows one of them in a minute. Here an hour takes milliseconds, every fault is a function call,
// and a run repeats from its seed, but for what the client library leaves to the scheduler (it
// selects among things that happen at the same instant).
//
// # How it is built
//
//	client library ── net.Pipe or TCP ── conn ── link ── server ── link ── server
//	                                      │               │
//	                                  one frame       queue per session, tree, watches;
//	                                  at a time       leading: outlook, proposals, tracker
//	                                                  learning: touches
//
// All state belongs to one mutex, and all that happens is an event on one heap, ordered by time and
// then by the order of asking (clock.go). Whoever makes something happen (a transport's goroutine, a
// caller, the one timer) runs what is due by it. No goroutine polls, none sleeps.
//
// A link is one direction of the network between two parties, by name. It delays and holds, but
// never reorders nor drops (link.go). A server is leading, learning or looking (server.go,
// quorum.go, election.go). What is committed is one chain for all servers; each stands somewhere
// on it, and a server that would commit something else panics.
//
// # What is exact
//
// The rules are those of ZooKeeper 3.9, and each is named where it is kept: the order in which a
// request's errors are found, stat fields, sequence numbers and their wrap, watches and their order,
// multi's results, sessions (ticks, touches, owners), what a lagging or cut-off server does.
//
// # What is not
//
//   - An election is decided in one step, [Config].ElectionTime after its cause, by what the servers
//     could find out; joining a leader takes three messages instead of a dozen.
//   - A single server serves reads past a write that waits for its disk, as a quorum's server does;
//     the original's standalone server keeps them in one line.
//   - Children are listed, and watches of several clients fire, in an order that repeats; the
//     original's is that of a hash set.
//   - No TTL nodes (a default server refuses them), quotas, SASL, reconfiguration, observers,
//     persistent watches, read-only mode, throttling, four-letter words. Operations unknown here are
//     refused as an old server refuses them.
package zksim
