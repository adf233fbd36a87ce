// Package election elects one leader among the replicas of a service, on Apache
// ZooKeeper.
//
// A [Candidate] takes part in the election at one path. [Candidate.Await] waits until it
// leads, [Candidate.Run] runs a function while it leads, and a [Listener] is notified
// when it begins and ceases to lead:
//
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
//	candidate, err := election.NewCandidate(client, "/nightly-job")
//	err = candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
//		return runJobs(ctx, term.Token()) // until ctx is done
//	})
//
// Run leaves the election when its function returns while the term lasts, and another
// replica then leads. A function that is to run on one replica for good loops until ctx
// is done.
//
// # What is not promised
//
// A leader may be paused between its check that it leads and its write. No election can keep
// that write from arriving when the next leader already leads. Two things can. The resource
// can remember the largest fencing token that it has seen, and refuse smaller ones
// ([Term.Token]). For data in ZooKeeper, ZooKeeper can do that ([Term.Guard]).
//
// The guarantees below do not hold
//   - if clocks run apart by more than 9 %, or if a hypervisor stops both clocks of its
//     guest for a time;
//   - for a moment, if a leader's znode is deleted by hand. Its successor may learn of
//     that before the leader does;
//   - for T/3, T being the session timeout, if somebody else ends a leader's session.
//     Everyone who reaches a client port of the ensemble and knows a session's id can do
//     that, in spite of all ACLs. ZooKeeper derives the password of a session from its id
//     and a constant (ZooKeeperServer.generatePasswd), and shows the id to all who may
//     read the znode (Stat.ephemeralOwner). Only the network protects from it, and TLS
//     with client certificates on all client ports;
//   - for T/3, if the ensemble's leader goes on serving requests while its thread that
//     sends pings is held up for about T (ZOOKEEPER-3774). Sessions end then, and no
//     client can know;
//   - for a moment, if somebody writes data to a leader's znode by hand that names a time
//     for [WithFastFailover] shorter than the leader's own, or any time where the leader
//     has none. The next candidate goes by what it reads there. An ACL prevents that
//     ([WithACL]). Any other write by hand only delays. It costs the leader one of its
//     own writes, so many in a row end its term, and a dead leader is replaced later;
//   - if the ensemble grants a session timeout of less than two of its ticks, against its
//     own default, or of less than four ticks behind an observer that follows a follower
//     (observerMasterPort);
//   - if its servers grant different session timeouts. Give all of them the same
//     minSessionTimeout, maxSessionTimeout and tickTime, and end the sessions before you
//     lower maxSessionTimeout to less than half of its value;
//   - if the ensemble loses its data, or is set back to a backup. Two candidates may then
//     lead for T/3, and tokens go back with the data. A backup also brings back sessions,
//     and znodes that their candidates have removed since. Stop all clients before you
//     restore one.
//
// With [WithFastFailover] and a time S, "T/3" above is S/1.2 if that is less. With
// [WithStrictHandover], the guarantees also hold if anyone deletes znodes or ends sessions
// at any time. They hold for any granted timeouts as long as the path is not deleted. Three
// gaps remain: clocks that run apart, data written by hand, and the loss of the ensemble's
// data.
//
// # How it works
//
//	/my-app/nightly-job
//	  ├─ _c_6d3c1b1e-…-latch-0000000004   worker-1   leads: it is first in line, and its lease is good
//	  ├─ _c_09f2c1aa-…-latch-0000000005   worker-2   watches …004, keeps its lease ready
//	  └─ _c_e1c81c24-…-latch-0000000006   worker-3   watches …005
//
// Each candidate has one ephemeral sequential znode. It watches that znode and the one
// directly ahead. The candidate with the lowest number may lead, but only while its lease
// is good. To renew the lease, the client sends a transaction that changes nothing, every
// twelfth of the session timeout. It proves that a quorum still knows the session.
// Package internal/session gives the reasoning, package internal/machine the states that
// a candidate goes through.
//
// # G1 One leader
//
// At no instant do two candidates of a path, in any processes, report true from
// [Candidate.HasLeadership] or have a term whose context is alive.
//
// T being the session timeout granted, a proof sent at time s makes the lease good until
// s + T/3 at most. The lease also ends 0.09 T before the ensemble could end the session,
// counted from the last moment at which the ensemble's leader is known to have heard of
// the session. So a candidate has ceased to lead before its znode can go. That holds when
// the process was paused, when the network was cut on either side of its server, and when
// the ensemble changed its leader. An answer to a ping or a read is no proof: a server
// that is cut off from its ensemble goes on giving them. The clocks of client and servers
// may run apart by 9 %.
//
// With [WithFastFailover] and a time S, a candidate leads only while its writes to its own
// znode are answered, too. Such a write is good for S/1.2 from when it was sent. The next
// candidate deletes the znode S after it has seen the latest write, and only if there has
// been no other. So the candidate has ceased to lead before its znode goes. Package
// internal/beat gives the proof.
//
// With [WithStrictHandover], the successor does not rely on when the last leader's znode went.
// Unless the last leader has left in order, the successor waits until that leader has ceased
// to lead. Package internal/reign gives the proof.
//
// # G2 Belief has a deadline
//
// [Candidate.HasLeadership] compares the lease with two clocks at each call: the
// monotonic clock, which stands still while a machine sleeps, and the wall clock, which
// may be set back. After a pause it is false on the first call. Err of the term's context
// does the same. Its Done channel closes as soon as a goroutine has run. Ask
// HasLeadership or Err right before each write, and use Done to stop waiting.
//
// # G3 Work stops before leadership is handed over
//
// [Candidate.Resign], [Candidate.HandOver], [Candidate.Shutdown], [Candidate.Close] and a
// request from outside ([Client.RequestResign], [Client.RequestHandOver]) keep this order:
// HasLeadership becomes false, the term's context is cancelled, NotLeader is called, the
// function under Run returns, and whatever holds the term ([Term.Hold]) releases it. Only
// then is the znode deleted. Listeners get a tenth of a second to return from NotLeader,
// while the work is waited for as long as it runs. A candidate does not take part again
// before its work has returned. If the work never returns, nobody leads, rather than two;
// [WithOverrun] reports that. Only [Client.Close] does not wait: it ends the session.
//
// All this needs a process that runs. A process that hangs altogether cannot be waited
// for. It is replaced when its session expires, or sooner with [WithFastFailover], since
// it has stopped to write to its znode. Its term is over by then. If it runs again, its
// work sees that at the next check, and the fencing token stops what it had begun to send.
//
// # G4 Fencing
//
// [Term.Token] is the czxid of the candidate's znode: the number of the ZooKeeper
// transaction that created it. It is strictly larger for every later leader, also after
// the path was deleted and created again. (Sequence numbers start again then.)
// [Term.Guard] puts a check of the term's znode before the caller's writes, in one
// transaction.
//
// # G5 No candidate is lost, none is left behind
//
// While the client is open and ZooKeeper answers, a started candidate has exactly one
// znode, and a closed candidate has none. If the reply to a create was lost, the
// candidate looks for the znode, and uses or removes it: names carry a UUID (or see
// [Naming]). If a session has expired, or an operator has deleted the znode or the whole
// path, the candidate takes part again by itself, at the back of the line.
//
// # G6 Somebody leads
//
// Once faults end, a leader is in office within one session timeout + 2 s. To keep that
// bound, attempts to connect are at most 1.5 s apart, and a server has at most one
// session timeout to greet. A request that failed is made again within a second. After
// every reconnect each candidate checks its own znode and the one ahead of it at once.
//
// A candidate also checks these znodes every half to one session timeout, in case a watch
// was lost without a reconnect. All candidates of a client together send at most two such
// requests a second. So with many candidates each one checks less often: with 100 candidates
// that lead, every 50 s. Candidates that lead or are next in line check most often.
//
// If no server will ever serve a session again, the client gives the session up, and its
// candidates take part with a new one. Clients made by [Connect] notice two such cases.
//   - An ensemble that has lost data refuses sessions that have seen more than it has.
//     The candidates are back within one session timeout + 2 s of the moment when the
//     ensemble serves again.
//   - Servers may greet a client and close the connection at its requests, because they
//     refuse its credentials or find its watches too large (jute.maxbuffer). Such a
//     session would live for ever and hold up the candidates behind it. The client gives it
//     up after two session timeouts without an answer, and it ends one session timeout
//     later. The next candidate then leads.
//
// If a server greets and is then silent, the client only goes on to the next server. If the
// ensemble only has no quorum, no session ends, however long that lasts.
//
// # G7 Callbacks are ordered
//
// For each [Listener], IsLeader and NotLeader alternate, never overlap and carry the same
// [Term] in pairs, and no call is lost. Each listener has a queue of its own, so a listener
// that is slow, panics or never returns delays no other.
//
// # G8 One wakes
//
// When a candidate leaves, only the one behind it wakes, by its watch. It has kept its
// lease ready, so it leads without another round trip. A re-election costs the same with
// ten candidates as with ten thousand.
//
// Candidates further back are not woken. They learn who has left only at their next check
// (see G6). So if several leaders leave before that, the next in line first makes sure, in
// one round trip, that no one is left ahead. It asks for all znodes that it still knows ahead
// of it, or lists the line if that seems to take fewer bytes. A candidate keeps only the
// sixteen nearest names, so with more ahead it also lists the line. It proves its lease
// meanwhile. If its lease has run out, which may be so from T/3 after it entered the line,
// the proof takes two round trips.
//
// # G9 Cancel works
//
// Every call that takes a context returns within 100 ms of the context's end, also while
// ZooKeeper cannot be reached. The exception is [Candidate.Run], which waits for its
// function. The Close methods take no context and bound themselves: [Candidate.Close] to
// a second, [Client.Close] to one or two. No goroutine outlives Client.Close, except for
// those that run the user's own callbacks.
//
// # Choosing how fast
//
// Two times decide how soon a leader is replaced if it does not hand over itself. T is the
// session timeout ([WithSessionTimeout]). S is the time of [WithFastFailover], if the
// candidates have that option.
//
//	what fails               without                          with WithFastFailover(S)
//	its process crashes,     the next leads after 11T/12      the next leads after 4S/5 to S,
//	its machine stops        to T + 1.5 ticks                 and up to five round trips
//	it is cut off,           up to T/4: it goes on leading    up to S/2: it goes on leading
//	its process is paused    until its session expires: it    up to 4S/5: it leads again
//	                         leads again when it is back
//	                         longer: as after a crash         longer: as after a crash
//	ZooKeeper commits        up to T/4: it goes on leading    up to S/2: it goes on leading
//	nothing for a while      longer: no one leads until       longer: the same
//	                         ZooKeeper commits again; then
//	                         the first in line
//	Resign, Shutdown,        the next leads a round trip      the same
//	a request from outside   later
//
// The reasons:
//
//   - Without S, ZooKeeper ends the session. A client that leads sends a proof at least every
//     T/12. Servers round up to their ticks (2 s by default), and a follower reports a
//     session up to half a tick late (package internal/session).
//   - With S, the next candidate deletes the znode. Both candidates need the option. The
//     leader writes to its znode at least every S/5, and the next candidate counts S from
//     when it has seen the latest write. If its clock is slow, that takes up to a tenth
//     longer.
//   - A leader that is cut off or paused ceases to lead at most T/3 after it sent its last
//     proof, and with S at most S/1.2 after it sent its last write. If it is back in time,
//     it leads again in a new term with the same token.
//   - T/4 and S/2 are for one silence, with quick answers before and after it. If all
//     answers are late, the leader goes on leading up to a delay of T/6, or S/3 with S.
//   - While ZooKeeper commits nothing, no session ends and no znode is deleted. Afterwards
//     the same candidate is usually first in line. But after a stall of about T its session
//     may end. With S, a candidate may be replaced if its client reconnects late.
//
// The default T of 10 s suits work that tolerates ten seconds without a leader. The server
// grants between 2 and 20 ticks, 4 s to 40 s by its defaults. If that is too slow, use
// WithFastFailover and not a short T. S is from 100 ms to T/2. Choose S longer than the
// longest time that ZooKeeper takes for a write, and longer than the longest pause of the
// process. If neither may end a term, S must be at least twice the sum of both.
//
// With [WithStrictHandover], if the last leader has not left in order, the next one leads up
// to 1.1 T/3 later, or 1.1 S/1.2 with S if that is less. A hand-over in order takes one write
// more.
//
// # Mixed elections
//
// Our candidates of all namings share one line with participants of Apache Curator, Kazoo
// and ZooKeeper's recipes. Those libraries see only names of their own kind, or fail on
// others. So all participants of an election need names of one kind: choose theirs by
// [WithNaming].
//
// Our guarantees hold for our terms. Our candidate leads only if nobody is ahead of it
// and its lease is good. So any overlap is caused by a foreign participant that led
// before, has lost its znode and does not know it yet. LeaderLatch is one while its work
// stops, since its close deletes the znode first: stop the work before you close it. All
// of them are, for ever, when their znode is deleted by hand.
//
// Tokens are comparable across all libraries. Never write to candidates' znodes:
// LeaderLatch and LeaderElectionSupport lose their watch by it. WithFastFailover does
// write to them, so it is for elections without other libraries. Package internal/interop
// has the measurements.
package election

