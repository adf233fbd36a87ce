package election_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A candidate publishes its address, and another process finds the leader by it.
func ExampleWithMetadata() {
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

	candidate, err := election.NewCandidate(client, "/writer", election.WithID("worker-1"),
		election.WithMetadata(map[string]string{"address": "10.0.0.7:8080", "zone": "eu west"}))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := candidate.Await(ctx); err != nil {
		log.Fatal(err)
	}

	leader, err := client.Leader(ctx, "/writer")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(leader.ID, "at", leader.Metadata["address"], "in", leader.Metadata["zone"])
	fmt.Println("in line since a time that is known:", !leader.Since.IsZero())
	// Output:
	// worker-1 at 10.0.0.7:8080 in eu west
	// in line since a time that is known: true
}
