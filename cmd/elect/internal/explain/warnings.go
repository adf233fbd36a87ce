package explain

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Kind tells a program what a warning is about.
type Kind string

// The kinds of warnings.
const (
	JunkChild          Kind = "junk-child"           // a child that is no candidate
	MixedNames         Kind = "mixed-names"          // candidates with names of several kinds
	PersistentZnode    Kind = "persistent-znode"     // a candidate's znode that belongs to no session
	CounterHigh        Kind = "counter-high"         // the counter is near 2^31
	CounterFull        Kind = "counter-full"         // the counter has stopped at 2^31-1
	CounterOverflowed  Kind = "counter-overflowed"   // the counter has become negative
	SharedSession      Kind = "shared-session"       // several candidates of one session
	SameID             Kind = "same-id"              // several candidates with one ID
	Unreadable         Kind = "unreadable"           // candidates whose znodes this client may not read
	SilentCandidate    Kind = "silent-candidate"     // fast failover announced, and nothing written
	MixedFailover      Kind = "mixed-fast-failover"  // candidates with and without fast failover
	RequestUnanswered  Kind = "request-unanswered"   // an operator's request waits for its answer
	RequestPlaceIsHeld Kind = "request-place-in-use" // what is where a request would be is none
)

// Warning is something odd about an election.
type Warning struct {
	Kind  Kind   `json:"kind"`
	Znode string `json:"znode,omitempty"` // that it is about, if it is about one
	Text  string `json:"text"`            // what it means and what to do, in one line
}

func warnings(e *snapshot.Election, silent map[int64]bool) []Warning {
	var all []Warning
	for _, look := range []func(*snapshot.Election) []Warning{junk, names, persistent, counter, sessions, ids, unreadable, failover, request} {
		all = append(all, look(e)...)
	}
	for i, c := range e.Line {
		if silent[c.Token] && !c.Unreadable {
			all = append(all, silence(c, i+1))
		}
	}
	return all
}

// most is how many warnings of one kind are given one by one.
const most = 5

// junk warns of children that are no candidates. Package internal/interop of the library
// has measured what they do to the others.
func junk(e *snapshot.Election) (all []Warning) {
	used := kinds(e)
	for i, name := range e.Junk {
		if i == most {
			all = append(all, Warning{Kind: JunkChild, Text: fmt.Sprintf("%d more children are no candidates", len(e.Junk)-most)})
			break
		}
		means := "it takes no part"
		switch {
		case used[string(election.ZooKeeperRecipe)] > 0:
			means = "LeaderElectionSupport fails on it: delete it"
		case sortsAhead(e, name):
			means = "Curator's participants take it for one that is ahead, and would wait for ever: delete it"
		}
		all = append(all, Warning{JunkChild, child(e, name),
			fmt.Sprintf("the child %s is no candidate, since its name does not end in ten digits; %s", text.Plain(name), means)})
	}
	return all
}

func child(e *snapshot.Election, name string) string {
	return strings.TrimSuffix(e.Path, "/") + "/" + name
}

// sortsAhead reports whether Curator sorts a name before the first in line. It goes by what
// follows the last "latch-" or "lock-", and by the whole name if there is neither.
func sortsAhead(e *snapshot.Election, name string) bool {
	if len(e.Line) == 0 {
		return false
	}
	for _, word := range []string{"latch-", "lock-"} {
		_, number, curators := strings.Cut(e.Line[0].Name, word)
		if _, rest, found := strings.Cut(name, word); found {
			name = rest
		}
		if curators && name < number {
			return true
		}
	}
	return false
}

// kinds counts the candidates of each naming.
func kinds(e *snapshot.Election) map[string]int {
	all := map[string]int{}
	for _, c := range e.Line {
		all[c.Naming]++
	}
	return all
}

func names(e *snapshot.Election) []Warning {
	all := kinds(e)
	if len(all) < 2 {
		return nil
	}
	var parts []string
	for _, naming := range slices.Sorted(maps.Keys(all)) {
		part := fmt.Sprintf("%d × %s", all[naming], text.Plain(naming))
		if who := snapshot.Users(naming); who != "" {
			part += " (" + who + ")"
		}
		parts = append(parts, part)
	}
	return []Warning{{Kind: MixedNames, Text: "names of several kinds: " + strings.Join(parts, ", ") +
		"; other libraries see only names of their own kind, so several may lead: give all candidates one naming"}}
}

func persistent(e *snapshot.Election) (all []Warning) {
	for i, c := range e.Line {
		if !c.Persistent {
			continue
		}
		blocks := "when it comes to the front, nobody leads"
		if i == 0 {
			blocks = "it is at the front, so nobody leads"
		}
		all = append(all, Warning{PersistentZnode, c.Path,
			fmt.Sprintf("the znode %s belongs to no session and never goes by itself; %s: delete it", text.Plain(c.Name), blocks)})
	}
	return all
}