import (
	"errors"
	"fmt"
	"time"

	"github.com/zkelection/election/internal/znode"
)

// The errors of this package. Those that "end a term" are the [context.Cause] of the
// term's context, and [Term.Err] returns them. By then HasLeadership is false. Test for
// them with [errors.Is].
var (
	// ErrClosed means that the candidate or its client is closed. Start, Await, Run,
	// Resign, Shutdown, Guard, Leader, Participants and Observe return it, and so does a
	// closed [Follower]. It ends a term when the candidate or the client is closed or
	// shut down, so an [ErrTermOver] may match it, too. Whether the client is closed,
	// [Client.Status] tells.
	ErrClosed = errors.New("election: closed")
	// ErrNoLeader means that nobody takes part in this election at this moment.
	// [Client.Leader], [Client.Observe] and [Follower.Leader] return it.
	ErrNoLeader = errors.New("election: no leader")
	// ErrSessionExpired ends a term: ZooKeeper ended the session, and the znode with it.
	// The candidate takes part again by itself, at the back of the line. Leader and
	// Participants return it if the session ended during the call, and Do adds it to the
	// error of its function then.
	ErrSessionExpired = errors.New("election: session expired")
	// ErrLeaseExpired ends a term: no quorum confirmed the session in time, or the
	// process was paused. The znode may well be there. The candidate then keeps its
	// place. It leads again after a fresh proof, in a new term with the same token,
	// unless another candidate has led meanwhile.
	ErrLeaseExpired = errors.New("election: lease expired")
	// ErrDisconnected means that the connection was lost, or that there is none. What is
	// true then depends on who returns it:
	//   - It ends a term of a candidate with [WithStepDownOnDisconnect]. The znode keeps
	//     its place.
	//   - Observe yields it while it cannot know who leads. Leader and Participants
	//     return it when they cannot. Follower.Leader returns it with the last leader
	//     known.
	//   - Guard returns it, wrapped, when no answer came. All of the writes may have been
	//     applied, or none.
	//   - Do adds it to the error of a function whose request got no answer.
	//   - Start, Await and Run add it to their ctx's error when there is no connection
	//     and no better reason is known.
	//   - Close of a candidate returns it when the znode is still to be removed.
	//   - Close of a client returns it when the session could not be ended in time. Its
	//     znodes go when it expires.
	ErrDisconnected = errors.New("election: disconnected")
	// ErrNodeDeleted ends a term: somebody deleted the candidate's znode, or the whole
	// path. The candidate takes part again, at the back of the line. If a server ends a
	// session while its client is connected, it reports the znode's deletion first. So
	// that, too, can end a term with this error instead of ErrSessionExpired.
	ErrNodeDeleted = errors.New("election: znode deleted")
	// ErrResigned ends a term: Resign or HandOver was called, an operator asked for it
	// ([Client.RequestResign]), the time of [WithMaxTerm] was over, or Run gave the term up.
	ErrResigned = errors.New("election: resigned")
	// ErrUnhealthy ends a term: the health check failed. The candidate is out of the line
	// until the check passes.
	ErrUnhealthy = errors.New("election: unhealthy")
	// ErrTermOver means that nothing was written: Guard was called for a term that is
	// over, or ZooKeeper refused the writes because the term's znode is gone. From Hold
	// it means that the term is over and the work must not begin. It wraps the term's
	// cause if that is known.
	ErrTermOver = errors.New("election: term over")
	// ErrIsLeader means that a participant is first in line and cannot be evicted.
	// Nothing was removed.
	ErrIsLeader = errors.New("election: it is first in line")
	// ErrRequested means that another operator's request to the same leader is under way.
	// This one was not made.
	ErrRequested = errors.New("election: another request is under way")
	// ErrUnasked means that the leader did not answer a request within a session timeout.
	// It belongs to another library, or takes no requests ([WithoutRequests]), or is cut
	// off from ZooKeeper. The request is withdrawn and will not be carried out.
	ErrUnasked = errors.New("election: the leader did not answer the request")
)

