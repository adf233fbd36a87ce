// Package interop holds this library against the originals that it stands in one line with: Apache Curator's LeaderLatch
// and LeaderSelector, LeaderElectionSupport of ZooKeeper's recipes, and Kazoo's Election. Its tests run them as they
// come from Debian's packages (.ci/packages), in processes of their own, on a real ZooKeeper.
//
// # What holds in a mixed line
//
// Ours keep their promises whoever stands beside them, and so does the line as a whole wherever the participant that
// leads keeps its own. Two beliefs overlap only if the earlier one is a recipe's that permits it:
//
//	its time ends by          ours                LeaderLatch          LeaderSelector    LeaderElectionSupport  Kazoo Election
//	close, in good order      no overlap          znode goes first     no overlap        no overlap (1)         no overlap
//	resign                    no overlap          –                    –                 –                      –
//	its process is killed     no overlap          no overlap           no overlap        no overlap             no overlap
//	cut off until it expires  no overlap          none, but (2)        none, but (2)     until connected (3)    until connected (3)
//	session ended by hand     T/3 at most (4)     until told           until told        until told (3)         until told (3)
//	znode deleted by hand     until told (4)      for ever (5)         for ever (5)      for ever (5)           for ever (5)
//
//	(1) if its work stops within the event STOP_START; its offer is deleted right after.
//	(2) Curator gives up 2T/3 after the last byte from its server. It counts that on a thread of its own: a process
//	    that was paused leads on until that thread has run, and a server that is cut off from its ensemble, but
//	    not from its clients, goes on sending.
//	(3) The recipe itself says nothing, for ever. A user who listens to the client hears of the expiry when it is
//	    connected again.
//	(4) Not a fault but an operator: word of it comes to the leader and to the next one at the same time. A session
//	    can be ended by whoever knows its password; the lease bounds what follows.
//	(5) None of them watches its own znode. It leads until it is closed, beside whoever is next.
//
// A process that is paused for longer than its session is another matter, since nothing in it runs. When it goes on, ours
// does not believe for a single call of HasLeadership or Err; theirs believe until their client has heard of it.
//
// So what our side can still promise when another's participant leads, or stands ahead:
//
//   - One of ours leads only if nobody is ahead of it in line, whatever they are called, and its lease is good. An
//     overlap is never of our making: it is always the one who led before, and has lost its znode, that goes on.
//   - Tokens are ZooKeeper's transaction numbers of the znodes, and Participant.Token has them of theirs too. A resource
//     that refuses smaller ones is safe from ours. Theirs carry none, unless their users read the czxid of their znode.
//   - Guard commits only while our znode stands, hence never beside a later leader's.
//   - The order of the line is kept: it is the order of the znodes' numbers for all of them.
//   - Whoever is directly behind one of ours is told when it goes. A lease is proved by a transaction that changes
//     nothing: the watch behind it stays. (A change of data uses it up, and LeaderLatch and LeaderElectionSupport
//     set no other: they would wait for ever. So do not write to the znodes of candidates by hand.)
//   - Ours bears all that theirs may do to their own znodes: data changed, znode gone, session gone.
//
// # One naming for a line
//
// Ours take every child for a candidate whose name ends in ten digits, and no other. The others are less tolerant, so
// in one election all must bear the names of one kind: that of theirs, given to ours by WithNaming.
//
//   - LeaderLatch and LeaderSelector sort by what follows the last "latch-" or "lock-", and by the whole name where
//     there is neither. One of another kind is behind them, always: they lead beside it.
//   - Kazoo's Election sees names with "__lock__", and those that extra_lock_patterns of its Lock add. With
//     "-latch-" it stands in one line with LeaderLatch and with our default.
//   - LeaderElectionSupport takes every child for a participant, cuts off two characters and reads a number.
//
// # Junk
//
// Children that are no candidates do not disturb ours. To the others:
//
//   - LeaderLatch, LeaderSelector: a name that sorts before ten digits ("0-note", "-", "0", "latch-" for the one, "lock-"
//     for the other) is a participant ahead: all of them wait until it is removed. Other junk ("_c_x") is a
//     participant behind, and turns up in getParticipants.
//   - LeaderElectionSupport: any name without a number from the third character on has start throw a
//     NumberFormatException, its own offer already made: it stands in line for as long as its session lasts, and does
//     not lead. One that comes later strikes the next who has to look at the line. "n_1" is a participant.
//   - Kazoo: not disturbed.
//
// So a mixed line may have junk lying about in it, but not every junk: what disturbs neither side is there in all mixed
// rounds of the test (for LeaderElectionSupport, only what is "n_" and a number beyond all others).
//
// LeaderElectionSupport has one more way to stop a line, without any junk. It reads all znodes one after another, and
// one that leaves meanwhile is a failure (NoNodeException): it ends in FAILED for good, and its offer stays. Its
// user must call stop then, as its documentation says, or nobody leads. It was seen here when two left at a time.
//
// # How it is tested
//
// A Process runs a Program (the sources are in peers; ours is the test itself, run again) behind a proxy of its own. It
// reads commands, a line each: "start ID PATH LINGER", "leader? ID", "participants ID PATH", "close ID", "exit", for
// ours "resign ID", and for theirs "write ID TEXT", which changes the data of its own znode. It writes events,
// "NANOSECONDS ID EVENT TEXT": gained, lost, started, closed, failed, error, and the answers. The time is the
// machine's monotonic clock, which all three languages read, so beliefs can be laid over each other. Both ends of a
// belief are noted when its user hears of them: "lost" when the work has stopped. For ours that is before the znode
// goes.
//
// Each kind of peer stands in fifty lines, of three of ours and three of theirs in random order, harmless junk among them.
// All are asked who stands and who leads; those of theirs with one of ours behind change their data; then four leaders
// are ended one after another, in four lines of five one of them in a way that lasts as long as a session; one leaves
// from between. Our znodes are never written to. A run prints its seed, what it did and what overlaps it saw. An
// overlap must be one that the table permits to what ended that belief, and no longer than:
//
//   - T/3 where ours is the earlier one, and half a second for its process to say so; where LeaderLatch closes; and in
//     case (2);
//   - otherwise 2T after both the later one began and the first could hear of it: because it is connected again, or was
//     told to close. None of the recipes promises that, so it says only that nobody hangs.
package interop
