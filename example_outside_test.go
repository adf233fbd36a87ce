package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// outsideExample starts an election at /writer with these candidates, in order, and returns
// them by their names. The one named "silent" takes no requests.
func outsideExample(ctx context.Context, names ...string) (operator *election.Client, all map[string]*election.Candidate, end func()) {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	var clients []*election.Client
	connect := func(name string) *election.Client {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithSessionTimeout(4*time.Second), election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, client)
		return client
	}
	all = map[string]*election.Candidate{}
	for _, name := range names {
		opts := []election.Option{election.WithID(name)}
		if name == "silent" {
			opts = append(opts, election.WithoutRequests())
		}
		candidate, err := election.NewCandidate(connect(name), "/writer", opts...)
		if err != nil {
			log.Fatal(err)
		}
		if err := candidate.Start(ctx); err != nil {
			log.Fatal(err)
		}
		all[name] = candidate
	}
	if _, err := all[names[0]].Await(ctx); err != nil {
		log.Fatal(err)
	}
	return connect("operator"), all, func() {
		for _, client := range clients {
			client.Close()
		}
		zk.Close()
	}
}

// The machine of a is to be serviced: whoever is next shall lead.
func ExampleClient_RequestResign() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, _, end := outsideExample(ctx, "a", "b")
	defer end()

	next, err := client.RequestResign(ctx, "/writer")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(next.ID, "leads now")
	// Output:
	// b leads now
}

// Participants shows who stands in line, and RequestHandOver chooses one of them.
func ExampleClient_RequestHandOver() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, _, end := outsideExample(ctx, "a", "b", "c")
	defer end()

	if err := client.RequestHandOver(ctx, "/writer", "c"); err != nil {
		log.Fatal(err)
	}
	leader, err := client.Leader(ctx, "/writer")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(leader.ID, "leads now")

	err = client.RequestHandOver(ctx, "/writer", "x")
	fmt.Println(err)
	// Output:
	// c leads now
	// election: RequestHandOver: no candidate with the ID "x" stands at /writer
}

// A leader of another library does not answer, nor does one with WithoutRequests.
func ExampleWithoutRequests() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, _, end := outsideExample(ctx, "silent", "b")
	defer end()

	_, err := client.RequestResign(ctx, "/writer") // waits for a session timeout
	if errors.Is(err, election.ErrUnasked) {
		fmt.Println(err)
	}
	// Output:
	// election: RequestResign at /writer: election: the leader did not answer the request within 4s: it belongs to another library, has WithoutRequests, or is cut off. To move the leadership, end its process
}

// A follower stands in a zone that must not lead today.
func ExampleClient_Evict() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, all, end := outsideExample(ctx, "a", "b")
	defer end()

	line, err := client.Participants(ctx, "/writer")
	if err != nil {
		log.Fatal(err)
	}
	err = client.Evict(ctx, "/writer", line[0])
	fmt.Println("the leader cannot be evicted:", errors.Is(err, election.ErrIsLeader))

	if err := all["b"].Shutdown(ctx); err != nil { // it has gone by itself meanwhile
		log.Fatal(err)
	}
	err = client.Evict(ctx, "/writer", line[1])
	fmt.Println("it takes part no more:", err != nil)
	// Output:
	// the leader cannot be evicted: true
	// it takes part no more: true
}

// The leader itself knows who is to lead next, such as a process of a newer version.
func ExampleCandidate_HandOver() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, all, end := outsideExample(ctx, "a", "b", "c")
	defer end()

	candidate := all["a"]
	if err := candidate.HandOver(ctx, "c"); err != nil {
		log.Fatal(err)
	}
	term, err := all["c"].Await(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(term.ID(), "leads now")
	// Output:
	// c leads now
}
