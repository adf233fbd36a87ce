// Package cluster runs the post's whole system as processes on this machine: the nodes,
// the agent and NGINX.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zkelection/election/examples/activepassive/nginx"
	"github.com/zkelection/election/examples/internal/demo"
)

// Config says what [Start] runs. All fields are required.
type Config struct {
	ZooKeeper string
	Dir       string // an empty folder for NGINX; the caller must remove it
	Bin       string // the folder with the programs: see [Build]
	Session   time.Duration
	Linger    time.Duration
	Nodes     int // how many nodes to start
	Output    *Output
}

// Cluster is a running system. [Start] makes one.
type Cluster struct {
	URL   string // of NGINX
	NGINX *nginx.Folder
	Nodes []*Node

	cfg     Config
	others  []*Process      // the balancer and its agent, in the order in which they were started
	given   map[string]bool // addresses that a process has got; it may not listen there yet
	program func(string) string
}

// Others returns the balancer and its agent.
func (c *Cluster) Others() []*Process { return c.others }

// Node is one instance of the service.
type Node struct {
	*Process
	ID   string
	Addr string // host:port
}

const source = "github.com/zkelection/election/examples/activepassive/"

// Build compiles the node and the agent into the folder bin.
func Build(ctx context.Context, bin string, flags ...string) error {
	args := slices.Concat([]string{"build"}, flags, []string{"-o", bin + string(filepath.Separator), source + "node", source + "agent"})
	out, err := demo.Go(ctx, args...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("go %v: %w\n%s", args, err, out)
}

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
	// Send requests only now: NGINX logs an error for a request that it can send to no
	// node.
	if _, err := c.Settle(ctx, "all nodes in the upstreams", c.complete); err != nil {
		return err
	}
	return c.Await(ctx, "writes answered", c.writable)
}

// balance starts NGINX and the agent. NGINX needs a first configuration, so the agent
// runs once before NGINX starts. NGINX may miss changes until it listens, so the agent
// runs again when NGINX does, and then follows the registry.
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
	return start(agentName, c.cfg.Output, c.NGINX.Env(), append(line, flags...)...)
}

// listening returns nil if NGINX listens and has written its process id, which the reload
// command needs.
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

// AddNode starts one more node. It does not wait until the node serves.
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

// complete returns nil when NGINX runs with a configuration that has all nodes, and one
// node for the writes.
func (c *Cluster) complete() error {
	resp, err := http.Get(c.URL + "/upstreams")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	read, write, _ := strings.Cut(string(text), "\n")
	for _, n := range c.Nodes {
		if !slices.Contains(strings.Fields(read), n.Addr) {
			return fmt.Errorf("%s (%s) is not among those that get reads: %q", n.ID, n.Addr, read)
		}
	}
	if len(strings.Fields(write)) < 2 {
		return errors.New("nobody gets writes")
	}
	return nil
}

func (c *Cluster) writable() error {
	resp, err := http.Post(c.URL+"/microservice/test/hello", "text/plain", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a write is answered with %s", resp.Status)
	}
	return nil
}

// Revive starts the nodes and the agent that have ended again, as they were started
// before, and returns the new processes. It does not wait for them. It does not start
// NGINX again, because NGINX's workers outlive a master that was killed and keep its
// port.
func (c *Cluster) Revive() (back []*Process, err error) {
	revive := func(p **Process) error {
		if !(*p).Ended() {
			return nil
		}
		anew, err := (*p).again()
		if err == nil {
			*p, back = anew, append(back, anew)
		}
		return err
	}
	for _, n := range c.Nodes {
		err = errors.Join(err, revive(&n.Process))
	}
	for i := range c.others {
		if c.others[i].Name == agentName {
			err = errors.Join(err, revive(&c.others[i]))
		}
	}
	return back, err
}

const agentName = "agent"

// awaitEvery is how often Await calls check.
const awaitEvery = 20 * time.Millisecond

// Await returns nil when check does. If ctx ends first, it returns an error with check's
// last one. what names what is awaited.
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

// settled is how many times in a row check must return nil for Settle. While NGINX
// changes to a new configuration, its old workers accept requests for another tenth of a
// second, so one answer says little about the next.
const settled = 25

// Settle is [Cluster.Await] for a condition that has to last. since is the time of the
// first of many successes in a row.
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
			return fmt.Errorf("true for only %v yet", time.Since(since))
		}
		return nil
	})
	return since, err
}

// stopLimit bounds how long the processes may take to end in good order.
const stopLimit = 20 * time.Second

// Stop ends all processes, each before those that it needs: first the nodes, then the
// agent, then NGINX.
func (c *Cluster) Stop(ctx context.Context) error {
	var errs []error
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for _, n := range c.Nodes {
		errs = append(errs, n.Terminate()) // all at the same time, because each lingers for a while
	}
	for _, n := range c.Nodes {
		errs = append(errs, n.Stop(ctx))
	}
	for _, p := range slices.Backward(c.others) {
		errs = append(errs, p.Stop(ctx))
	}
	return errors.Join(errs...)
}

// freeAddr returns a loopback address with a free port, below the ports that the kernel
// uses for outgoing connections. It gives no address twice, because the process that has
// got it may not listen there yet.
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
