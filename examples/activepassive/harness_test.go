package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/activepassive/internal/cluster"
	"github.com/zkelection/election/internal/zktest"
)

const (
	session = 3 * time.Second // short, to keep the tests short
	// linger is ten times what the balancer needs. Tests that do not look at a shutdown
	// use brief.
	linger = 2 * time.Second
	brief  = 100 * time.Millisecond
	// limit bounds waits that have no bound of their own. No wait should come near it.
	limit = 60 * time.Second
)

const hello = "/microservice/test/hello"

// bin is the folder of the programs under test, once programs was called.
var bin string

func TestMain(m *testing.M) {
	code := zktest.Main(m)
	if bin != "" {
		os.RemoveAll(bin)
	}
	os.Exit(code)
}

// programs builds the node and the agent once for all tests.
var programs = sync.OnceValue(func() (err error) {
	if bin, err = os.MkdirTemp("", "activepassive-test-"); err != nil {
		return err
	}
	return cluster.Build(context.Background(), bin, buildFlags...)
})

// system is a running cluster under test.
type system struct {
	*cluster.Cluster
	t   *testing.T
	ctx context.Context
}

// startSystem runs the whole system with the ZooKeeper at connect, and ends it with the
// test.
func startSystem(t *testing.T, connect string, linger time.Duration) *system {
	t.Helper()
	return startSystemWith(t, cluster.Config{ZooKeeper: connect, Nodes: 3, Session: session, Linger: linger})
}

// startSystemWith is startSystem with other settings. It sets the fields of cfg that are
// empty.
func startSystemWith(t *testing.T, cfg cluster.Config) *system {
	zktest.SkipIfShort(t, "NGINX, and a real ZooKeeper")
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*limit)
	t.Cleanup(cancel)
	if cfg.Bin == "" {
		require.NoError(t, programs())
		cfg.Bin = bin
	}
	log := &record{}
	began := time.Now()
	cfg.Dir, cfg.Output = t.TempDir(), cluster.NewOutput(log)
	c, err := cluster.Start(ctx, cfg)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Stop(context.Background()))
		require.NotContains(t, log.String(), "DATA RACE")
		require.NotContains(t, log.String(), "panic")
	})
	t.Logf("the system was up after %v", time.Since(began).Round(time.Millisecond))
	return &system{c, t, ctx}
}

// ownRoot returns a connect string with a chroot in the shared server that no other test
// uses.
func ownRoot(t *testing.T) string {
	return zktest.Shared(t).Addr() + "/" + strings.ReplaceAll(t.Name(), "/", "-") + fmt.Sprint(time.Now().UnixNano())
}

// record keeps what the processes print, to report it if the test fails.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// answer is what came back for a request.
type answer struct {
	method     string
	sent, done time.Time
	status     int
	body       string
	token      string
	err        error
}

func (a answer) ok() bool { return a.err == nil && a.status == http.StatusOK }

// client makes a new connection for each request, as curl does, so NGINX chooses a node
// for each.
var client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func ask(method, url string) (a answer) {
	a = answer{method: method, sent: time.Now()}
	defer func() { a.done = time.Now() }()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		a.err = err
		return a
	}
	resp, err := client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.status, a.body, a.err = resp.StatusCode, strings.TrimSpace(string(body)), err
	a.token = resp.Header.Get("Fencing-Token")
	return a
}

// must sends a request through NGINX and requires an answer.
func (s *system) must(method, path string) answer {
	s.t.Helper()
	a := ask(method, s.URL+path)
	require.NoError(s.t, a.err)
	require.Equal(s.t, http.StatusOK, a.status, "%s %s: %s", method, path, a.body)
	return a
}

func (s *system) node(id string) *cluster.Node {
	s.t.Helper()
	for _, n := range s.Nodes {
		if n.ID == id {
			return n
		}
	}
	require.FailNow(s.t, "no such node", id)
	return nil
}

// await waits until check returns nil. It fails the test if that takes longer than a
// bound.
func (s *system) await(bound time.Duration, what string, check func() error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, bound)
	defer cancel()
	require.NoError(s.t, s.Await(ctx, what, check))
}

// settle waits until check returns nil and goes on doing so. It returns the time of the
// first success.
func (s *system) settle(what string, check func() error) time.Time {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	since, err := s.Settle(ctx, what, check)
	require.NoError(s.t, err)
	return since
}

func (s *system) config() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Clean(s.NGINX.Config()))
	require.NoError(s.t, err)
	return string(text)
}
