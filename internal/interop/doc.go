// Package interop tests this library together with the originals whose elections it can
// share: Apache Curator's LeaderLatch and LeaderSelector, LeaderElectionSupport of
// ZooKeeper's recipes, and Kazoo's Election. The tests run the originals as Debian
// packages them (.ci/packages), in processes of their own, on a real ZooKeeper.
//
// # What holds in a mixed election
//
// Our candidates keep their promises whoever takes part beside them. The election as a
// whole keeps them as long as the participant that leads keeps its own. Two participants
// consider themselves leader at the same time only if the recipe of the earlier one
// permits it:
//
//	its time ends by          ours                LeaderLatch          LeaderSelector    LeaderElectionSupport  Kazoo Election
//	close, in good order      no overlap          znode goes first     no overlap        no overlap (1)         no overlap
//	resign                    no overlap          –                    –                 –                      –
//	its process is killed     no overlap          no overlap           no overlap        no overlap             no overlap
//	cut off until it expires  no overlap          none, but (2)        none, but (2)     until connected (3)    until connected (3)
//	session ended by hand     T/3 at most (4)     until notified       until notified    until notified (3)     until notified (3)
//	znode deleted by hand     until notified (4)  for ever (5)         for ever (5)      for ever (5)           for ever (5)
//
//	(1) if its work stops within the event STOP_START; its znode is deleted right after.
//	(2) Curator gives up 2T/3 after the last byte from its server, and counts that on a thread of its own. So a process
//	    that was paused leads on until that thread has run. And a server that is cut off from its ensemble, but not
//	    from its clients, goes on sending.
//	(3) The recipe itself never says anything. A user who listens to the client hears of the expiry when the client is
//	    connected again.
//	(4) An operator did this; it is no fault of the participant. The leader and the next one learn of it at the same time.
//	    Whoever knows the password of a session can end it. The lease bounds what follows.
//	(5) None of them watches its own znode. It leads until it is closed, at the same time as the next one.
//
// A process that is paused for longer than its session is another matter, because nothing
// in it runs. When it goes on, our candidate does not consider itself leader for a single
// call of HasLeadership or Err. The others do until their client has heard of the expiry.
//
// So this is what our candidates still promise when another library's participant leads
// or is ahead in line:
//
//   - Our candidate leads only if nobody is ahead of it in line, whatever the others are
//     called, and its lease is good. We never cause an overlap: it is always caused by
//     the participant that led before, has lost its znode, and goes on.
//   - Tokens are the ZooKeeper transaction numbers of the znodes, and
//     [election.Participant] has the tokens of all participants. A resource that refuses
//     smaller tokens is safe from our candidates. The other recipes hand out no token,
//     unless their users read the czxid of their znode.
//   - Guard commits only while our znode exists, and so never at the same time as a later
//     leader.
//   - The order of the line is kept, because all libraries order it by the numbers of the
//     znodes.
//   - The participant directly behind one of our candidates is notified when it goes. The
//     lease is proved by a transaction that changes nothing, so the watch of that
//     participant stays. (A change of data uses the watch up. LeaderLatch and
//     LeaderElectionSupport set no other one and would wait for ever. So do not write to
//     the znodes of candidates by hand.)
//   - Our candidates cope with everything that others may do to their own znodes: their
//     data changes, the znode goes, the session goes.
//
// # One kind of name in an election
//
// Our candidates take every child whose name ends in ten digits for a participant, and no
// other child. The other libraries are less tolerant. So all participants of one election
// must have the names of one kind. Give our candidates the names of the other library
// with [election.WithNaming].
//
//   - LeaderLatch and LeaderSelector sort by what follows the last "latch-" or "lock-" in
//     a name, and by the whole name if it has neither. So a participant of another kind
//     is always behind them, and they lead at the same time as it does.
//   - Kazoo's Election sees names with "__lock__", and those that extra_lock_patterns of
//     its Lock add. With "-latch-" it can share an election with LeaderLatch, and with
//     our candidates' default names.
//   - LeaderElectionSupport takes every child for a participant. It cuts off two
//     characters and reads a number.
//
// # Junk
//
// Children that are no participants do not disturb our candidates. They disturb the
// others in these ways:
//
//   - LeaderLatch and LeaderSelector take a name that sorts before ten digits for a
//     participant ahead: "0-note", "-", "0", "latch-" for the one and "lock-" for the
//     other. All of them wait until it is removed. They take other junk ("_c_x") for a
//     participant behind, and getParticipants returns it.
//   - LeaderElectionSupport fails on every name that has no number from the third
//     character on. start throws a NumberFormatException after it has created its own
//     znode. The znode stays in line as long as its session lasts, and does not lead.
//     Junk that comes later does the same to the next participant that looks at the line.
//     "n_1" is taken for a participant.
//   - Kazoo is not disturbed.
//
// So a mixed election may have some junk, but not every kind. In all mixed rounds of the
// test there is junk that disturbs neither side. (For LeaderElectionSupport that is only
// "n_" with a number larger than all others.)
//
// LeaderElectionSupport can stop a line without any junk, too. It reads all znodes one
// after another. If one of them goes meanwhile, it takes that for a failure
// (NoNodeException) and ends in FAILED for good, and its znode stays. Its user must then
// call stop, as its documentation says, or nobody leads. The tests have seen this when
// two participants left at the same time.
//
// # How it is tested
//
// A [Process] runs a [Program] behind a proxy of its own. The sources of the programs are
// in the folder peers; our own program is the test itself, run again. A process reads one
// command a line: "start ID PATH LINGER", "leader? ID", "participants ID PATH", "close
// ID", "exit", our own also "resign ID", and the others also "write ID TEXT", which
// changes the data of their own znode. It writes one event a line, "NANOSECONDS ID EVENT
// TEXT": gained, lost, started, closed, failed, error, and the answers. The time is the
// machine's monotonic clock, which all three languages read, so the events of all
// processes can be compared. A process notes when its user hears that a time as leader
// begins and ends. It notes "lost" when the work has stopped; for our candidates that is
// before the znode goes.
//
// Each kind of peer takes part in fifty elections, each of three candidates of ours and
// three of theirs in random order, with harmless junk among them. The test asks all of
// them who takes part and who leads. Participants of theirs that are directly ahead of
// one of ours change their data. Then four leaders are ended one after another, in four
// of five elections one of them in a way that takes as long as a session. One participant
// leaves from between. Nobody writes to our znodes. A run prints its seed, what it did,
// and the overlaps that it saw. Each overlap must be permitted by the table, for the way
// in which the earlier time as leader ended. It must be no longer than this:
//
//   - T/3 if our candidate is the earlier one, plus half a second in which its process
//     may report it; T/3 if LeaderLatch closes, and in case (2);
//   - otherwise 2T, counted from when the later one has begun and the earlier one could
//     hear of it, because it is connected again or was asked to close. None of the
//     recipes promises that bound. It only shows that nobody hangs.
package interop
