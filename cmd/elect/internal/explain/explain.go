// Package explain says why somebody does not lead, and what is odd about an election, from
// what ZooKeeper shows.
//
// What it cannot see is whether a candidate lives. ZooKeeper keeps the znode of a dead
// process until its session expires, and tells no client when it last heard of a session.
// There are three exceptions. A candidate with fast failover writes its own znode again
// and again, so silence shows. A candidate with strict hand-over writes that it leads. And
// a request that nobody answers is a sign, too.
package explain

import (
	"context"
	"fmt"
	"time"

	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
	"github.com/zkelection/election/internal/reign"
)

// Reason says in one line why a candidate leads or does not.
type Reason struct {
	Candidate snapshot.Candidate
	Place     int    // 1 is the first in line
	Why       string // continues "<ID>: "
}

// Report is what is to be said of an election.
type Report struct {
	Reasons  []Reason // in line
	Warnings []Warning
}

// Explain explains an election. silent are the candidates that have been silent for too
// long: see [Silent].
func Explain(e *snapshot.Election, silent map[int64]bool) Report {
	r := Report{Warnings: warnings(e, silent)}
	for i := range e.Line {
		r.Reasons = append(r.Reasons, Reason{e.Line[i], i + 1, why(e, i, silent)})
	}
	return r
}

func why(e *snapshot.Election, i int, silent map[int64]bool) string {
	if i == 0 {
		return first(e, silent[e.Line[0].Token])
	}
	c, ahead := e.Line[i], e.Line[i-1]
	text := fmt.Sprintf("%s in line, behind %s%s", text.Ordinal(i+1), text.Plain(ahead.Label()), leads(e, i-1, silent))
	if c.Persistent {
		text += "; its znode belongs to no session, so nobody will lead for it"
	}
	return text
}

// leads adds to the name of the first in line what can be said of it.
func leads(e *snapshot.Election, i int, silent map[int64]bool) string {
	c := e.Line[i]
	switch {
	case i > 0 || c.Unreadable:
		return ""
	case c.Persistent:
		return ", a znode that stays until somebody deletes it"
	case silent[c.Token]:
		return ", which has been silent for too long"
	case reigns(e):
		return fmt.Sprintf(", which has led for %s", age(e, e.Began))
	}
	return fmt.Sprintf(", which has been in line for %s", age(e, c.Since))
}

// reigns reports whether the record of strict hand-over says that the first in line leads.
func reigns(e *snapshot.Election) bool {
	return len(e.Line) > 0 && !e.Line[0].Unreadable && e.Reign.Reign == e.Line[0].Token && !e.Reign.Left
}

func age(e *snapshot.Election, since time.Time) string { return text.Age(e.Read.Sub(since)) }

// first says why the first in line leads or does not.
func first(e *snapshot.Election, silent bool) string {
	c := e.Line[0]
	switch {
	case c.Unreadable:
		return "first in line, but its znode may not be read by this client"
	case c.Persistent:
		return "first in line, but its znode belongs to no session: nobody leads until somebody deletes it"
	case silent:
		return fmt.Sprintf("first in line, but has written nothing for %v: it is dead, paused or cut off, and does not lead", c.Within)
	case reigns(e):
		return fmt.Sprintf("leads, and has led for %s (so it says: strict hand-over)", age(e, e.Began))
	case e.Reign.Reign != 0 && !e.Reign.Left:
		return fmt.Sprintf("first in line, but does not lead before the last leader's time is over, at most %v after it came to the front (strict hand-over)",
			reign.Wait(e.Reign.Lasts))
	case e.Reign.Reign != 0:
		return "first in line, and about to lead (strict hand-over)"
	}
	return fmt.Sprintf("first in line, and in line for %s: it leads, unless it has lost touch with ZooKeeper", age(e, c.Since))
}

// longest is for how long a candidate is waited for: half of the longest session timeout that
// a server grants by default. One that announces more is not called silent.
const longest = 20 * time.Second

// front is how many candidates write their znodes with fast failover: the first and the one
// behind it.
const front = 2

// Silent returns the tokens of the candidates at the front that have announced to write
// their znodes, by fast failover, and have not done so for as long as they announced. It
// waits for that time: half of a session timeout.
func Silent(ctx context.Context, r snapshot.Reader, e *snapshot.Election) (map[int64]bool, error) {
	silent := map[int64]bool{}
	for i, c := range e.Line {
		if i == front || c.Within == 0 || c.Within > longest || c.Unreadable {
			break // the second writes only behind one that does, as far as anybody relies on it
		}
		if i > 0 && c.Version == 0 {
			break // it may not know yet that it is the second: nobody notifies the third
		}
		wait := time.NewTimer(time.Until(e.Read.Add(c.Within)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, ctx.Err()
		}
		version, found, err := r.Version(ctx, c)
		if err != nil {
			return nil, err
		}
		if found && version == c.Version {
			silent[c.Token] = true
		}
	}
	return silent, nil
}
