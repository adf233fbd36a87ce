// Package session is one ZooKeeper session: its connection, its events, and its lease.
//
// A [Session] knows the timeout that the server granted, tells its subscribers what
// happens to the session, and bounds calls by a context, which the driver (go-zookeeper)
// cannot do. Its [Lease] says until when the session is certain to be alive.
//
// # The lease
//
// An ephemeral znode proves little about the present. A process that was paused does not
// know yet that its session is over. And a server that is cut off from its ensemble goes
// on answering reads and pings for up to syncLimit ticks, while the rest of the ensemble
// expires its clients' sessions.
//
// So the lease rests on a proof by a quorum: a transaction of this session that was
// committed. The proof used here checks the version of a znode of our own. It is checked
// against the session first (PrepRequestProcessor), changes nothing, and fires no watch.
// A write of data would not do: it would use up the watch of the next candidate, and
// Curator's does not set that watch again.
//
// Let T be the granted session timeout. A proof that was sent at time s and answered
// makes the lease good until s + T/3. Proofs are sent every T/12. Any other write of the
// session proves as much, and the next proof is then due T/12 after it.
//
// # Touches
//
// The leader of the ensemble expires a session T after the last touch that has reached
// it, rounded up to a tick (SessionTrackerImpl, ExpiryQueue). A proof is not always such
// a touch. If we are connected to a follower, the leader checks our forwarded request
// against the session, but does not extend the session's life (LearnerHandler,
// PrepRequestProcessor). Only two things do: a handshake, and the follower's answer to
// the leader's ping, every half tick (Learner.ping), which names the sessions that the
// follower has heard from. So a client that wakes up late can have a write committed
// moments before its session expires.
//
// The lease therefore also ends 0.91 T after the newest touch that the leader must have
// received. A touch counts as received if
//
//   - it is the handshake that made or resumed the session, or
//   - our server saw it (an answered request or ping), at least T/4 ÷ 0.91 passed, then a
//     write of ours was sent and answered, and then the proof was sent.
//
// T/4 is at least half a tick, because servers grant at least two ticks by default. The
// second rule holds because both directions are ordered. The leader's pings and commits
// reach our server in one stream, so the answer to our write comes after a ping that
// fetched the touch. The server's answers to pings and our requests reach the leader in
// one stream, so the proof arrives after the touch.
//
// While answers are quick, the newest such touch is 5T/12 old when a proof is sent. That
// leaves 0.91 T − 5T/12, which is more than T/3, so proofs are good for their full T/3.
//
// # Clocks
//
// The slower of two clocks may lag behind the faster one by 9 %. chrony slews a clock by
// up to 8.3 % (chrony.conf, maxslewrate). The constant drift says so, and both allowances
// are derived from it: 0.91 T for the life of a session after a touch, T/4 ÷ 0.91 for the
// time that a server takes to pass a touch on. Two clocks that are slewed in opposite
// directions at the same time run further apart; that is not covered.
//
// Both the monotonic clock and the wall clock are read. Whether the lease may have ended
// is decided by the clock that has advanced more. Whether something has had enough time
// to happen is decided by the clock that has advanced less. The monotonic clock alone
// would miss the sleep of a machine. A guest cannot notice a hypervisor that stops both
// of its clocks.
//
// # Assumptions
//
//   - The ensemble's leader sends its pings every half tick. If only the thread that
//     sends them is held up (ZOOKEEPER-3774), sessions expire although their clients are
//     served all the while. No request can show that. Two candidates may then lead for up
//     to T/3, since every proof is committed while the session lives.
//   - All servers grant a session the same T. If the server that resumes the session
//     grants less, the leader counts the new T from the handshake, and the lease follows
//     as soon as the greeting has arrived. If the greeting does not arrive, the lease can
//     outlive the session if the new T is less than 0.37 of the old one (1/3 ÷ 0.91). If
//     a server grants more, the shortest T that the session was ever granted still
//     counts.
//   - A server passes touches on within half a tick. An observer behind a follower
//     (observerMasterPort) takes up to a whole tick: T must be at least four ticks there.
//
// Two facts support the proof although it does not depend on them. Keep them in mind when
// you change this package. The driver gives up a connection after 2T/3 of silence, so no
// answer is older than that. And a session's pings wait behind its pending write
// (CommitProcessor), so a server that cannot get a proof committed cannot give its client
// fresh touches either.
//
// # Slow answers
//
// Proofs do not wait for each other's answers. While answers are quick, one proof is sent
// every T/12, and at most one is pending. While they are slow, proofs are sent up to
// every T/36, plus single ones in between, because the evidence of a touch takes two more
// answers to arrive. A constant latency of T/6 ends no term that lasts, whenever between
// two proofs it begins. Much more is impossible: 0.91 T must hold three latencies, a
// relay of T/4 ÷ 0.91, and the spacing of proofs.
//
// While the evidence is still being collected, there is less room. A term that begins
// while answers take T/12 or more may end before its first proof is answered, and begin
// again. So may a term whose client reconnects while answers take T/6.
//
// # When a crashed client's znodes go
//
// After a crash the session, and its znodes with it, lasts until T after the last touch
// that reached the ensemble's leader:
//
//   - Not less than 11T/12 after the crash, if the client was renewing its lease, as the
//     leader and the next candidate do: its last proof was at most T/12 old. Any other
//     client sends only the driver's pings, every T/3 (conn.go, setTimeouts). Its znodes
//     go 2T/3 after the crash or later.
//   - Not more than T and one and a half ticks after the crash: a follower passes the
//     last touch on up to half a tick late, and the leader rounds up by up to a tick. The
//     time to commit the session's end comes on top.
//
// With T = 4 s and ticks of 500 ms that is 3.67 s to 4.75 s for a leader.
package session
