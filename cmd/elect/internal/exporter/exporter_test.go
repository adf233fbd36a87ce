package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/internal/zksim"
)

var quiet = slog.New(slog.DiscardHandler)

// patience is how long a test waits for what has to happen. Only one that fails waits so long.
const patience = time.Minute

// exported is an exporter that runs, and its ZooKeeper.
type exported struct {
	*testing.T
	sim *zksim.Ensemble
	zk  string
	url string
}

var announced = regexp.MustCompile(`http://\S+`)

// run runs the command until the test ends.
func run(t *testing.T, c Command) *exported {
	x := &exported{T: t, sim: zksim.New(zksim.Config{Tick: time.Second, ContainerCheck: 100 * time.Millisecond})}
	t.Cleanup(x.sim.Close)
	var err error
	x.zk, err = x.sim.ListenTCP("127.0.0.1:0")
	require.NoError(t, err)

	ctx, cancel := context.WithCancelCause(context.Background())
	told, says := io.Pipe()
	env := &cli.Env{Context: ctx, Stdout: io.Discard, Stderr: says, Log: quiet,
		Flags: &cli.Flags{ZK: x.zk, Session: 4 * time.Second, Timeout: 5 * time.Second}}
	c.Listen = "127.0.0.1:0"
	ended := make(chan error, 1)
	go func() {
		err := c.Run(env)
		says.CloseWithError(errors.Join(errors.New("the exporter has ended"), err))
		ended <- err
	}()
	t.Cleanup(func() {
		cancel(nil)
		require.ErrorIs(t, <-ended, context.Canceled)
	})
	line := make([]byte, 200)
	n, err := told.Read(line)
	require.NoError(t, err)
	x.url = announced.FindString(string(line[:n]))
	return x
}

// candidate takes part by the library.
func (x *exported) candidate(id, path string) *election.Candidate {
	client, err := election.Open(x.sim.ConnectString(), election.WithDialer(x.sim.DialerFor(id)), election.WithClientLogger(quiet))
	require.NoError(x, err)
	x.Cleanup(func() { _ = client.Close() })
	c, err := election.NewCandidate(client, path, election.WithID(id))
	require.NoError(x, err)
	require.NoError(x, c.Start(x.Context()))
	return c
}

