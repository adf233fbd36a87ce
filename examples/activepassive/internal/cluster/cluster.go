// Package cluster runs the post's whole system as processes of this machine: three nodes, the agent and NGINX.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/zkelection/election/examples/activepassive/nginx"
	"github.com/zkelection/election/examples/internal/demo"
)

// Config says what to run. All fields are required.
type Config struct {
	ZooKeeper string
	Dir       string // an empty folder for NGINX; the caller's to remove
	Bin       string // the folder with the programs: see Build
	Session   time.Duration
	Linger    time.Duration
	Nodes     int // how many to start with
	Output    *Output
}

// Cluster is what runs.
type Cluster struct {
	URL   string // of NGINX
	NGINX *nginx.Folder
	Nodes []*Node

	cfg     Config
	others  []*Process      // the balancer and its agent, in the order of starting
	given   map[string]bool // addresses, to somebody who may not listen yet
	program func(string) string
}

// Others are the balancer and its agent.
func (c *Cluster) Others() []*Process { return c.others }

// Node is one instance of the service.
type Node struct {
	*Process
	ID   string
	Addr string // host:port
}

const source = "github.com/zkelection/election/examples/activepassive/"

// Build puts the programs into bin.
func Build(ctx context.Context, bin string, flags ...string) error {
	args := slices.Concat([]string{"build"}, flags, []string{"-o", bin + string(filepath.Separator), source + "node", source + "agent"})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.SysProcAttr = demo.OwnGroup()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its temporary files then
	cmd.WaitDelay = buildGrace
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// buildGrace is what the compiler may take to end when it is interrupted.
const buildGrace = 10 * time.Second

// Start runs everything and returns when NGINX has every node, and a leader, in its upstreams. The caller must Stop
// it. When something fails, a process ends, or ctx ends first, it stops what it has started.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, given: map[string]bool{}, program: func(name string) string { return filepath.Join(cfg.Bin, name) }}
	starting, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := c.start(starting, fail); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, fail context.CancelCauseFunc) error {
	if err := c.balance(ctx, fail); err != nil {
		return err
	}
	for i := range c.cfg.Nodes {
		if err := c.AddNode(fmt.Sprintf("node-%d", i+1)); err != nil {
			return err
		}
		c.Nodes[i].need(ctx, fail)
	}
	_, err := c.Settle(ctx, "all nodes in the upstreams, and writes answered", c.complete)
	return err
}

// balance starts NGINX and the agent. NGINX needs a first configuration, and may have missed a change by the time
// that it listens, so the agent runs twice: once before, and from then on after.
func (c *Cluster) balance(ctx context.Context, fail context.CancelCauseFunc) (err error) {
	listen, err := c.freeAddr()
	if err != nil {
		return err
	}
	c.URL = "http://" + listen
	if c.NGINX, err = nginx.Prepare(c.cfg.Dir, listen); err != nil {
		return err
	}
	first, err := c.agent("-onetime")
	if err != nil {
		return err
	}
	if err := first.Wait(ctx); err != nil {
		return errors.Join(fmt.Errorf("the first configuration: %w", err), first.Kill())
	}
	balancer, err := start("nginx", c.cfg.Output, nil, c.NGINX.Command()...)
	if err != nil {
		return err
	}
	c.others = append(c.others, balancer)
	balancer.need(ctx, fail)
	if err := c.Await(ctx, "NGINX listening", c.listening); err != nil {
		return err
	}
	follow, err := c.agent()
	if err != nil {
		return err
	}
	c.others = append(c.others, follow)
	follow.need(ctx, fail)
	return nil
}

func (c *Cluster) agent(flags ...string) (*Process, error) {
	line := []string{c.program("agent"), "-zookeeper", c.cfg.ZooKeeper, "-config", c.NGINX.Settings(),
		"-session-timeout", c.cfg.Session.String()}
	return start("agent", c.cfg.Output, c.NGINX.Env(), append(line, flags...)...)
}

