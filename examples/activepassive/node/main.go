// Command node is the post's service, ClusterStatus with its web server. It runs as
// several instances, one of which leads. Every instance answers reads, only the leader
// answers writes, and the registry says who leads. The flags are the post's -D
// properties.
//
//	node -zookeeper 127.0.0.1:2181 -latch-path /example/leader -node-id node-1 -port 8070
//
// Take this file home: it imports election, electionhttp and two packages of this
// example. Replace hello by your own work, and leave out the page (board) if you like. The election, the
// registry and the page share one ZooKeeper session.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/examples/activepassive/board"
	"github.com/zkelection/election/examples/activepassive/discovery"
)

const (
	service = "bookService" // the name in the registry

	addressKey = electionhttp.DefaultAddressKey // in a candidate's metadata: where its node serves, as host:port

	// shutdownLimit bounds each step of a graceful shutdown. ZooKeeper removes what is
	// left when the session ends.
	shutdownLimit = 5 * time.Second
)

type config struct {
	zookeeper, latchPath, servicePath, id, address string
	port                                           int
	session, linger                                time.Duration
}

func main() {
	var cfg config
	flag.StringVar(&cfg.zookeeper, "zookeeper", "127.0.0.1:2181", "ZooKeeper, as host:port,host:port/chroot")
	flag.StringVar(&cfg.latchPath, "latch-path", "/example/leader", "znode of the election")
	flag.StringVar(&cfg.id, "node-id", "", "name of this node (required)")
	flag.IntVar(&cfg.port, "port", 8070, "port to serve at")
	// Not "localhost" as in the post: NGINX takes it for two servers if the name has an
	// IPv6 address too.
	flag.StringVar(&cfg.address, "address", "127.0.0.1", "host to serve at, as the balancer reaches it")
	flag.StringVar(&cfg.servicePath, "service-path", "/service-discovery", "znode of the service registry")
	flag.DurationVar(&cfg.session, "session-timeout", 4*time.Second, "ZooKeeper session timeout")
	flag.DurationVar(&cfg.linger, "linger", 2*time.Second, "how long to answer reads after leaving the registry")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// check finds mistakes that would otherwise be noticed only after this node has been
// registered.
func (cfg config) check() error {
	switch {
	case cfg.id == "":
		return errors.New("-node-id is missing: set it to a name of this node's own, such as node-1")
	case cfg.port < 1 || cfg.port > 65535:
		return fmt.Errorf("-port %d is wrong: set it to a free port between 1 and 65535", cfg.port)
	}
	return nil
}

// node is the post's ClusterStatus. It is the listener of its own candidate.
type node struct {
	config
	log          *slog.Logger
	candidate    *election.Candidate
	leader       *election.Follower // who leads, this node or another
	registration *discovery.Registration
}

// run does what init and close do in the post. It serves until ctx ends, and then leaves
// in good order: see leave.
func run(ctx context.Context, cfg config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	n := &node{config: cfg, log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", cfg.id)}
	instance := discovery.NewInstance(service, cfg.address, cfg.port)
	listener, err := net.Listen("tcp", instance.HostPort())
	if err != nil {
		return fmt.Errorf("%w: set -address to one of this machine's, and -port to a free port", err)
	}
	defer listener.Close()

	// Open does not wait: this node answers reads while ZooKeeper is down.
	client, err := election.Open(cfg.zookeeper, election.WithSessionTimeout(cfg.session), election.WithClientLogger(n.log))
	if err != nil {
		return fmt.Errorf("-zookeeper: %w", err)
	}
	defer client.Close()
	n.candidate, err = election.NewCandidate(client, cfg.latchPath, election.WithID(cfg.id),
		election.WithMetadata(map[string]string{addressKey: instance.HostPort()}))
	if err != nil {
		return fmt.Errorf("-latch-path: %w", err)
	}
	n.leader = client.Follow(cfg.latchPath)
	registry := discovery.New(client, cfg.zookeeper, n.log)
	page := board.New(client, registry, board.Config{NodeID: cfg.id, LatchPath: cfg.latchPath,
		Services: cfg.servicePath + "/" + service, AddressKey: addressKey, Session: cfg.session})
	defer page.Close()

	// The web server starts before the registration, because a node in the registry gets
	// requests.
	server := &http.Server{Handler: n.routes(page), ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if n.registration, err = registry.Register(ctx, cfg.servicePath, instance); err != nil {
		return err
	}
	n.candidate.AddListener(n)
	if err := n.candidate.Start(ctx); err != nil {
		return err
	}
	n.log.Info("serving", "url", "http://"+listener.Addr().String())
	select {
	case <-ctx.Done():
		return n.leave(context.WithoutCancel(ctx), page, server)
	case err := <-failed:
		return err
	}
}

// IsLeader is called when a term begins, as in the post. The payload says from now on
// that this node leads, and the balancer sends writes here.
func (n *node) IsLeader(t *election.Term) {
	n.log.Info("Node : " + n.id + " is a leader")
	n.registration.Claim(t)
}

// NotLeader is called when a term has ended, as in the post. It only brings the balancer
// up to date: this node has refused writes since the end of the term.
func (n *node) NotLeader(t *election.Term) {
	n.log.Info("Node : "+n.id+" is not a leader", "because", t.Err())
	n.registration.Disclaim()
}

func (n *node) routes(page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.HandleFunc("GET /healthz", n.healthz)
	mux.HandleFunc("GET /microservice/test", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, n.candidate.HasLeadership())
	})
	mux.HandleFunc("GET /microservice/test/hello", n.hello) // HEAD too
	mux.Handle("/microservice/test/hello", n.write(n.hello))
	return mux
}

// hello is the place for the service's work.
func (n *node) hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, n.id) }

// write lets a request through while this node leads. It holds the term, so a shutdown
// waits for the work before it hands the leadership over. If another node might have led
// when the work begins its answer, the answer is 502. NGINX gives the same answer if the
// node died at that time. "Try again" would be wrong, because the write may have been done
// and would then be done twice. The answer has the token of the term: a client can compare
// the tokens of two answers to see which is newer.
func (n *node) write(work http.HandlerFunc) http.Handler {
	return electionhttp.RequireLeader(n.candidate, work, electionhttp.WithFollower(n.leader))
}

// healthz answers whether to send requests here. A node that does not lead is healthy. A
// node that has lost its connection to ZooKeeper is healthy too, because it answers
// reads.
func (n *node) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status := n.candidate.Status()
	leaving := status.State == election.StateClosed
	if leaving {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(struct {
		Node    string          `json:"node"`
		Leaving bool            `json:"leaving"`
		Says    string          `json:"says"`
		Status  election.Status `json:"status"`
	}{n.id, leaving, status.String(), status})
}

// leave ends the service in an order in which no request is lost. New writes are refused,
// and when those at work are answered, the node hands the leadership over. Then it leaves
// the registry. Balancers hear of that a moment later and still send reads here, so the
// node answers reads until the linger time is over.
func (n *node) leave(ctx context.Context, page *board.Board, server *http.Server) error {
	n.log.Info("leaving: finishing writes and handing over")
	handed := within(ctx, n.candidate.Shutdown)
	deregistered := within(ctx, n.registration.Close)
	n.log.Info("leaving: out of the registry, answering stragglers", "for", n.linger)
	<-time.After(n.linger)
	page.Leave()
	served := within(ctx, server.Shutdown)
	n.log.Info("left")
	return errors.Join(handed, deregistered, served)
}

func within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	return step(ctx)
}
