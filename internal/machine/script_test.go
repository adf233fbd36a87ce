package machine_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

var update = flag.Bool("update", false, "write what the machine does into testdata, to be read before it is believed")

// A script is one interleaving: an event a line, and indented below it the actions that are expected of the machine, "-" if
// there are none. It begins with comments that name the failure it is about. Besides events there are directives, above
// which nothing is expected below: "config step-down unhealthy fast" before the first event, "lease good" and "lease over" for
// what the session's lease says from there on.
//
// What a watch ("ahead") finds gone is named by "gone"; the names that it is about are those of the latest, unless one is given.
// An answer carries the generations of the znode (epoch) and the connection (link) that its request was asked with;
// "epoch=1" or "link=0" gives it others, which makes it a late one. A znode "n5" stands for "n0000000005".
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(want, []byte("# ")), "a script begins with the failure it is about")
			got := play(t, string(want))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			require.Equal(t, string(want), got)
		})
	}
}

// player runs one script.
type player struct {
	t      *testing.T
	m      *machine.Machine
	cfg    machine.Config
	leased bool
	term   uint64
	asked  map[string][2]uint64 // epoch and link of the latest request of a kind
	name   map[string]string    // and its znode
	names  []string             // of the latest watch
}

// play returns the script with the actions that the machine takes in place of those expected.
func play(t *testing.T, script string) string {
	p := &player{t: t, cfg: machine.Config{Strict: true}, asked: map[string][2]uint64{}, name: map[string]string{}}
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue // an expectation: what is true is put in its place
		}
		out.WriteString(line + "\n")
		if line != "" && line[0] != '#' {
			out.WriteString(p.line(line))
		}
	}
	return out.String()
}

func (p *player) line(line string) string {
	words := strings.Fields(short.ReplaceAllStringFunc(line, long))
	switch words[0] {
	case "config":
		p.cfg.StepDownOnDisconnect = strings.Contains(line, "step-down")
		p.cfg.Unhealthy = strings.Contains(line, "unhealthy")
		p.cfg.Fast = strings.Contains(line, "fast")
		p.cfg.StrictHandover = strings.Contains(line, "strict")
		return ""
	case "lease":
		p.leased = words[1] == "good"
		return ""
	}
	if p.m == nil {
		p.m = machine.New(p.cfg)
	}
	actions := p.m.Step(p.event(words[0], parse(words[1:])), p.leased)
	if len(actions) == 0 {
		return "  -\n"
	}
	var out strings.Builder
	for _, a := range actions {
		out.WriteString("  " + zeroes.ReplaceAllString(p.show(a), "n") + "\n")
	}
	return out.String()
}

var (
	short  = regexp.MustCompile(`\bn\d+\b`)
	zeroes = regexp.MustCompile(`\bn0+`)
)

func long(name string) string { return fmt.Sprintf("n%010s", name[1:]) }

// args are the words behind an event: "name", "key=value" or "key=a,b".
type args map[string]string

func parse(words []string) args {
	a := args{}
	for _, w := range words {
		key, value, found := strings.Cut(w, "=")
		if !found {
			key, value = "", w
		}
		a[key] = value
	}
	return a
}

func (a args) number(t *testing.T, key string, other uint64) uint64 {
	if a[key] == "" {
		return other
	}
	n, err := strconv.ParseUint(a[key], 10, 63)
	require.NoError(t, err)
	return n
}

