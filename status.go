package election

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/znode"
)

// Status is a snapshot of a candidate, fit for a health endpoint. Its JSON and its String
// leave the session's id out. In JSON, the token is a string such as "0x1f".
//
// Do not make readiness depend on Leading: a readiness probe that requires leadership
// takes all replicas but one out of service. Use Leading to route writes.
type Status struct {
	Path      string        `json:"path"` // of the election, below the chroot
	ID        string        `json:"id"`   // WithID's
	State     State         `json:"state"`
	Since     time.Time     `json:"since"`             // when State began
	Leading   bool          `json:"leading"`           // HasLeadership at the time of the snapshot
	Place     int           `json:"place,omitempty"`   // in line, 1 being the first; an upper bound: those ahead may have left
	Znode     string        `json:"znode,omitempty"`   // full path below the chroot
	Token     int64         `json:"token,omitempty"`   // fencing token of Znode, once that has been read
	Ahead     *Participant  `json:"ahead,omitempty"`   // the participant directly ahead
	SessionID int64         `json:"-"`                 // left out of the JSON and of String, since it can be used to end the session
	Connected bool          `json:"connected"`         // to a server, in that session
	Timeout   time.Duration `json:"timeout,omitempty"` // session timeout, in nanoseconds: the shortest that was granted in this session
	// LeaseEnd is the end of the lease that the candidate leads by, or would lead by with
	// Znode, as known now: while it leads, the term's Deadline. It is zero if that is not
	// proved. With WithFastFailover only the first two in line prove theirs, and with
	// WithStrictHandover only the leader.
	LeaseEnd time.Time `json:"leaseEnd,omitzero"`
	// LastError is the error of a failing health check, else why no server can be
	// reached, else the error of the latest request.
	LastError string `json:"lastError,omitempty"`
}

// Status returns a snapshot. It sends no request and does not block.
func (c *Candidate) Status() Status {
	st := c.sess.Status()
	var t *Term
	v := c.driver.View(func() { t = c.term.Load() })
	s := Status{Path: c.path, ID: c.cfg.id, State: State(v.State.String()), Since: v.Since, Leading: t != nil && t.live(time.Now()),
		Place: v.Place, Token: v.Token, SessionID: st.ID, Connected: st.Connected, Timeout: st.Timeout}
	if v.Node != "" {
		s.Znode = znode.Join(c.path, v.Node)
	}

	if v.Nearest != "" && v.Ahead.Path == c.znode(v.Nearest) {
		p := c.client.participant(v.Ahead)
		p.Leader = v.Place == 2
		s.Ahead = &p
	}

	if b, ok := c.driver.Belief(v); ok {
		s.LeaseEnd = b.End()
	}
	if err := c.lastProblem(st.Connected); err != nil {
		s.LastError = err.Error()
	}
	return s
}

// String says in one line why the candidate does or does not lead.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: %s", znode.Brief(s.ID), znode.Brief(s.Path), s.why())
	if !s.Connected {
		b.WriteString("; not connected to ZooKeeper")
	}
	if s.LastError != "" {
		fmt.Fprintf(&b, "; last error: %s", s.LastError)
	}
	return znode.OneLine(b.String())
}

func (s Status) why() string {
	switch {
	case s.Leading:
		return fmt.Sprintf("leads with token %#x", s.Token)
	case s.State == StateFollowing && s.Ahead != nil:
		return fmt.Sprintf("does not lead: number %d in line, behind %v", s.Place, *s.Ahead)
	case s.State == StateFollowing:
		return fmt.Sprintf("does not lead: number %d in line", s.Place)
	}
	return "does not lead: " + reasons[s.State]
}

var reasons = map[State]string{
	StateIdle:      "it does not stand: not started, its Start or Run is over, or Run pauses",
	StateUnhealthy: "its health check fails",
	StateJoining:   "has no znode yet",
	StateElected:   "first in line, but its lease is not proved, or, with strict hand-over, the last leader's may not be over",
	StateLeading:   "its lease has just run out",
	StateStopping:  "its last term is over and the work of it still runs",
	StateLeaving:   "is leaving the line",
	StateClosed:    "is closed",
}

// lastProblem is what to report: a failing health check, else why no server can be
// reached, else the latest request that failed. A request that failed with the connection
// is history as soon as there is news of the connection itself.
func (c *Candidate) lastProblem(connected bool) error {
	last := cmp.Or(c.driver.Problems())
	c.mu.Lock()
	sick := c.healthErr
	c.mu.Unlock()
	if sick == nil && !connected && (last == nil || queue.Fault(last) == machine.Lost) {
		return cmp.Or(c.sess.LastError(), last)
	}
	return cmp.Or(sick, last)
}