// ErrTooMany means that the names of a client's znodes would have more bytes together
// than one session may. Start, Await and Run return it. Nothing was sent. The candidate
// can be started later, when others have been closed or their Run is over, or made again on another [Client].
// See [WithMaxEphemeralBytes].
var ErrTooMany = errors.New("election: too many candidates for one session")

// State is where a candidate is in its life.
type State string

// The states of a candidate.
const (
	StateIdle      State = "idle"      // takes no part: not started, or Run has ended or pauses ([WithRequeue])
	StateUnhealthy State = "unhealthy" // takes no part while its health check fails
	StateJoining   State = "joining"   // creates its znode, or waits until ZooKeeper can
	StateFollowing State = "following" // another candidate is ahead in line
	StateElected   State = "elected"   // nobody is ahead; the lease is still to be proved
	StateLeading   State = "leading"   // leads, as long as the lease is good
	StateStopping  State = "stopping"  // the term is over, and its work has still to return
	StateLeaving   State = "leaving"   // removes its znode
	StateClosed    State = "closed"    // has left for good
)

// Participant is a participant of an election, ours or another library's.
type Participant struct {
	// ID is what the znode holds, without the metadata: WithID's value, Curator's
	// participant id, Kazoo's identifier, the host name of LeaderElectionSupport.
	ID string `json:"id"`
	// Path is the znode's full path, below the chroot.
	Path string `json:"path"`
	// Token is the znode's czxid, which is the fencing token of this participant's terms.
	// In JSON it is a string such as "0x1f": a JSON number loses digits above 2^53.
	Token int64 `json:"token"`
	// SessionID is the session that the znode belongs to. It is neither in the JSON nor
	// in String: see [Status].
	SessionID int64 `json:"-"`
	// Leader says that this participant is at the front of the line. Either it leads, or
	// it is about to, or it has lost touch with ZooKeeper and does not lead until it is
	// back. Only the participant itself knows which.
	Leader bool `json:"leader"`
	// Since is when the znode was made, in UTC, by the clock of the ensemble's leader. The
	// participant is in line since then. It may have come to lead much later.
	Since time.Time `json:"since"`
	// Metadata is what [WithMetadata] gave. It is nil if there is none.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// String describes the participant in one line, without its session.
func (p Participant) String() string {
	return znode.OneLine(fmt.Sprintf("%s (%s, token %#x)", znode.Brief(p.ID), znode.Brief(p.Path), p.Token))
}
