package election_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A term says whose it is, and JSON shows its token as logs do.
func ExampleTerm() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()

	client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer("a")),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/writer", election.WithID("worker-1"))
	if err != nil {
		log.Fatal(err)
	}
	term, err := candidate.Await(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(term.ID(), "leads", term.Path(), "since less than an hour:", time.Since(term.Began()) < time.Hour)

	leader, err := client.Leader(ctx, "/writer")
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.Marshal(leader)
	if err != nil {
		log.Fatal(err)
	}
	var read struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the token in JSON is that of the term:", read.Token == fmt.Sprintf("%#x", term.Token()))

	if err := candidate.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(election.Cause(term.Err()))
	// Output:
	// worker-1 leads /writer since less than an hour: true
	// the token in JSON is that of the term: true
	// closed
}
