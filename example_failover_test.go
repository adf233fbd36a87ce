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

// The leader crashes and its session goes on for ten seconds, the default session timeout.
// The next candidate does not wait for that.
func ExampleWithFastFailover() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()

	join := func(name string) (*election.Candidate, *election.Client) {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			log.Fatal(err)
		}
		candidate, err := election.NewCandidate(client, "/writer", election.WithID(name),
			election.WithFastFailover(500*time.Millisecond))
		if err != nil {
			log.Fatal(err)
		}
		if err := candidate.Start(ctx); err != nil {
			log.Fatal(err)
		}
		return candidate, client
	}
	a, clientOfA := join("a")
	defer clientOfA.Close()
	first, err := a.Await(ctx)
	if err != nil {
		log.Fatal(err)
	}
	b, clientOfB := join("b")
	defer clientOfB.Close()

	zk.Cut("a") // to ZooKeeper and to b, this is what a crash looks like
	crashed := time.Now()
	second, err := b.Await(ctx)
	if err != nil {
		log.Fatal(err)
	}
	took := time.Since(crashed)
	fmt.Println(second.ID(), "leads, long before the session of a expires:", took < election.DefaultSessionTimeout/2)
	fmt.Println("the term of a is over:", election.Cause(first.Err()))
	fmt.Println("the token is larger:", second.Token() > first.Token())

	zk.Heal("a") // if a has only been cut off, it joins again, behind b
	for a.Status().Place != 2 {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("a is in line again")
	// Output:
	// b leads, long before the session of a expires: true
	// the term of a is over: lease_expired
	// the token is larger: true
	// a is in line again
}
