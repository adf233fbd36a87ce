// Package node is the post's service: one of several instances of which one leads. Everybody answers reads, the
// leader alone answers writes, and the registry says who that is.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/internal/discovery"
)

// Config is what the flags say.
type Config struct {
	ZooKeeper   string // host:port,host:port/chroot
	LatchPath   string // the election
	ServicePath string // the registry
	NodeID      string
	Address     string // host that balancers reach this node at, and the one it listens on
	Port        int
	Session     time.Duration // session timeout of election and registration alike
	Linger      time.Duration // how long reads are still answered after the node has left the registry
	Log         *slog.Logger
}

// service is the name in the registry.
const service = "bookService"

// shutdownLimit bounds each step of a graceful shutdown. What is not done by then is left to ZooKeeper, where
// everything ends with the session.
const shutdownLimit = 5 * time.Second

// Node is the post's ClusterStatus with its web server.
type Node struct {
	cfg          Config
	log          *slog.Logger
	client       *election.Client
	candidate    *election.Candidate
	conn         *discovery.Conn
	registration *discovery.Registration
	board        *board
	writes       gate
	server       *http.Server
	failed       chan error    // the web server's end
	leaving      chan struct{} // closed when streams have to end
}

// Run serves until ctx ends, and then leaves gracefully: see stop.
func Run(ctx context.Context, cfg Config) error {
	n := &Node{cfg: cfg, log: cfg.Log.With("node", cfg.NodeID), failed: make(chan error, 1), leaving: make(chan struct{})}
	defer n.close()
	if err := n.start(ctx); err != nil {
		return err
	}
	n.log.Info("serving", "url", "http://"+n.server.Addr)
	select {
	case <-ctx.Done():
		return n.stop(context.WithoutCancel(ctx))
	case err := <-n.failed:
		return err
	}
}

// start is the post's init. The web server comes first: whoever is in the registry gets requests.
func (n *Node) start(ctx context.Context) (err error) {
	if n.client, err = election.Connect(ctx, n.cfg.ZooKeeper, election.WithSessionTimeout(n.cfg.Session),
		election.WithClientLogger(n.log)); err != nil {
		return err
	}
	if n.conn, err = discovery.Dial(n.cfg.ZooKeeper, n.cfg.Session, n.log); err != nil {
		return err
	}
	if n.candidate, err = election.NewCandidate(n.client, n.cfg.LatchPath, election.WithID(n.cfg.NodeID)); err != nil {
		return err
	}
	n.board = newBoard(n.client, n.conn, n.cfg)
	if err := n.serve(); err != nil {
		return err
	}
	instance := discovery.NewInstance(service, n.cfg.Address, n.cfg.Port)
	if n.registration, err = n.conn.Register(ctx, n.cfg.ServicePath, instance, n.log); err != nil {
		return err
	}
	n.candidate.AddListener(n)
	return n.candidate.Start(ctx)
}

func (n *Node) serve() error {
	addr := net.JoinHostPort(n.cfg.Address, strconv.Itoa(n.cfg.Port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	n.server = &http.Server{Addr: addr, Handler: n.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() { n.failed <- n.server.Serve(l) }()
	return nil
}

// IsLeader is the post's: the payload says so from now on, and the balancer sends writes here.
func (n *Node) IsLeader(t *election.Term) {
	n.log.Info("Node : " + n.cfg.NodeID + " is a leader")
	n.registration.Claim(t)
}

// NotLeader is the post's. It only brings the balancer up to date; this node has refused writes since the term ended.
func (n *Node) NotLeader(t *election.Term) {
	n.log.Info("Node : "+n.cfg.NodeID+" is not a leader", "because", t.Err())
	n.registration.Disclaim()
}

// stop leaves in an order in which nobody misses anything. Writes that have begun are answered under the present
// term, and new ones refused; then leadership is handed on; then the node leaves the registry. Balancers hear of
// that a moment later, and meanwhile still send reads here, so those are answered until the linger time is over.
func (n *Node) stop(ctx context.Context) error {
	n.log.Info("leaving: draining writes")
	drained := within(ctx, shutdownLimit, n.writes.shut)
	n.log.Info("leaving: handing over")
	handed := within(ctx, shutdownLimit, n.candidate.Shutdown)
	deregistered := within(ctx, shutdownLimit, n.registration.Close)
	n.log.Info("leaving: out of the registry, answering stragglers", "for", n.cfg.Linger)
	<-time.After(n.cfg.Linger)
	close(n.leaving)
	served := within(ctx, shutdownLimit, n.server.Shutdown)
	n.log.Info("left")
	return errors.Join(drained, handed, deregistered, served)
}

func within(ctx context.Context, limit time.Duration, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return step(ctx)
}

// close lets go of what start got hold of, however far it came.
func (n *Node) close() {
	if n.server != nil {
		n.server.Close()
	}
	if n.conn != nil {
		n.conn.Close()
	}
	if n.board != nil {
		n.board.close() // after the connection, whose calls it may be waiting for
	}
	if n.client != nil {
		if err := n.client.Close(); err != nil {
			n.log.Warn("left the session to expire", "error", err)
		}
	}
}

// Check says what is wrong with a configuration, all of it at once.
func (cfg Config) Check() error {
	var errs []error
	if cfg.NodeID == "" {
		errs = append(errs, errors.New("-node-id is missing"))
	}
	if cfg.Port < 1 || cfg.Port > 65535 {
		errs = append(errs, fmt.Errorf("-port %d is not between 1 and 65535", cfg.Port))
	}
	return errors.Join(errs...)
}
