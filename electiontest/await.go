package electiontest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/znode"
)

// awaitStep is the time between two checks of [Servers.AwaitLeader].
const awaitStep = 10 * time.Millisecond

// AwaitLeader waits until somebody leads at electionPath. With ids, it waits until a
// participant with one of these IDs leads. It returns that participant. It works in virtual
// and in real time.
//
// AwaitLeader sees only what the servers know. For them a participant leads if it is first
// in line and they have since answered a transaction of its session. A candidate of this
// library sends such a transaction every twelfth of its session timeout, to prove its lease.
// So AwaitLeader may notice the leader that much later. A participant of another library
// sends none. It counts as leader when it has been first in line for a session timeout, and
// the servers still hear from its session.
//
// If ctx ends first, AwaitLeader returns an error that wraps ctx's cause, and shows the line
// and the servers.
func (s *Servers) AwaitLeader(ctx context.Context, electionPath string, ids ...string) (election.Participant, error) {
	if err := znode.CheckPath(electionPath); err != nil {
		return election.Participant{}, fmt.Errorf("electiontest: await leader: the path %q %w", electionPath, err)
	}
	began := time.Now()
	var front reignOf
	for {
		leads := front.look(s, electionPath)
		p := front.participant
		wanted := len(ids) == 0 || slices.Contains(ids, p.ID)
		if leads && wanted && front.settled {
			return p, nil
		}
		// One more check gives the participant the time to get the answer before the caller goes on.
		front.settled = leads

		select {
		case <-ctx.Done():
			return election.Participant{}, fmt.Errorf("electiontest: %s at %s after %v: %w\n%s", nobody(ids), electionPath,
				time.Since(began).Round(time.Millisecond), context.Cause(ctx), s.describe(electionPath))
		case <-time.After(awaitStep):
		}
	}
}

func nobody(ids []string) string {
	if len(ids) == 0 {
		return "nobody leads"
	}
	return strings.Join(ids, " or ") + " does not lead"
}

// reignOf is what one wait knows of the participant at the front.
type reignOf struct {
	participant election.Participant
	since       time.Time // when it was first seen at the front
	proofs      int       // of its session, at that time
	settled     bool      // it led at the last look
}

// look reports whether the participant at the front leads.
func (r *reignOf) look(s *Servers, electionPath string) bool {
	p := s.Leader(electionPath)
	proved := s.contacts.of(p.SessionID).proofs
	if p.Path != r.participant.Path || p.Token != r.participant.Token {
		*r = reignOf{participant: p, since: time.Now(), proofs: proved}
	}
	r.participant = p
	return p.Path != "" && (proved > r.proofs || s.foreignLeads(r))
}

// foreignLeads reports whether the participant has proved no lease since it was first seen at
// the front, a session timeout ago, and is in touch with the servers nonetheless. A
// candidate of this library that is in touch proves its lease much more often.
func (s *Servers) foreignLeads(r *reignOf) bool {
	for _, session := range s.sim.Sessions() {
		if session.ID == r.participant.SessionID {
			heard := s.contacts.of(session.ID).heard
			return time.Since(r.since) >= session.Timeout && time.Since(heard) < session.Timeout/2
		}
	}
	return false
}

// describe shows the line at electionPath and the servers, for an error.
func (s *Servers) describe(electionPath string) string {
	var b strings.Builder
	place := 0
	for p := range s.line(electionPath) {
		place++
		fmt.Fprintf(&b, "  %d. %s, token %#x, in line for %v, %s\n", place, znode.Brief(p.ID), p.Token,
			time.Since(p.Since).Round(time.Millisecond), s.contact(p.SessionID))
	}
	if place == 0 {
		b.WriteString("  the line is empty\n")
	}
	for id := 1; id <= s.count; id++ {
		state := "serves"
		switch {
		case !s.sim.Serving(id):
			state = "does not serve"
		case id == s.LeadingServer():
			state = "serves, and leads the servers"
		}
		fmt.Fprintf(&b, "  %s %s\n", zksim.ServerName(id), state)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// contact says what the servers know of a session.
func (s *Servers) contact(session int64) string {
	c := s.contacts.of(session)
	switch {
	case c.heard.IsZero():
		return "nothing of its session was answered since the servers started"
	case c.proofs == 0:
		return fmt.Sprintf("no proof of its lease was answered, and the latest answer was %v ago", time.Since(c.heard).Round(time.Millisecond))
	}
	return fmt.Sprintf("the latest proof of its lease was answered %v ago", time.Since(c.proved).Round(time.Millisecond))
}

// contact is what the servers have answered in one session.
type contact struct {
	client string    // its name on the network
	heard  time.Time // when the latest answer was sent
	proofs int       // transactions that were answered
	proved time.Time // when the latest one was
}

// contacts are those of all sessions.
type contacts struct {
	mu  sync.Mutex // guards the following; a leaf: note runs under the ensemble's lock
	all map[int64]contact
}

// note takes an answer. It never loses one.
func (c *contacts) note(r zksim.Reply) (lose bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[int64]contact{}
	}
	x := c.all[r.Session]
	x.client, x.heard = r.Client, time.Now()
	if r.Op == jute.OpMulti && r.Code == jute.CodeOK {
		x.proofs, x.proved = x.proofs+1, x.heard
	}
	c.all[r.Session] = x
	return false
}

func (c *contacts) of(session int64) contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[session]
}
