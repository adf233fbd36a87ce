package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// cluster does what Kubernetes does with the pods of a Deployment, in virtual time: the rolling update
// (kubernetes/kubernetes, pkg/controller/deployment/rolling.go), the readiness probe, and the stop of a pod. Each pod is
// the whole replica of this program.
type cluster struct {
	t         *testing.T
	zk        *electiontest.Ensemble
	manifest  manifest
	handsOver bool            // whether pods know their revision
	isReady   func(*pod) bool // the readiness probe
	order     []int           // of the pods of the old revision, in which they are stopped
	pods      []*pod          // all that are not stopped or about to be
	starts    int             // counts pods, for their names
	fewest    int             // available pods that there were at any time since the update began
	mu        sync.Mutex
	terms     []string // the pods that began to lead, in this order
	stopping  sync.WaitGroup
}

// manifest has the parts of the Deployment that the cluster goes by.
type manifest struct {
	Spec struct {
		Replicas int
		Strategy struct {
			RollingUpdate struct {
				MaxSurge       int `yaml:"maxSurge"`
				MaxUnavailable int `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		}
		Template struct {
			Spec struct {
				Containers []struct {
					ReadinessProbe struct {
						HTTPGet       struct{ Path string } `yaml:"httpGet"`
						PeriodSeconds int                   `yaml:"periodSeconds"`
					} `yaml:"readinessProbe"`
					Lifecycle struct {
						PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
					}
				}
			}
		}
	}
}

// pod is one replica, from its start on.
type pod struct {
	name     string
	revision int
	number   int // of the pods of this revision
	network  *network
	ready    bool
	sigterm  context.CancelFunc
	exited   chan error
}

func newCluster(t *testing.T) *cluster {
	text, err := os.ReadFile("../manifests/deployment.yaml")
	require.NoError(t, err)
	c := &cluster{t: t, zk: electiontest.New(t), handsOver: true, order: []int{2, 1, 0}}
	require.NoError(t, yaml.Unmarshal(text, &c.manifest))
	require.Equal(t, 3, c.manifest.Spec.Replicas)
	require.NotZero(t, c.manifest.Spec.Template.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds)
	require.NotZero(t, c.manifest.Spec.Template.Spec.Containers[0].ReadinessProbe.PeriodSeconds)
	c.isReady = func(p *pod) bool {
		status, _ := p.network.get(t, c.manifest.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Path)
		return status == http.StatusOK
	}
	return c
}

// start runs a pod of a revision.
func (c *cluster) start(revision int) {
	p := &pod{name: fmt.Sprintf("writer-%d-%c", revision, 'a'+c.starts), revision: revision, network: newNetwork(), exited: make(chan error, 1)}
	c.starts++
	p.number = c.count(revision)
	c.pods = append(c.pods, p)
	s := service{servers: c.zk.ConnectString(), name: p.name, ip: "10.0.0.1", grace: 30 * time.Second}
	if c.handsOver {
		s.revision = fmt.Sprint(revision)
	}
	var ctx context.Context
	ctx, p.sigterm = context.WithCancel(context.Background())
	trace := &election.Trace{TermBegan: func(election.TermBeganInfo) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.terms = append(c.terms, p.name)
	}}
	go func() {
		p.exited <- s.run(ctx, func() (net.Listener, error) { return p.network, nil }, election.WithDialer(c.zk.Dialer(p.name)),
			election.WithTrace(trace), election.WithClientLogger(slog.New(slog.DiscardHandler)))
	}()
}

// stop stops a pod: preStop, SIGTERM, and its exit, while the cluster goes on.
func (c *cluster) stop(p *pod) {
	c.pods = slices.DeleteFunc(c.pods, func(other *pod) bool { return other == p })
	sleep := time.Duration(c.manifest.Spec.Template.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	c.stopping.Go(func() {
		time.Sleep(sleep)
		p.sigterm()
		if err := <-p.exited; err != nil {
			c.t.Errorf("%s did not stop in order: %v", p.name, err)
		}
	})
}

// probe is one round of the readiness probes.
func (c *cluster) probe() {
	time.Sleep(time.Duration(c.manifest.Spec.Template.Spec.Containers[0].ReadinessProbe.PeriodSeconds) * time.Second)
	for _, p := range c.pods {
		p.ready = c.isReady(p)
	}
}

func (c *cluster) count(revision int) int {
	return len(slices.DeleteFunc(slices.Clone(c.pods), func(p *pod) bool { return p.revision != revision }))
}

func (c *cluster) available() (n int) {
	for _, p := range c.pods {
		if p.ready {
			n++
		}
	}
	return n
}

// launch starts the first pods, one after the other so that it is known which one leads.
func (c *cluster) launch(revision int) {
	for range c.manifest.Spec.Replicas {
		c.start(revision)
		c.probe()
	}
	require.Equal(c.t, c.manifest.Spec.Replicas, c.available())
}

// rollOut is a rolling update, round after round, for at most so long. It reports whether
// the update has ended.
func (c *cluster) rollOut(from, to int, limit time.Duration) (done bool) {
	c.fewest = c.available()
	for began := time.Now(); time.Since(began) < limit; c.probe() {
		c.fewest = min(c.fewest, c.available())
		if c.count(from) == 0 && c.available() == c.manifest.Spec.Replicas {
			c.stopping.Wait()
			c.probe() // the next one leads a round trip after the last one has left
			return true
		}
		c.scale(from, to)
	}
	return false
}

// scale is one round of the controller: it scales the new ReplicaSet up, or else the old
// one down.
func (c *cluster) scale(from, to int) {
	wanted, update := c.manifest.Spec.Replicas, c.manifest.Spec.Strategy.RollingUpdate
	if more := min(wanted+update.MaxSurge-len(c.pods), wanted-c.count(to)); more > 0 {
		for range more {
			c.start(to)
		}
		return
	}
	for range min(c.available()-(wanted-update.MaxUnavailable), c.count(from)) {
		c.stop(c.next(from))
	}
}

// next is the pod of a revision that is stopped next.
func (c *cluster) next(revision int) *pod {
	for _, number := range c.order {
		for _, p := range c.pods {
			if p.revision == revision && p.number == number {
				return p
			}
		}
	}
	c.t.Fatalf("no pod of revision %d is left", revision)
	return nil
}

// handOvers returns how often another pod has come to lead.
func (c *cluster) handOvers() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(slices.Compact(slices.Clone(c.terms))) - 1
}

// leader waits until the line is at rest, and returns the pod that leads.
func (c *cluster) leader() string {
	synctest.Wait()
	return c.zk.Leader(electionPath).ID
}

// end stops all pods.
func (c *cluster) end() {
	for len(c.pods) > 0 {
		c.stop(c.pods[0])
	}
	c.stopping.Wait()
}

// network is how the kubelet reaches a pod, in memory.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network { return &network{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8080} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return mine, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// get is one probe. It has a connection of its own, like the kubelet's.
func (n *network) get(t *testing.T, path string) (status int, text string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}, Timeout: time.Second}
	response, err := client.Get("http://pod" + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, strings.TrimSpace(string(body))
}
