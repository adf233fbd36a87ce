package election_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A router sends each request to the replica that leads. It takes no part in the
// election, and asks nobody: the Follower knows.
func ExampleClient_Follow() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	client := connectTo(zk, "router")
	defer client.Close()
	follower := client.Follow("/writer")
	router := httptest.NewServer(redirectToLeader(follower))
	defer router.Close()

	untilFirst(follower, "") // nobody
	postWrite(router.URL)

	a := startReplica(ctx, zk, "a")
	defer a.close()
	untilFirst(follower, a.address())
	postWrite(router.URL)

	b := startReplica(ctx, zk, "b")
	defer b.close()
	if err := a.candidate.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	untilFirst(follower, b.address())
	postWrite(router.URL)

	follower.Close()
	_, err = follower.Leader()
	fmt.Println(errors.Is(err, election.ErrClosed))
	// Output:
	// 503 election: no leader
	// 200 a has served POST /write
	// 200 b has served POST /write
	// true
}

// redirectToLeader is the router.
func redirectToLeader(follower *election.Follower) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		leader, err := follower.Leader()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "http://"+leader.ID+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// untilFirst waits until the Follower knows that the replica with this ID leads, or that
// nobody does. It takes the channel before it looks, so it misses no change.
func untilFirst(follower *election.Follower, id string) {
	for {
		changed := follower.Changed()
		leader, err := follower.Leader()
		if leader.ID == id && (err == nil || errors.Is(err, election.ErrNoLeader)) {
			return
		}
		<-changed
	}
}

func postWrite(url string) {
	response, err := http.Post(url+"/write", "text/plain", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	fmt.Printf("%d %s", response.StatusCode, text)
}

func connectTo(zk *electiontest.Servers, name string) *election.Client {
	client, err := election.Connect(context.Background(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// replica is a server that takes part in the election. Its ID is its address.
type replica struct {
	server    *httptest.Server
	client    *election.Client
	candidate *election.Candidate
}

func startReplica(ctx context.Context, zk *electiontest.Servers, name string) *replica {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, name, "has served", r.Method, r.URL.Path)
	}))
	client := connectTo(zk, name)
	candidate, err := election.NewCandidate(client, "/writer", election.WithID(server.Listener.Addr().String()))
	if err != nil {
		log.Fatal(err)
	}
	if err := candidate.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return &replica{server, client, candidate}
}

func (r *replica) address() string { return r.server.Listener.Addr().String() }

func (r *replica) close() {
	r.client.Close()
	r.server.Close()
}
