package election_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A trace counts terms by how they ended. Calls for one candidate come one at a time, but
// calls for several candidates, and those for the session, may overlap: hence the lock.
func ExampleWithTrace() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()

	var mu sync.Mutex
	leading, ended := map[string]int{}, map[string]int{}
	trace := &election.Trace{
		TermBegan: func(info election.TermBeganInfo) {
			mu.Lock()
			defer mu.Unlock()
			leading[info.Path]++
		},
		TermEnded: func(info election.TermEndedInfo) {
			mu.Lock()
			defer mu.Unlock()
			leading[info.Path]--
			ended[election.Cause(info.Cause)]++
		},
	}

	ctx := context.Background()
	client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer("a")), election.WithTrace(trace),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/nightly-job")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := candidate.Await(ctx); err != nil {
			log.Fatal(err)
		}
		if err := candidate.Resign(ctx); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := candidate.Await(ctx); err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil { // it waits for the calls of the trace, up to a tenth of a second
		log.Fatal(err)
	}

	mu.Lock()
	defer mu.Unlock()
	fmt.Println(leading, ended)
	// Output:
	// map[/nightly-job:0] map[closed:1 resigned:2]
}

func ExampleCause() {
	fmt.Println(election.Cause(election.ErrLeaseExpired))
	fmt.Println(election.Cause(fmt.Errorf("write refused: %w", election.ErrNodeDeleted)))
	fmt.Println(election.Cause(context.Canceled))
	// Output:
	// lease_expired
	// node_deleted
	// other
}
