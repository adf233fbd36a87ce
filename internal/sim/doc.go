// Package sim holds the simulation suite: candidates of the real library, over the real client library, elect
// leaders on an ensemble in memory (internal/zksim) in virtual time, while a schedule of faults drawn from one
// seed does to them what years of operation would. There is nothing in it but tests.
//
// What is watched:
//
//   - G1: at every answer that a server gives, and whenever a term begins, at most one candidate believes: has a term, or
//     has given out a context that lasts.
//   - G2: at the same moments, no term outlasts its lease, though nobody asked for it.
//   - G3: no candidate deletes its znode while work under Run still runs.
//   - G4: tokens never go down, and are the same only for one candidate's one znode.
//   - G7: each listener, the slow ones too, hears IsLeader and NotLeader by turns, with the same term.
//   - G6: once a round's faults have ended, somebody leads within one session timeout + 2 s, and still does later.
//   - G5: by then no znode stands that nobody owns; and when work has had the time to stop, there are as many znodes as
//     candidates, each known to the one whose it is.
//
// A schedule that fails prints its flags and what was done. "go test ./internal/sim -run Schedules -sim.seed=N" plays
// one again, with -sim.focus where that was given; the order in which goroutines run within one virtual instant is
// not part of the seed, so a failure that needs a certain order may take a few plays. "SIM_SOAK=1h go test
// ./internal/sim -run Soak -v -timeout 2h" plays new seeds for as long as it is told.
//
// TestEachMutationIsCaught breaks one rule of the library at a time and has the suite notice. Beside the schedules the
// package holds single stories, told in virtual time: what chance plays too rarely, and what takes an exact moment. And
// TestAnyOrderOfCallsKeepsTheContract plays random calls on one candidate, many at a time, and judges each.
//
// A soak of one hour on two cores: 12,216 schedules, 2,036 hours of virtual time (85 days), 2,324,992 faults and 747,431
// terms; no violation. The faults by kind, "leave" being how candidates left that were told to:
//
//	120,000 or so each of: candidate leaves, heal network, isolate the leading candidate's server, lose a reply,
//	        pause the leading candidate, restart server, thaw server
//	 61,000 or so each of: crash server, cut client from all, cut client from server, cut from client, cut servers,
//	        cut servers one way, cut to client, delay client, delay servers, delete path, delete znode, expire session,
//	        false expiry, freeze server, isolate leader, isolate server, lag, reset connection, resign, slow disk,
//	        slow quorum, wake cut off
//	 30,000 or so each of: leave by client, leave by close, leave by crash, leave by shutdown
//
// After it the suite was made to draw slow clocks too, to look at what it had only asked for, and to look right behind
// each end of a lease. With that a soak of 27 minutes: 14,863 schedules, 2,477 hours of virtual time (103 days), 2,822,305
// faults and 902,336 terms; no violation.
package sim
