package electiontest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// An operator takes leadership away from a, and b leads. This runs in real time;
// service_test.go has the same in virtual time. In a test, electiontest.New(t) takes the
// place of Start, and zk.TakeLeadership returns no error.
func ExampleServers_TakeLeadership() {
	ctx := context.Background()
	zk, err := electiontest.Start()
	if err != nil {
		panic(err)
	}
	defer zk.Close()
	join := func(name string) (*election.Candidate, *election.Client) {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			panic(err)
		}
		candidate, err := election.NewCandidate(client, "/nightly-job", election.WithID(name))
		if err != nil {
			panic(err)
		}
		return candidate, client
	}

	a, clientOfA := join("a")
	defer clientOfA.Close()
	b, clientOfB := join("b")
	defer clientOfB.Close()
	first, err := a.Await(ctx)
	if err != nil {
		panic(err)
	}
	if err := b.Start(ctx); err != nil {
		panic(err)
	}
	evicted, err := zk.TakeLeadership("/nightly-job")
	if err != nil {
		panic(err)
	}
	fmt.Println(evicted.ID, "is evicted")
	<-first.Done()
	fmt.Println("its term ends:", errors.Is(first.Err(), election.ErrNodeDeleted))
	if _, err := b.Await(ctx); err != nil {
		panic(err)
	}
	fmt.Println(zk.Leader("/nightly-job").ID, "leads")
	// Output:
	// a is evicted
	// its term ends: true
	// b leads
}
