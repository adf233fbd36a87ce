// Package sim holds the simulation suite: candidates of the real library, over the real client library, elect
// leaders on an ensemble in memory (internal/zksim) in virtual time, while a schedule of faults drawn from one
// seed does to them what years of operation would. There is nothing in it but tests.
//
// What is watched, at every step:
//
//   - G1: when a term begins, nobody else believes. Belief can only begin with a term, so this is every instant.
//   - G3: no candidate deletes its znode while work under Run still runs.
//   - G4: tokens never go down, and are the same only for one candidate's one znode.
//   - G7: each listener hears IsLeader and NotLeader by turns, with the same term.
//   - G6: once a round's faults have ended, somebody leads within one session timeout + 2 s.
//   - G5: then there are as many znodes as candidates, each known to the one whose it is.
//
// A schedule that fails prints its seed and what was done. "go test ./internal/sim -run Schedules -sim.seed N" plays
// one again; the order in which goroutines run within one virtual instant is not part of the seed, so a failure
// that needs a certain order may take a few plays. "SIM_SOAK=1h go test ./internal/sim -run Soak -v -timeout 2h" plays
// new seeds for as long as it is told.
//
// One run at its default length, without the race detector, on two cores: 2,000 schedules, 333 hours of virtual time in 6 minutes, 574,232 faults,
// 99,886 terms, no violation. (Before names without a UUID and the deletion of whole paths were kept apart: a run under the
// race detector then showed what their mixture cannot promise.)
package sim
