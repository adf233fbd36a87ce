package election_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// Somebody deletes the leader's znode by hand. The next in line does not lead before the
// last leader can have ceased to.
func ExampleWithStrictHandover() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()

	join := func(name string) (*election.Candidate, *election.Client) {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithSessionTimeout(time.Second), election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			log.Fatal(err)
		}
		candidate, err := election.NewCandidate(client, "/writer", election.WithID(name), election.WithStrictHandover())
		if err != nil {
			log.Fatal(err)
		}
		if err := candidate.Start(ctx); err != nil {
			log.Fatal(err)
		}
		return candidate, client
	}
	await := func(c *election.Candidate) *election.Term {
		term, err := c.Await(ctx)
		if err != nil {
			log.Fatal(err)
		}
		return term
	}

	a, clientOfA := join("a")
	defer clientOfA.Close()
	first := await(a) // nobody knows who led here before: it waits
	b, clientOfB := join("b")
	defer clientOfB.Close()
	if err := a.Shutdown(ctx); err != nil { // in order: the record says so
		log.Fatal(err)
	}
	second := await(b)
	fmt.Println("a has left, b leads:", first.Err() != nil, second.ID())

	c, clientOfC := join("c")
	defer clientOfC.Close()
	if _, err := zk.TakeLeadership("/writer"); err != nil { // deletes the znode of b
		log.Fatal(err)
	}
	third := await(c)
	fmt.Println("c leads, and b has ceased to before:", second.Err() != nil, third.ID())
	fmt.Println("the token is larger:", third.Token() > second.Token())
	// Output:
	// a has left, b leads: true b
	// c leads, and b has ceased to before: true c
	// the token is larger: true
}
