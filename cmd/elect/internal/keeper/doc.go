// Package keeper runs a command in a process that outlives the one that asked for it: the
// keeper, a second process of the same program. elect run is the first process, called the
// wrapper here. It takes part in the election, and tells its keeper until when its lease
// is good. The keeper holds the command, and ends it in time even if the wrapper is
// stopped or killed, since it needs nothing of the wrapper to do so.
//
// # What the keeper does
//
//	what happens                            TERM                      KILL at the latest
//	the lease is not renewed                early before its end      at its end, less the margin
//	the wrapper asks (a signal, a request)  at once                   after grace
//	the pipe is closed (wrapper killed)     at once                   after grace, or as in the first row
//	the wrapper says that the term is lost  –                         at once
//	the command ends by itself              at once, to what it has   after grace, or as in the first row
//	                                        left behind
//
// The first row holds in addition to each of the others. When the pipe is closed, nobody
// will tell a later end. The one that is known still holds: the wrapper's session lives
// on in ZooKeeper, and no other candidate leads before the lease has ended. So the command
// gets that time to stop in order, and not more than grace.
//
// # Time
//
// The end of the lease passes from one process to the other as a point in time, by clocks
// that both read ([Instant]). A time span would count from its arrival: a wrapper that is
// stopped between reading its clock and writing to the pipe would make the lease longer.
//
// # Which processes
//
// The command has a process group of its own, in a session of the keeper's own. A signal
// to the group of the wrapper, such as that of ^C, reaches neither. On Linux the keeper is
// the reaper of all processes that descend from it (PR_SET_CHILD_SUBREAPER), so it finds
// those that have left the group, such as daemons. It reports the end of the command when
// the last of them is gone.
//
// The kernel kills the command if the keeper is killed (PR_SET_PDEATHSIG). The wrapper is
// a reaper, too, so what remains comes to it, and it ends that. It does the same if the
// keeper does not answer in time, for instance because it is stopped.
//
// # What is not promised
//
// If wrapper and keeper are both killed at once, the kernel kills the command, but not the
// processes that the command has started. If both are stopped, nobody ends the command.
// A process that the kernel cannot kill (in uninterruptible sleep) or that this user may
// not kill (a set-uid program) stays. On systems other than Linux, processes that leave
// the command's group are not found, and only FreeBSD kills the command with the keeper.
package keeper
