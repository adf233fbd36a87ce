package recipes

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// takePart returns a candidate, and its client, which the caller closes.
func takePart(zk *electiontest.Servers, id string) (*election.Client, *election.Candidate) {
	client, err := election.Connect(context.Background(), zk.ConnectString(), election.WithDialer(zk.Dialer(id)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	candidate, err := election.NewCandidate(client, "/nightly-job", election.WithID(id))
	if err != nil {
		log.Fatal(err)
	}
	return client, candidate
}

// Several parts of a service live and die together. When one of them fails, the leader's
// work stops, and the next replica leads.
func Example_errgroup() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	ctx := context.Background()
	client, candidate := takePart(zk, "a")
	defer client.Close()
	leads := make(chan struct{})
	consume := func(context.Context) error { <-leads; return errors.New("the queue is gone") }
	jobs := func(ctx context.Context) error {
		close(leads)
		<-ctx.Done()
		fmt.Println("the work has stopped")
		return ctx.Err()
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return consume(ctx) })
	group.Go(func() error {
		return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error { return jobs(ctx) })
	})
	fmt.Println(group.Wait())
	// Output:
	// the work has stopped
	// the queue is gone
}

// The leader's own work has several parts. All have returned before the next replica leads.
func Example_errgroupInTerm() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	client, candidate := takePart(zk, "a")
	defer client.Close()
	ctx := context.Background()
	fetch := func(context.Context, int64) error { return errors.New("nothing to fetch") }
	serve := func(ctx context.Context, _ int64) error { <-ctx.Done(); fmt.Println("serves no more"); return nil }

	run := func() error {
		return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return fetch(ctx, term.Token()) })
			group.Go(func() error { return serve(ctx, term.Token()) })
			return group.Wait()
		})
	}
	fmt.Println(run())
	// Output:
	// serves no more
	// nothing to fetch
}

// Each replica has the same cron, and the job runs where the leader is.
func Example_cron() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	ctx := context.Background()
	client, candidate := takePart(zk, "a")
	ran := make(chan string, 1)
	say := func(text string) {
		select {
		case ran <- text:
		default:
		}
	}
	writeReport := func(_ context.Context, token int64) error {
		say(fmt.Sprintf("written, with a token: %t", token > 0))
		return nil
	}

	run := func() error {
		crontab, err := newCron(candidate, writeReport)
		if err != nil {
			return err
		}
		if err := candidate.Start(ctx); err != nil {
			return err
		}
		crontab.Start()
		fmt.Println(<-ran) // until the service is stopped
		<-crontab.Stop().Done()
		if err := candidate.Shutdown(ctx); err != nil {
			return err
		}
		return client.Close()
	}
	fmt.Println(run())
	// Output:
	// written, with a token: true
	// <nil>
}

// controller stands for one of controller-runtime, made by controller.NewUnmanaged.
type controller struct{ running chan<- struct{} }

func (c controller) Start(ctx context.Context) error {
	fmt.Println("the controller runs")
	close(c.running)
	<-ctx.Done()
	fmt.Println("the controller has stopped")
	return nil
}

// The manager starts its probes, caches and webhooks at every replica, and the controller
// at the one that leads.
func Example_controllerRuntime() {
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	client, candidate := takePart(zk, "a")
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	go func() {
		<-running
		cancel() // SIGTERM
	}()

	runnable := whenLeading{candidate, func() (startable, error) { return controller{running}, nil }}
	fmt.Println(runnable.Start(ctx)) // which the manager does, after mgr.Add(runnable)
	// Output:
	// the controller runs
	// the controller has stopped
	// <nil>
}