// listening wants the file with NGINX's process number too: the reload command goes by it.
func (c *Cluster) listening() error {
	if pid, err := os.ReadFile(filepath.Join(c.cfg.Dir, "nginx.pid")); err != nil || len(pid) == 0 {
		return errors.Join(errors.New("no process number"), err)
	}
	conn, err := net.Dial("tcp", c.NGINX.Listen)
	if err != nil {
		return err
	}
	return conn.Close()
}

// AddNode starts one more node. It does not wait for it.
func (c *Cluster) AddNode(id string) error {
	addr, err := c.freeAddr()
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	p, err := start(id, c.cfg.Output, nil, c.program("node"), "-zookeeper", c.cfg.ZooKeeper,
		"-latch-path", "/example/leader", "-node-id", id, "-address", host, "-port", port,
		"-session-timeout", c.cfg.Session.String(), "-linger", c.cfg.Linger.String())
	if err == nil {
		c.Nodes = append(c.Nodes, &Node{Process: p, ID: id, Addr: addr})
	}
	return err
}

// complete is what Start waits for.
func (c *Cluster) complete() error {
	up, err := c.NGINX.Upstreams()
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if !slices.Contains(up["read_nodes"], n.Addr) {
			return fmt.Errorf("%s (%s) is not among read_nodes %v", n.ID, n.Addr, up["read_nodes"])
		}
	}
	if len(up["write_nodes"]) == 0 {
		return errors.New("nobody is in write_nodes")
	}
	resp, err := http.Post(c.URL+"/microservice/test/hello", "text/plain", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a write is answered with %s, write_nodes %v", resp.Status, up["write_nodes"])
	}
	return nil
}

// awaitEvery is how often Await looks.
const awaitEvery = 20 * time.Millisecond

// Await returns when check is content, or with check's last complaint when ctx ends first.
func (c *Cluster) Await(ctx context.Context, what string, check func() error) error {
	every := time.NewTicker(awaitEvery)
	defer every.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("no %s: %w (%w); last: %w", what, ctx.Err(), context.Cause(ctx), err)
		}
	}
}

// settled is how many times in a row Settle wants check content. While NGINX changes to a new configuration, its old
// workers go on accepting for a tenth of a second, so that one answer says little about the next.
const settled = 25

// Settle is Await for what has to stay as it is. It returns when check was content for the first of many times.
func (c *Cluster) Settle(ctx context.Context, what string, check func() error) (since time.Time, err error) {
	streak := 0
	err = c.Await(ctx, what, func() error {
		now := time.Now()
		if err := check(); err != nil {
			streak = 0
			return err
		}
		if streak++; streak == 1 {
			since = now
		}
		if streak < settled {
			return fmt.Errorf("content for only %v yet", time.Since(since))
		}
		return nil
	})
	return since, err
}

// stopLimit bounds how long one process may take to end in good order.
const stopLimit = 20 * time.Second

// Stop ends all processes, in an order in which none misses another: nodes, agent, NGINX.
func (c *Cluster) Stop(ctx context.Context) error {
	var errs []error
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for _, n := range c.Nodes {
		errs = append(errs, n.Terminate()) // all at once: each lingers for a while
	}
	for _, n := range c.Nodes {
		errs = append(errs, n.Stop(ctx))
	}
	for _, p := range slices.Backward(c.others) {
		errs = append(errs, p.Stop(ctx))
	}
	return errors.Join(errs...)
}

// freeAddr is a loopback address with a free port, below those that the kernel hands out for outgoing connections. It
// gives none twice: who got it may not listen there yet.
func (c *Cluster) freeAddr() (string, error) {
	var errs []error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(10000)))
		if c.given[addr] {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err == nil {
			c.given[addr] = true
			return addr, l.Close()
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no free port: %w", errors.Join(errs...))
}
