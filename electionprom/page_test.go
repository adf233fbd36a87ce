package electionprom_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

const page = "../docs/metrics.md"

// row is a line of the page's table of metrics.
type row struct{ name, kind, labels, meaning string }

var tableRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (gauge|counter|histogram) \\| (.*) \\| (.*) \\|$")

func readTable(t *testing.T) (rows []row) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, m := range tableRow.FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, row{m[1], m[2], m[3], m[4]})
	}
	require.NotEmpty(t, rows)
	return rows
}

// The table is what is registered, word for word.
func TestTheTableOfThePageIsWhatIsRegistered(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		leads(t, a.candidate(job))
		rest()
		registered := map[string]row{}
		for name, f := range gather(t, a) {
			labels := map[string]bool{}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					labels["`"+l.GetName()+"`"] = true
				}
			}
			all := slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
				if a == "`name`" {
					return -1
				}
				return strings.Compare(a, b)
			})
			registered[name] = row{name, strings.ToLower(f.GetType().String()), strings.Join(all, ", "), f.GetHelp()}
		}
		shown := map[string]row{}
		for _, r := range readTable(t) {
			shown[r.name] = r
		}
		assert.Equal(t, registered, shown)
	})
}

// labelRow is a line of the page's table of label values.
var labelRow = regexp.MustCompile("(?m)^\\| `(cause|result|event|state)` of `([a-z_]+)` \\| (.*) \\|$")

// The values that the page lists are those that there are.
func TestTheLabelValuesOfThePageAreThoseThatThereAre(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	listed := map[string]map[string]bool{}
	for _, m := range labelRow.FindAllStringSubmatch(string(text), -1) {
		listed[m[2]] = map[string]bool{}
		for _, value := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			listed[m[2]][value[1]] = true
		}
	}
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		leads(t, a.candidate(job))
		rest()
		found := map[string]map[string]bool{}
		for name, f := range gather(t, a) {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "name" || l.GetName() == "state" {
						continue
					}
					if found[name] == nil {
						found[name] = map[string]bool{}
					}
					found[name][l.GetValue()] = true
				}
			}
		}
		found["election_candidates"] = map[string]bool{}
		for _, s := range []election.State{election.StateUnhealthy, election.StateJoining, election.StateFollowing,
			election.StateElected, election.StateLeading, election.StateStopping, election.StateLeaving} {
			found["election_candidates"][string(s)] = true
		}
		assert.Equal(t, found, listed)
	})
}

// trimmed is text without indentation.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// What the page shows is what the examples run, here and in electionotel.
func TestSnippetsOfThePageAreFromTheExamples(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var examples string
	for _, name := range []string{"example_test.go", "../electionotel/example_test.go"} {
		example, err := os.ReadFile(name)
		require.NoError(t, err)
		examples += trimmed(string(example))
	}
	snippets := regexp.MustCompile("(?s)\n```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, snippets, 2)
	for _, s := range snippets {
		require.Contains(t, examples, trimmed(s[1]))
	}
}

// The page names every alert, and no other.
func TestThePageListsTheAlerts(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var listed, rules []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(Election[A-Za-z]+)` \\| (critical|warning) \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1]+" "+m[2])
	}
	for _, r := range readRules(t) {
		rules = append(rules, r.Alert+" "+r.Labels["severity"])
	}
	assert.Equal(t, rules, listed)
}
