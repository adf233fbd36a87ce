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
	session = 3 * time.Second // short, so that the tests are
	// linger leaves the balancer ten times what it needs. Where no shutdown is looked at, brief will do.
	linger = 2 * time.Second
	brief  = 100 * time.Millisecond
	// limit bounds a wait for what has no bound of its own. Nothing should come near it.
	limit = 60 * time.Second
)

const hello = "/microservice/test/hello"

// bin holds the programs under test, once programs was called.
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

// startSystem runs everything against ZooKeeper at connect, and ends it with the test.
func startSystem(t *testing.T, connect string, linger time.Duration) *system {
	t.Helper()
	return startSystemWith(t, cluster.Config{ZooKeeper: connect, Nodes: 3, Session: session, Linger: linger})
}

// startSystemWith chooses what cfg leaves open.
func startSystemWith(t *testing.T, cfg cluster.Config) *system {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*limit)
	t.Cleanup(cancel)
	require.NoError(t, programs())
	log := &record{}
	began := time.Now()
	cfg.Dir, cfg.Bin, cfg.Output = t.TempDir(), bin, cluster.NewOutput(log)
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
	t.Logf("the system stood after %v", time.Since(began).Round(time.Millisecond))
	return &system{c, t, ctx}
}

// ownRoot is a place in the shared server that no other test uses.
func ownRoot(t *testing.T) string {
	return zktest.Shared(t).Addr() + "/" + strings.ReplaceAll(t.Name(), "/", "-") + fmt.Sprint(time.Now().UnixNano())
}

// record keeps what the processes print for the report of a failure.
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

// client makes a connection for each request, as curl does: so every one of them is NGINX's to place anew.
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

// must asks through NGINX and wants an answer.
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

// await waits within a bound for check to be content.
func (s *system) await(bound time.Duration, what string, check func() error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, bound)
	defer cancel()
	require.NoError(s.t, s.Await(ctx, what, check))
}

// settle waits for check to be content and to stay so. It returns since when.
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
