package electiongocron_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/zkelection/election"
	electiongocron "github.com/zkelection/election/contrib/gocron"
	"github.com/zkelection/election/electiontest"
)

// The job runs at the replica that leads. When the service stops, its scheduler waits for
// the job first.
func Example() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	ctx := context.Background()
	client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer("a")),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	candidate, err := election.NewCandidate(client, "/nightly-job", election.WithID("a"))
	if err != nil {
		log.Fatal(err)
	}
	ran := make(chan string, 1)
	writeReport := func(_ context.Context, token int64) error {
		select {
		case ran <- fmt.Sprintf("a has written the report, with a token: %t", token > 0):
		default:
		}
		return nil
	}

	if err := candidate.Start(ctx); err != nil {
		log.Fatal(err)
	}
	elector, err := electiongocron.NewElector(candidate)
	if err != nil {
		log.Fatal(err)
	}
	scheduler, err := gocron.NewScheduler(gocron.WithDistributedElector(elector))
	if err != nil {
		log.Fatal(err)
	}
	everyNight := gocron.DurationJob(10 * time.Millisecond) // in a service, gocron.CronJob("0 3 * * *", false)
	if _, err := scheduler.NewJob(everyNight, electiongocron.NewTask(candidate, func(ctx context.Context, term *election.Term) error {
		return writeReport(ctx, term.Token())
	})); err != nil {
		log.Fatal(err)
	}
	scheduler.Start()
	fmt.Println(<-ran)

	if err := scheduler.Shutdown(); err != nil { // waits for the job
		log.Fatal(err)
	}
	if err := candidate.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Close())
	// Output:
	// a has written the report, with a token: true
	// <nil>
}
