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

// With WithRequeue, Run takes part again after its function has returned. After an error
// it leaves the election to other replicas for a while first.
func ExampleWithRequeue() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
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
	candidate, err := election.NewCandidate(client, "/importer",
		election.WithRequeue(10*time.Millisecond, time.Minute)) // in a service, a second or more
	if err != nil {
		log.Fatal(err)
	}

	attempts := 0
	err = candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		attempts++
		switch attempts {
		case 1:
			fmt.Println("the database is down: leave, pause, take part again")
			return errors.New("no database")
		case 2:
			fmt.Println("done: leave, and take part again at once")
			return nil
		}
		fmt.Println("leads until the process is told to stop")
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// the database is down: leave, pause, take part again
	// done: leave, and take part again at once
	// leads until the process is told to stop
	// true
}
