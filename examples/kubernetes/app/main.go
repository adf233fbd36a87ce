// Command app is one replica of a service on Kubernetes. Each replica takes requests, and
// only the one that leads writes.
//
//	ZOOKEEPER_CONNECTION_STRING=localhost:2181 go run . -name a -ip 127.0.0.1
//
// In a cluster, the flags -name, -ip and -revision have their values from the environment,
// where the manifest puts what the downward API says about the pod.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
)

const electionPath = "/writer" // the same for all replicas

// service is one replica.
type service struct {
	servers  string        // of ZooKeeper
	name     string        // of the pod
	ip       string        // of the pod, for the replicas that forward writes to it
	revision string        // of the Deployment; empty: leadership moves to the next in line
	grace    time.Duration // for the work to stop
}

func main() {
	var s service
	flag.StringVar(&s.name, "name", os.Getenv("POD_NAME"), "`name` of the pod")
	flag.StringVar(&s.ip, "ip", os.Getenv("POD_IP"), "`address` of the pod")
	flag.StringVar(&s.revision, "revision", os.Getenv("POD_REVISION"), "`hash` of the pod's template")
	flag.DurationVar(&s.grace, "grace", 20*time.Second, "`time` for the work to stop when the pod is stopped")
	listen := flag.String("listen", ":8080", "`address` of the HTTP server")
	timeout := flag.Duration("session-timeout", election.DefaultSessionTimeout, "`time` after which ZooKeeper ends the session of a crashed replica")
	flag.Parse()
	if s.servers = os.Getenv("ZOOKEEPER_CONNECTION_STRING"); s.servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the address of your ZooKeeper, such as localhost:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	open := func() (net.Listener, error) { return net.Listen("tcp", *listen) }
	if err := s.run(ctx, open, election.WithSessionTimeout(*timeout)); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, and then hands over. If it returns an error, the work may
// still run: end the process then. The client is left open on purpose, because closing it
// would let the next replica lead while the work still runs.
func (s service) run(ctx context.Context, listen func() (net.Listener, error), opts ...election.ClientOption) error {
	client, err := election.Open(s.servers, opts...) // does not wait: the probes answer without ZooKeeper, too
	if err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	address := ownAddress(s.ip, listener.Addr())
	candidate, err := election.NewCandidate(client, electionPath, election.WithID(s.name),
		election.WithMetadata(map[string]string{electionhttp.DefaultAddressKey: address, "revision": s.revision}))
	if err != nil {
		return err
	}
	var joined atomic.Bool
	server := &http.Server{Handler: s.handler(client, candidate, &joined), ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(listener) }()
	fmt.Println(s.name, "listens at", listener.Addr())

	go func() {
		err := candidate.Start(ctx)
		if err == nil {
			joined.Store(true)
			err = candidate.Run(context.WithoutCancel(ctx), s.lead) // stop ends it
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if ctx.Err() == nil {
			return err // which a restart may mend: a missing permission, say
		}
	case <-ctx.Done():
	}
	return s.stop(context.WithoutCancel(ctx), client, candidate, server)
}

// ownAddress is where other pods reach this one.
func ownAddress(ip string, listener net.Addr) string {
	_, port, _ := net.SplitHostPort(listener.String())
	return net.JoinHostPort(ip, port)
}

// lead is your own work. It goes on until this replica leads no more.
func (s service) lead(ctx context.Context, term *election.Term) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	fmt.Printf("%s leads token=%#x\n", s.name, term.Token())
	for {
		select {
		case <-every.C:
			if term.Err() == nil {
				fmt.Printf("%s works token=%#x\n", s.name, term.Token())
			}
		case <-ctx.Done():
			fmt.Printf("%s leads no more: %v\n", s.name, context.Cause(ctx))
			return ctx.Err()
		}
	}
}

// stop hands over, and serves meanwhile: requests that come late are forwarded to the next
// leader.
func (s service) stop(ctx context.Context, client *election.Client, candidate *election.Candidate, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()
	if err := s.handOver(ctx, client, candidate); err != nil {
		log.Println("leadership goes to the next in line:", err)
	}
	if err := candidate.Shutdown(ctx); err != nil {
		return err
	}
	return errors.Join(server.Shutdown(ctx), client.Close())
}

// handOver lets a pod of another revision lead next, if there is one. The other pods of
// this revision are about to be stopped, too, and would have to hand over again.
func (s service) handOver(ctx context.Context, client *election.Client, candidate *election.Candidate) error {
	if s.revision == "" || !candidate.HasLeadership() {
		return nil
	}
	line, err := client.Participants(ctx, electionPath)
	if err != nil {
		return err
	}
	for _, other := range line {
		if revision := other.Metadata["revision"]; revision != "" && revision != s.revision {
			return candidate.HandOver(ctx, other.ID)
		}
	}
	return nil
}

// handler serves writes at the leader, and the probes everywhere.
func (s service) handler(client *election.Client, candidate *election.Candidate, joined *atomic.Bool) http.Handler {
	write := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, err := io.Copy(io.Discard, r.Body) // your own work, with the token of the term
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s has written %d bytes, token=%#x\n", s.name, size, electionhttp.TermFrom(r.Context()).Token())
	})
	mux := http.NewServeMux()
	mux.Handle("/write", electionhttp.RequireLeader(candidate, write,
		electionhttp.WithOtherwise(electionhttp.ForwardToLeader(client.Follow(electionPath)))))
	mux.Handle("/status", electionhttp.Status(candidate))
	mux.Handle("/livez", electionhttp.Live())
	mux.Handle("/readyz", ready(client, joined))
	return mux
}

// ready answers 503 until this replica has joined the line, so that a rolling update stops
// no other replica before. It does not ask who leads.
func ready(client *election.Client, joined *atomic.Bool) http.Handler {
	reached := electionhttp.Ready(client)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !joined.Load() {
			http.Error(w, "not ready: has not joined the line yet", http.StatusServiceUnavailable)
			return
		}
		reached.ServeHTTP(w, r)
	})
}
