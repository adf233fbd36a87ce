package shards_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/shards"
)

// One process leads all six shards. Another one comes, and is handed three of them.
func ExampleRun() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	paths := []string{"/shards/0", "/shards/1", "/shards/2", "/shards/3", "/shards/4", "/shards/5"}

	ctx, cancel := context.WithCancel(context.Background())
	process := func(name string) (works chan int, ended chan error) {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			log.Fatal(err)
		}
		works, ended = make(chan int, 100), make(chan error, 1)
		go func() {
			err := shards.Run(ctx, client, paths, func(ctx context.Context, path string, term *election.Term) error {
				works <- 1 // work on the shard: what it writes carries term.Token()
				<-ctx.Done()
				works <- -1
				return ctx.Err()
			}, shards.WithCandidate(election.WithID(name)),
				shards.WithLogger(slog.New(slog.DiscardHandler)),
				shards.WithSettle(50*time.Millisecond)) // in a service, leave it at a second
			ended <- errors.Join(err, client.Close())
		}()
		return works, ended
	}

	a, aEnded := process("a")
	fmt.Println("a leads", sum(a, 6))
	b, bEnded := process("b")
	fmt.Println("b leads", sum(b, 3))
	fmt.Println("a leads", 6+sum(a, -3))
	cancel()
	fmt.Println(errors.Is(<-aEnded, context.Canceled), errors.Is(<-bEnded, context.Canceled))
	// Output:
	// a leads 6
	// b leads 3
	// a leads 3
	// true true
}

// sum adds up what comes until it is want.
func sum(works <-chan int, want int) (n int) {
	for n != want {
		n += <-works
	}
	return n
}
