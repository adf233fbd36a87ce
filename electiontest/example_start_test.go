package electiontest_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A demonstration: three servers, of which one stops, and a candidate that leads on.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	zk, err := electiontest.Start(electiontest.WithServers(3))
	if err != nil {
		panic(err)
	}
	defer zk.Close()
	servers, err := zk.ListenTCP() // 127.0.0.1:…, for each server
	if err != nil {
		panic(err)
	}

	client, err := election.Connect(ctx, servers, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/nightly-job", election.WithID("a"))
	if err != nil {
		panic(err)
	}
	term, err := candidate.Await(ctx)
	if err != nil {
		panic(err)
	}

	if err := zk.StopServer(zk.LeadingServer()); err != nil {
		panic(err)
	}
	leader, err := zk.AwaitLeader(ctx, "/nightly-job")
	if err != nil {
		panic(err)
	}
	fmt.Println(leader.ID, "leads, with the same token:", leader.Token == term.Token())
	fmt.Println(len(zk.ServingServers()), "servers serve")
	// Output:
	// a leads, with the same token: true
	// 2 servers serve
}
