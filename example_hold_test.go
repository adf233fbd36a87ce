package election_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// An HTTP handler writes as the leader. It holds the term, so the next replica leads only
// after the handler has returned, although a resigns in the middle of it.
func ExampleTerm_Hold() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()

	a, clientOfA := writerNamed(zk, "a")
	defer clientOfA.Close()
	b, clientOfB := writerNamed(zk, "b")
	defer clientOfB.Close()

	begun := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		term := a.Term()
		release, err := term.Hold()
		if err != nil { // this replica does not lead, or no longer
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer release()

		close(begun)
		<-term.Done() // a long write, which goes on while a resigns
		fmt.Println(term.ID(), "leads no more, and its handler has written")
	}))
	defer server.Close()

	if _, err := a.Await(ctx); err != nil {
		log.Fatal(err)
	}
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	go http.Get(server.URL)
	<-begun
	if err := a.Resign(ctx); err != nil { // waits for the handler
		log.Fatal(err)
	}
	term, err := b.Await(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(term.ID(), "leads", term.Path())

	_, err = a.Term().Hold()
	fmt.Println(err)
	// Output:
	// a leads no more, and its handler has written
	// b leads /writer
	// election: term over
}

// writerNamed makes a candidate with a client of its own. The caller closes the client.
func writerNamed(zk *electiontest.Servers, name string) (*election.Candidate, *election.Client) {
	client, err := election.Connect(context.Background(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	candidate, err := election.NewCandidate(client, "/writer", election.WithID(name))
	if err != nil {
		log.Fatal(err)
	}
	return candidate, client
}
