package electionprom_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionprom"
	"github.com/zkelection/election/internal/zktest"
)

// metric finds the names of metrics in expressions.
var metric = regexp.MustCompile(`\b(leader_election|election)_[a-z_]+`)

// onServer makes a process whose client reaches a real ZooKeeper through a proxy.
func onServer(t *testing.T) (*process, *zktest.Proxy) {
	t.Helper()
	p, proxy := &process{Registry: prometheus.NewRegistry(), t: t}, zktest.NewProxy(t, zktest.Shared(t).Addr())
	var err error
	p.trace, err = electionprom.New(p.Registry)
	require.NoError(t, err)
	p.client, err = election.Connect(t.Context(), proxy.Addr(), election.WithSessionTimeout(3*time.Second),
		election.WithTrace(p.trace), election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.client.Close() })
	return p, proxy
}

// A real Prometheus scrapes a real election, while what the metrics are for happens to it.
func TestPrometheusSeesAnElection(t *testing.T) {
	command(t, "prometheus")
	a, cut := onServer(t)
	b, _ := onServer(t)
	s := startPrometheus(t, a, b)
	x := a.candidate(job)
	term := leads(t, x)
	y := b.candidate(job)
	scraped := func(value float64, expr string) {
		t.Helper()
		eventually(t, func() bool { return s.value(expr) == value }, "%v from %s", value, expr)
	}
	scraped(1, `leader_election_master_status{instance="a", name="/job"}`)
	scraped(0, `leader_election_master_status{instance="b", name="/job"}`)
	scraped(2, `election_place{instance="b", name="/job"}`)
	scraped(0, `election_terms_ended_total{instance="a", cause="lease_expired"}`)
	scraped(1, `election_candidates{instance="b", state="following"}`)
	eventually(t, func() bool {
		left := s.value(`election_lease_remaining_seconds{instance="a"}`)
		return left > 0 && left <= 1 // a third of the session timeout
	}, "a lease")

	_, err := term.Guard(t.Context())
	require.NoError(t, err)
	_, err = term.Guard(t.Context(), &zk.DeleteRequest{Path: "/nobody"})
	require.ErrorIs(t, err, zk.ErrNoNode)
	scraped(1, `election_guards_total{instance="a", result="ok"}`)
	scraped(1, `election_guards_total{instance="a", result="failed"}`)

	cut.Blackhole() // proofs get no answer, and b leads when a's session has expired
	second := leads(t, y)
	require.Greater(t, second.Token(), term.Token())
	scraped(0, `leader_election_master_status{instance="a", name="/job"}`)
	scraped(1, `leader_election_master_status{instance="b", name="/job"}`)
	scraped(1, `election_terms_ended_total{instance="a", cause="lease_expired"}`)
	scraped(1, `election_takeover_seconds_count{instance="b"}`)
	cut.Heal()
	scraped(1, `election_session_events_total{instance="a", event="expired"}`)
	scraped(2, `election_place{instance="a", name="/job"}`)
	require.Positive(t, s.value(`election_proof_seconds_count{instance="a", result="failed"}`))
	require.NoError(t, y.Resign(t.Context()))
	scraped(1, `election_terms_ended_total{instance="b", cause="resigned"}`)
	scraped(1, `leader_election_master_status{instance="a", name="/job"}`)

	eventually(t, func() bool { return s.alerts()["ElectionLeaseExpired"] && s.alerts()["ElectionSessionLost"] }, "two alerts")
	fires := s.alerts()
	delete(fires, "ElectionLeaseExpired")
	delete(fires, "ElectionSessionLost")
	require.Empty(t, fires, "and no other")

	t.Run("dashboard", func(t *testing.T) { showsData(t, s) })
	t.Run("alerts", func(t *testing.T) { namesMetrics(t, s) })
}

// expression is a query of the dashboard.
type expression struct{ panel, expr string }

// panel is what this test reads of a panel.
type panel struct {
	ID      int
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, LegendFormat string }
}

// dashboard is what this test reads of the dashboard.
type dashboard struct {
	Title, UID string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("grafana/election.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	return d
}

// showsData requires that each query of the dashboard has an answer with a number in it.
func showsData(t *testing.T, s *server) {
	d := readDashboard(t)
	fill := strings.NewReplacer("$job", ".*", "$name", ".*", "$__rate_interval", "5m")
	var asked []expression
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			asked = append(asked, expression{p.Title, fill.Replace(target.Expr)})
		}
	}
	require.Greater(t, len(asked), 15)
	for _, e := range asked {
		require.NotContains(t, e.expr, "$", e.panel)
		numbers := 0
		for _, v := range s.query(e.expr) {
			if !math.IsNaN(v.float()) {
				numbers++
			}
		}
		require.Positive(t, numbers, "the panel %q shows nothing: %s", e.panel, e.expr)
	}
	for _, v := range d.Templating.List {
		if m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition); v.Type == "query" {
			require.NotNil(t, m, v.Definition)
			require.NotEmpty(t, s.query(fmt.Sprintf("count by (%s) (%s)", m[2], fill.Replace(m[1]))), "%s has no values", v.Name)
		}
	}
}

// namesMetrics requires that the alerts name only metrics that Prometheus has.
func namesMetrics(t *testing.T, s *server) {
	var known []string
	s.get("/api/v1/label/__name__/values", &known)
	for _, r := range readRules(t) {
		names := metric.FindAllString(r.Expr, -1)
		require.NotEmpty(t, names, r.Alert)
		for _, name := range names {
			require.Contains(t, known, name, r.Alert)
		}
	}
}

// Panels that overlap hide each other.
func TestTheDashboardIsInOrder(t *testing.T) {
	d := readDashboard(t)
	require.NotEmpty(t, d.Title)
	require.NotEmpty(t, d.UID)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	used := map[string]bool{}
	for _, p := range d.Panels {
		require.NotEmpty(t, p.Title)
		require.False(t, ids[p.ID], "two panels with id %d", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				require.Empty(t, taken[at], "%s lies over it", p.Title)
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			require.NotEmpty(t, target.LegendFormat, p.Title)
			for _, name := range metric.FindAllString(target.Expr, -1) {
				used[strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")] = true
			}
		}
	}
	for _, row := range readTable(t) {
		assert.True(t, used[row.name], "no panel shows %s", row.name)
	}
}

// rule is an alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	readYAML(t, "alerts.yml", &file)
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

func readYAML(t *testing.T, name string, to any) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, yaml.NewDecoder(bytes.NewReader(text)).Decode(to))
}

func TestPromtoolAcceptsTheAlertsAndTheirTestsPass(t *testing.T) {
	promtool := command(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), out)
	}
}

// An alert that was never seen to fire, or never seen to be quiet, is not tested.
func TestEveryAlertHasATestOfEachKind(t *testing.T) {
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "alerts_test.yml", &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, at := range test.AlertRuleTest {
			fires[at.Alertname] = fires[at.Alertname] || len(at.ExpAlerts) > 0
			quiet[at.Alertname] = quiet[at.Alertname] || len(at.ExpAlerts) == 0
		}
	}
	rules := readRules(t)
	require.NotEmpty(t, rules)
	for _, r := range rules {
		assert.True(t, fires[r.Alert], "%s never fires in alerts_test.yml", r.Alert)
		assert.True(t, quiet[r.Alert], "%s is never quiet in alerts_test.yml", r.Alert)
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.NotEmpty(t, r.Annotations["description"], r.Alert)
	}
}