// znode takes part as another library does.
func (x *exported) znode(path, data string) (leave func()) {
	conn, _, err := zk.Connect([]string{x.zk}, 4*time.Second, zk.WithLogInfo(false))
	require.NoError(x, err)
	leave = func() { conn.Close() }
	x.Cleanup(leave)
	_, err = conn.Create(path[:strings.LastIndexByte(path, '/')], nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(x, err)
	_, err = conn.Create(path, []byte(data), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	require.NoError(x, err)
	return leave
}

// scrape reads the metrics as Prometheus does, and returns the values by name and labels.
func (x *exported) scrape() map[string]float64 {
	resp, err := http.Get(x.url)
	require.NoError(x, err)
	defer resp.Body.Close()
	require.Equal(x, http.StatusOK, resp.StatusCode)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	require.NoError(x, err)
	all := map[string]float64{}
	for name, family := range families {
		for _, m := range family.Metric {
			all[name+labels(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.Label {
		all = append(all, l.GetValue())
	}
	return "{" + strings.Join(all, " ") + "}"
}

// until scrapes until the metrics have these values. A negative value stands for none.
func (x *exported) until(want map[string]float64) map[string]float64 {
	x.Helper()
	var got map[string]float64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got = x.scrape()
		same := true
		for name, value := range want {
			is, there := got[name]
			same = same && (value < 0 && !there || there && is == value)
		}
		if same {
			return got
		}
	}
	x.Fatalf("the metrics are\n%v\nand not\n%v", got, want)
	return nil
}

const none = -1

func TestTheMetricsFollowAnElection(t *testing.T) {
	x := run(t, Command{Paths: []string{"/jobs/a", "/jobs/none"}, Every: time.Minute})
	x.until(map[string]float64{"zookeeper_election_connected{}": 1, "zookeeper_election_up{/jobs/a}": 1,
		"zookeeper_election_leader_present{/jobs/a}": 0, "zookeeper_election_candidates{/jobs/a}": 0,
		"zookeeper_election_leader_token{/jobs/a}": none, "zookeeper_election_leader_changes_total{/jobs/a}": 0})

	a, b := x.candidate("a", "/jobs/a"), x.candidate("b", "/jobs/a")
	first := x.until(map[string]float64{"zookeeper_election_leader_present{/jobs/a}": 1, "zookeeper_election_candidates{/jobs/a}": 2,
		"zookeeper_election_leader_info{a /jobs/a}": 1, "zookeeper_election_leader_token{/jobs/a}": float64(a.Status().Token),
		"zookeeper_election_leader_changes_total{/jobs/a}": 0, "zookeeper_election_leader_present{/jobs/none}": 0})
	require.InDelta(t, float64(time.Now().Unix()), first["zookeeper_election_leader_since_timestamp_seconds{/jobs/a}"], patience.Seconds())
	require.InDelta(t, float64(time.Now().Unix()), first["zookeeper_election_last_success_timestamp_seconds{/jobs/a}"], patience.Seconds())

	require.NoError(t, a.Shutdown(t.Context()))
	second := x.until(map[string]float64{"zookeeper_election_leader_info{b /jobs/a}": 1, "zookeeper_election_leader_info{a /jobs/a}": none,
		"zookeeper_election_candidates{/jobs/a}": 1, "zookeeper_election_leader_changes_total{/jobs/a}": 1})
	require.Greater(t, second["zookeeper_election_leader_token{/jobs/a}"], first["zookeeper_election_leader_token{/jobs/a}"])

	// While nobody leads, there is no change. The next leader is one.
	require.NoError(t, b.Shutdown(t.Context()))
	x.until(map[string]float64{"zookeeper_election_leader_present{/jobs/a}": 0, "zookeeper_election_leader_changes_total{/jobs/a}": 1,
		"zookeeper_election_leader_info{b /jobs/a}": none})
	x.candidate("c", "/jobs/a")
	x.until(map[string]float64{"zookeeper_election_leader_changes_total{/jobs/a}": 2})
}

func TestAnOutageOfZooKeeperShowsAndEnds(t *testing.T) {
	x := run(t, Command{Paths: []string{"/jobs/a"}, Every: time.Minute})
	x.candidate("a", "/jobs/a")
	before := x.until(map[string]float64{"zookeeper_election_leader_present{/jobs/a}": 1})
	x.sim.Crash(1)
	out := x.until(map[string]float64{"zookeeper_election_connected{}": 0, "zookeeper_election_up{/jobs/a}": 0,
		"zookeeper_election_leader_present{/jobs/a}": none, "zookeeper_election_candidates{/jobs/a}": none,
		"zookeeper_election_leader_info{a /jobs/a}": none, "zookeeper_election_leader_changes_total{/jobs/a}": 0})
	const last = "zookeeper_election_last_success_timestamp_seconds{/jobs/a}"
	require.GreaterOrEqual(t, out[last], before[last], "the last success stays")
	x.sim.Restart(1)
	x.until(map[string]float64{"zookeeper_election_connected{}": 1, "zookeeper_election_up{/jobs/a}": 1,
		"zookeeper_election_leader_present{/jobs/a}": 1})
}

func TestElectionsOfOtherLibrariesAreFoundAndForgotten(t *testing.T) {
	x := run(t, Command{Below: []string{"/"}, Paths: []string{"/named"}, Every: 50 * time.Millisecond})
	x.candidate("ours", "/ours")
	leaveCurator := x.znode("/curator/_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-latch-", "host-1")
	x.znode("/kazoo/6d3c1b1e4f334d67a7a02f0f8c0d9b11__lock__", "host-2\xff")
	x.until(map[string]float64{"zookeeper_election_leader_info{host-1 /curator}": 1, "zookeeper_election_leader_info{host-2\ufffd /kazoo}": 1,
		"zookeeper_election_leader_info{ours /ours}": 1, "zookeeper_election_up{/named}": 1})
	leaveCurator()
	x.until(map[string]float64{"zookeeper_election_up{/curator}": none, "zookeeper_election_leader_changes_total{/curator}": none,
		"zookeeper_election_up{/kazoo}": 1, "zookeeper_election_up{/named}": 1})
}

func TestTheMetricsAreWellFormedAndDocumented(t *testing.T) {
	x := run(t, Command{Paths: []string{"/unused"}, Every: time.Minute})
	x.candidate("a", "/jobs/a")
	client, err := election.Open(x.zk, election.WithClientLogger(quiet))
	require.NoError(t, err)
	defer client.Close()
	all := newElections(client, snapshot.Reader{Client: client}, patience, quiet)
	defer all.close()
	all.follow([]string{"/jobs/a"})
	_, err = client.Leader(t.Context(), "/jobs/a") // waits for the connection
	require.NoError(t, err)

	problems, err := testutil.CollectAndLint(all)
	require.NoError(t, err)
	require.Empty(t, problems)

	page, err := os.ReadFile("../../../../docs/operating.md")
	require.NoError(t, err)
	descs := make(chan *prometheus.Desc, 100)
	all.Describe(descs)
	close(descs)
	described, name := 0, regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		described++
		require.Contains(t, string(page), fmt.Sprintf("| `%s` |", name.FindStringSubmatch(d.String())[1]))
	}
	require.Equal(t, described, testutil.CollectAndCount(all), "one value of each for one election with a leader")
}

func TestTheCommandLineOfTheExporter(t *testing.T) {
	env := &cli.Env{Context: t.Context(), Stderr: io.Discard, Stdout: io.Discard, Log: quiet,
		Flags: &cli.Flags{ZK: "127.0.0.1:1", Session: time.Second, Timeout: time.Second}}
	for want, c := range map[string]Command{
		"name a PATH, or --below ROOT":          {Every: time.Second, Listen: "127.0.0.1:0"},
		`the path "x" does not start with /`:    {Every: time.Second, Listen: "127.0.0.1:0", Paths: []string{"x"}},
		"--every 0s is not positive":            {Listen: "127.0.0.1:0", Paths: []string{"/x"}},
		"--listen nowhere: listen tcp: address": {Every: time.Second, Listen: "nowhere", Paths: []string{"/x"}},
	} {
		var usage *cli.Error
		require.ErrorAs(t, c.Run(env), &usage)
		require.Equal(t, cli.Usage, usage.Code)
		require.Contains(t, usage.Error(), want)
	}
}