// few is how many numbers may be left before the counter's end is near: half a year with
// one new candidate each second.
const few = 1 << 24

// counter warns of the end of the server's counter. The counter is that of the path, and
// also that of the candidates, who may have other names than the server would give now.
func counter(e *snapshot.Election) []Warning {
	const restart = "; delete the path while nobody takes part, and it counts from 0 again"
	switch {
	case e.Missing:
		return nil
	case slices.ContainsFunc(e.Line, func(c snapshot.Candidate) bool { return int32(c.Counter) < 0 }):
		return []Warning{{Kind: CounterOverflowed,
			Text: "the counter in the names has overflowed to negative numbers, which other libraries sort wrongly" + restart}}
	case e.Next == math.MaxInt32:
		return []Warning{{Kind: CounterFull, Text: "the counter in the names has reached its end, 2147483647, so new candidates bear one number, " +
			"which other libraries cannot sort" + restart}}
	case e.Next > math.MaxInt32-few:
		return []Warning{{Kind: CounterHigh, Text: fmt.Sprintf("the counter in the names is at %d and ends at 2147483647%s", e.Next, restart)}}
	}
	return nil
}

// sessions does not name the session: who knows its id can end it.
func sessions(e *snapshot.Election) (all []Warning) {
	for _, same := range groups(e, func(c snapshot.Candidate) (int64, bool) { return c.SessionID, c.SessionID != 0 }) {
		all = append(all, Warning{Kind: SharedSession,
			Text: fmt.Sprintf("%s belong to one session: if their process dies, all of them go at once", list(same))})
	}
	return all
}

func ids(e *snapshot.Election) (all []Warning) {
	for _, same := range groups(e, func(c snapshot.Candidate) (string, bool) { return c.ID, !c.Unreadable }) {
		what := fmt.Sprintf("have the ID %s", text.Plain(same[0].ID))
		if same[0].ID == "" {
			what = "have no ID"
		}
		all = append(all, Warning{Kind: SameID, Text: fmt.Sprintf("%d candidates %s: hand-over takes the first of them behind the leader", len(same), what)})
	}
	return all
}

// groups returns the candidates that share a key, if there are several, in line.
func groups[K comparable](e *snapshot.Election, key func(snapshot.Candidate) (K, bool)) (all [][]snapshot.Candidate) {
	byKey, order := map[K][]snapshot.Candidate{}, []K{}
	for _, c := range e.Line {
		k, counts := key(c)
		if !counts {
			continue
		}
		if byKey[k] == nil {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], c)
	}
	for _, k := range order {
		if len(byKey[k]) > 1 {
			all = append(all, byKey[k])
		}
	}
	return all
}

func list(some []snapshot.Candidate) string {
	var names []string
	for i, c := range some {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(some)-most))
			break
		}
		names = append(names, text.Plain(c.Label()))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func unreadable(e *snapshot.Election) []Warning {
	n := 0
	for _, c := range e.Line {
		if c.Unreadable {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []Warning{{Kind: Unreadable,
		Text: fmt.Sprintf("%d znodes of candidates may not be read by this client, and perhaps not by the candidates behind them: grant READ", n)}}
}

// failover warns only if the front is concerned or may be: all of the line comes there.
func failover(e *snapshot.Election) []Warning {
	with, without := 0, 0
	for _, c := range e.Line {
		switch {
		case c.Unreadable, c.Persistent:
		case c.Within > 0:
			with++
		default:
			without++
		}
	}
	if with == 0 || without == 0 {
		return nil
	}
	return []Warning{{Kind: MixedFailover, Text: fmt.Sprintf("%d candidates have fast failover and %d have not: a crash among the latter, or ahead of one of them, "+
		"is noticed only when the session expires", with, without)}}
}

func silence(c snapshot.Candidate, place int) Warning {
	then := "the next in line replaces it if it has fast failover, too"
	if c.Version == 0 {
		then = "it has never written, so it is replaced only when its session expires"
	}
	return Warning{SilentCandidate, c.Path, fmt.Sprintf("%s, %s in line, has announced fast failover and has written nothing for %v: "+
		"it is dead, paused or cut off; %s",
		text.Plain(c.Label()), text.Ordinal(place), c.Within, then)}
}

func request(e *snapshot.Election) []Warning {
	q := e.Request
	switch {
	case q == nil || q.Answered:
		return nil
	case q.Foreign:
		return []Warning{{RequestPlaceIsHeld, q.Path, fmt.Sprintf("%s is no request, so no other can be made: delete it", text.Plain(q.Path))}}
	case len(e.Line) > 0 && q.Token == e.Line[0].Token:
		return []Warning{{RequestUnanswered, q.Path, fmt.Sprintf("a request to %s waits for the answer of %s: without one, "+
			"that is of another library, takes no requests, or is cut off", text.Plain(q.What), text.Plain(e.Line[0].Label()))}}
	}
	return nil
}
