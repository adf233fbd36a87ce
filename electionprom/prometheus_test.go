package electionprom_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

// command returns the path of a program of Debian's package prometheus. A test without it
// fails. Under -short it is left out.
func command(t *testing.T, name string) string {
	t.Helper()
	zktest.SkipIfShort(t, name+", of Debian's package prometheus")
	path, err := exec.LookPath(name)
	require.NoError(t, err, "this test needs the programs prometheus and promtool: install Debian's package prometheus "+
		"(.ci/install-packages does), or put both from https://prometheus.io/download into PATH; go test -short does without")
	return path
}

// eventually waits until cond holds.
func eventually(t *testing.T, cond func() bool, what string, args ...any) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(t, "this never came: "+fmt.Sprintf(what, args...))
		}
	}
}

// server is a running Prometheus.
type server struct {
	t   *testing.T
	url string
}

// listening finds the address in the log of a Prometheus that was started on port 0.
var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// startPrometheus starts a Prometheus on this package's alerts that scrapes the registries
// of the processes, each second, as the instances a, b, … of the job app. It is stopped
// when t ends.
func startPrometheus(t *testing.T, processes ...*process) *server {
	t.Helper()
	program, dir := command(t, "prometheus"), t.TempDir()
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs:\n- job_name: app\n  static_configs:\n", rules)
	for i, p := range processes {
		target := httptest.NewServer(promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{}))
		t.Cleanup(target.Close)
		config += fmt.Sprintf("  - {targets: [%q], labels: {instance: %c}}\n", target.Listener.Addr(), 'a'+i)
	}
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))

	c := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--log.level=info")
	c.Dir = dir
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	found, log := make(chan string, 1), make(chan string, 1)
	go follow(stderr, found, log)
	t.Cleanup(func() { stop(t, c, log) })
	select {
	case addr := <-found:
		s := &server{t, "http://" + addr}
		eventually(t, func() bool { return s.ready() }, "a Prometheus that is ready")
		return s
	case said := <-log:
		log <- said
		require.FailNow(t, "prometheus ended", "%s", said)
	case <-time.After(patience):
		require.FailNow(t, "prometheus never said where it listens")
	}
	panic("unreachable")
}

// follow reads a Prometheus' log to its end. It passes on the address, and the whole.
func follow(stderr io.Reader, found, log chan<- string) {
	var all strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			found <- m[1]
		}
	}
	log <- all.String()
}

// stop ends a Prometheus, and shows its log if the test has failed.
func stop(t *testing.T, c *exec.Cmd, log <-chan string) {
	_ = c.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer kill.Stop()
	said := <-log
	_ = c.Wait()
	if t.Failed() {
		t.Logf("prometheus said:\n%s", said)
	}
}

// ready reports whether the server answers queries.
func (s *server) ready() bool {
	response, err := http.Get(s.url + "/-/ready")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// sample is one series of an answer.
type sample struct {
	Metric map[string]string
	Value  [2]any // time, and the value as a string
}

// float is the sample's value.
func (s sample) float() float64 {
	v, _ := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
	return v
}

// query evaluates an expression now.
func (s *server) query(expr string) []sample {
	s.t.Helper()
	var data struct{ Result []sample }
	s.get("/api/v1/query?query="+url.QueryEscape(expr), &data)
	return data.Result
}

// value evaluates an expression that has one series at most. It is -1 without any.
func (s *server) value(expr string) float64 {
	s.t.Helper()
	all := s.query(expr)
	require.LessOrEqual(s.t, len(all), 1, "%s: %v", expr, all)
	if len(all) == 0 {
		return -1
	}
	return all[0].float()
}

// get reads the data of an answer of Prometheus' API.
func (s *server) get(path string, data any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	require.NoError(s.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	require.NoError(s.t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(s.t, "success", answer.Status, "%s: %s", path, answer.Error)
	require.NoError(s.t, json.Unmarshal(answer.Data, data))
}

// alerts returns the names of the alerts that fire.
func (s *server) alerts() map[string]bool {
	s.t.Helper()
	all := map[string]bool{}
	for _, a := range s.query(`ALERTS{alertstate="firing"}`) {
		all[a.Metric["alertname"]] = true
	}
	return all
}
