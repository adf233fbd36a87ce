package electionhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

// Two replicas take every request. The one that leads serves it, and the other one
// forwards it.
func Example() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	ctx := context.Background()

	// replica starts a replica. mux is all that its server needs.
	replica := func(id string) (candidate *election.Candidate, url string, end func()) {
		mux := http.NewServeMux()
		server := httptest.NewServer(mux)
		client, candidate := takePart(zk, id, server.Listener.Addr().String())

		write := func(w http.ResponseWriter, r *http.Request) {
			term := electionhttp.TermFrom(r.Context())
			if err := store(r.Context(), r.Body, term.Token()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintln(w, id, "has written")
		}
		follower := client.Follow("/writer")
		mux.Handle("/write", electionhttp.RequireLeader(candidate, http.HandlerFunc(write),
			electionhttp.WithOtherwise(electionhttp.ForwardToLeader(follower))))
		mux.Handle("/status", electionhttp.Status(candidate))
		mux.Handle("/livez", electionhttp.Live())
		mux.Handle("/readyz", electionhttp.Ready(client))
		knowsALeader(follower) // so that the output is the same each time
		return candidate, server.URL, func() {
			client.Close()
			server.Close()
		}
	}

	a, urlOfA, endA := replica("a")
	defer endA()
	b, urlOfB, endB := replica("b")
	defer endB()
	postWrite(urlOfA)
	postWrite(urlOfB) // forwards

	if err := a.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := b.Await(ctx); err != nil {
		log.Fatal(err)
	}
	postWrite(urlOfB)
	// Output:
	// 200 a has written
	// 200 a has written
	// 200 b has written
}

// A request is served in a term, whose token both the handler and the client see. A
// replica that does not lead refuses the request, and says who leads.
func ExampleRequireLeader() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	write := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(electionhttp.TokenHeader) != "" {
			fmt.Fprintln(w, "written with a token")
		}
	})

	for _, id := range []string{"a", "b"} {
		client, candidate := takePart(zk, id, id+".example.com:80")
		defer client.Close()
		follower := client.Follow("/writer")
		knowsALeader(follower)
		server := httptest.NewServer(electionhttp.RequireLeader(candidate, write, electionhttp.WithFollower(follower)))
		defer server.Close()
		response, err := http.Post(server.URL, "text/plain", nil)
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		fmt.Printf("%d %s", response.StatusCode, text)
		fmt.Printf("  Retry-After %q, a token: %t\n", response.Header.Get("Retry-After"), response.Header.Get(electionhttp.TokenHeader) != "")
	}
	// Output:
	// 200 written with a token
	//   Retry-After "", a token: true
	// 503 b is not the leader: a is, at a.example.com:80
	//   Retry-After "1", a token: false
}

// A router takes no part in the election. It sends every request to the leader.
func ExampleForwardToLeader() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the leader got %s %s", r.Method, r.URL)
	}))
	defer leader.Close()
	client, _ := takePart(zk, "a", leader.Listener.Addr().String())
	defer client.Close()

	// In a router, the client is one of its own.
	follower := client.Follow("/writer")
	defer follower.Close()
	router := httptest.NewServer(electionhttp.ForwardToLeader(follower))
	defer router.Close()
	knowsALeader(follower)

	response, err := http.Get(router.URL + "/books?by=author")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, string(text))
	// Output: 200 the leader got GET /books?by=author
}

// The candidate's status is for people and dashboards, and the probes are for an
// orchestrator. None of them asks ZooKeeper.
func ExampleReady() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	client, candidate := takePart(zk, "a", "10.0.0.1:80")
	defer client.Close()

	mux := http.NewServeMux()
	mux.Handle("/status", electionhttp.Status(candidate))
	mux.Handle("/livez", electionhttp.Live())
	mux.Handle("/readyz", electionhttp.Ready(client))
	ask := func(path string) {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(path, answer.Code, answer.Header().Get("Content-Type"))
	}
	ask("/status")
	ask("/livez")
	ask("/readyz")
	client.Close()
	ask("/status")
	ask("/livez")
	ask("/readyz")
	// Output:
	// /status 200 application/json
	// /livez 200 text/plain; charset=utf-8
	// /readyz 200 text/plain; charset=utf-8
	// /status 200 application/json
	// /livez 200 text/plain; charset=utf-8
	// /readyz 503 text/plain; charset=utf-8
}

// store is the work of the examples.
func store(context.Context, any, int64) error { return nil }

func postWrite(url string) {
	response, err := http.Post(url+"/write", "text/plain", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	fmt.Printf("%d %s", response.StatusCode, text)
}

// takePart starts a candidate that publishes its address. The first one leads when takePart
// returns. The caller closes the client.
func takePart(zk *electiontest.Servers, id, address string) (*election.Client, *election.Candidate) {
	ctx := context.Background()
	first := zk.Leader("/writer").Path == ""
	client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(id)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	candidate, err := election.NewCandidate(client, "/writer", election.WithID(id),
		election.WithMetadata(map[string]string{"address": address}))
	if err != nil {
		log.Fatal(err)
	}
	if err := candidate.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if first {
		if _, err := candidate.Await(ctx); err != nil {
			log.Fatal(err)
		}
	}
	return client, candidate
}