func (a args) names(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

var faults = map[string]machine.Fault{"": machine.OK, "no-node": machine.NoNode, "lost": machine.Lost,
	"denied": machine.Denied, "failed": machine.Failed}

func (p *player) fault(a args) machine.Fault {
	f, ok := faults[a["fault"]]
	require.True(p.t, ok, "unknown fault %q", a["fault"])
	return f
}

// event reads an event. Those that answer nothing have a table of their own.
func (p *player) event(kind string, a args) machine.Event {
	session := int64(a.number(p.t, "session", 0))
	switch kind {
	case "online":
		return machine.Online{Session: session}
	case "lease-over":
		return machine.LeaseOver{Term: a.number(p.t, "term", p.term)}
	case "stopped":
		return machine.Stopped{Term: a.number(p.t, "term", p.term)}
	case "health":
		return machine.Health{OK: a[""] == "good"}
	}
	if ev, ok := plain[kind]; ok {
		return ev
	}
	if ev := p.strict(kind, a); ev != nil {
		return ev
	}
	return p.answer(kind, a)
}

var plain = map[string]machine.Event{"start": machine.Start{}, "withdraw": machine.Withdraw{}, "resign": machine.Resign{},
	"close": machine.Close{}, "offline": machine.Offline{}, "expired": machine.Expired{},
	"lease-good": machine.LeaseGood{}, "retry": machine.Retry{}, "tick": machine.Tick{}}

// answer reads the outcome of a request, or what its watch says.
func (p *player) answer(kind string, a args) machine.Event {
	of := map[string]string{"made": "create", "own": "read", "own-gone": "read", "own-changed": "read", "line": "list",
		"ahead": "watch", "ahead-gone": "watch", "ahead-changed": "watch", "ahead-silent": "watch", "evicted": "evict",
		"checked": "check", "deleted": "delete"}[kind]
	require.NotEmpty(p.t, of, "unknown event %q", kind)
	epoch, link := a.number(p.t, "epoch", p.asked[of][0]), a.number(p.t, "link", p.asked[of][1])
	name, fault := a[""], p.fault(a)
	if name == "" {
		name = p.name[of]
	}
	switch kind {
	case "made":
		return machine.Created{Name: a[""], Fault: fault, Listing: a["listing"] != ""}
	case "own":
		return machine.OwnRead{NodeGen: epoch, ConnGen: link, Token: int64(a.number(p.t, "token", 0)),
			Owner: int64(a.number(p.t, "owner", 0)), Session: int64(a.number(p.t, "session", 0)), Spent: a["spent"] != "", Fault: fault}
	case "own-gone":
		return machine.OwnGone{NodeGen: epoch}
	case "own-changed":
		return machine.OwnStale{NodeGen: epoch}
	case "line":
		return machine.Listed{NodeGen: epoch, Children: a.names("children"), Fault: fault}
	case "ahead":
		names := p.names
		if a[""] != "" {
			names = []string{name}
		}
		gone := a.names("gone")
		return machine.AheadRead{NodeGen: epoch, Names: names, Gone: gone, Fault: fault,
			Watched: fault == machine.OK && !slices.Contains(gone, names[len(names)-1]), Beats: a["beats"] != ""}
	case "ahead-gone":
		return machine.AheadGone{NodeGen: epoch, Name: name}
	case "ahead-changed":
		return machine.AheadStale{NodeGen: epoch, Name: name}
	case "ahead-silent":
		return machine.AheadSilent{NodeGen: epoch, Name: name, Version: int32(a.number(p.t, "version", 0))}
	case "evicted":
		return machine.Evicted{NodeGen: epoch, Name: name, Fault: fault}
	case "checked":
		return machine.Checked{NodeGen: epoch, ConnGen: link, Gone: a.names("gone"), Fault: fault}
	}
	return machine.Deleted{NodeGen: epoch, Fault: fault}
}

// show writes an action, and notes what an answer to it will need.
func (p *player) show(a machine.Action) string {
	if line := p.showStrict(a); line != "" {
		return line
	}
	switch a := a.(type) {
	case machine.Create:
		return fmt.Sprintf("create session=%d", a.Session)
	case machine.Recover:
		return fmt.Sprintf("recover session=%d", a.Session)
	case machine.ReadOwn:
		return p.request("read", a.Name, a.NodeGen, a.ConnGen) + fmt.Sprintf(" link=%d", a.ConnGen)
	case machine.List:
		return p.request("list", "", a.NodeGen, 0)
	case machine.WatchAhead:
		p.names = a.Names
		last := len(a.Names) - 1
		line := p.request("watch", a.Names[last], a.NodeGen, 0)
		if last > 0 {
			line += " and ask for " + strings.Join(a.Names[:last], ",")
		}
		return line
	case machine.Check:
		p.asked["check"] = [2]uint64{a.NodeGen, a.ConnGen}
		return fmt.Sprintf("check %s epoch=%d link=%d", strings.Join(a.Names, ","), a.NodeGen, a.ConnGen)
	case machine.Delete:
		return p.request("delete", a.Name, a.NodeGen, 0)
	case machine.BeginTerm:
		p.term = a.Term
		return fmt.Sprintf("BEGIN term=%d node=%s token=%d session=%d", a.Term, a.Node, a.Token, a.Session)
	case machine.EndTerm:
		return "END " + reasons[a.Why]
	}
	return p.showRest(a)
}

func (p *player) showRest(a machine.Action) string {
	switch a := a.(type) {
	case machine.Renew:
		if !a.On {
			return "renew no more"
		}
		return "renew with " + a.Node
	case machine.Beat:
		if !a.On {
			return "beat no more"
		}
		return "beat " + a.Node
	case machine.Evict:
		return p.request("evict", a.Name, a.NodeGen, 0) + fmt.Sprintf(" version=%d", a.Version)
	case machine.Backoff:
		return fmt.Sprintf("backoff %d", a.Failures)
	case machine.Refuse:
		return "refuse the start"
	case machine.Moved:
		return fmt.Sprintf("%v → %v", a.From, a.To)
	case machine.Report:
		return "REPORT " + a.Text
	}
	p.t.Fatalf("unknown action %T", a)
	return ""
}

func (p *player) request(kind, name string, epoch, link uint64) string {
	p.asked[kind], p.name[kind] = [2]uint64{epoch, link}, name
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s epoch=%d", kind, name, epoch)), " ")
}

var reasons = map[machine.Reason]string{machine.Resigned: "resigned", machine.ClosedByUser: "closed",
	machine.Disconnected: "disconnected", machine.SessionExpired: "session expired", machine.LeaseExpired: "lease expired",
	machine.NodeDeleted: "node deleted", machine.BecameUnhealthy: "unhealthy"}
