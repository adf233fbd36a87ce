package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app", election.WithSessionTimeout(6*time.Second))
	if err != nil {
		log.Fatal(err) // ctx's error names what the last server said
	}
	defer client.Close()

	leader, err := client.Leader(ctx, "/scheduler")
	switch {
	case errors.Is(err, election.ErrNoLeader):
		log.Println("nobody takes part")
	case err != nil:
		log.Println(err)
	default:
		log.Println(leader, "leads")
	}
}

// Wrong arguments are named at once, all of them together.
func ExampleConnect_wrongArguments() {
	_, err := election.Connect(context.Background(), "zk1:2181,zk2:port/app/")
	fmt.Println(err)
	// Output:
	// election: Connect: connectString "zk1:2181,zk2:port/app/": chroot "/app/" ends with /
	// connectString "zk1:2181,zk2:port/app/": server "zk2:port" has the unknown port "port"
}

// A service waits until it leads, and leaves the election when it is told to stop.
func ExampleCandidate_Await() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/scheduler", election.WithID("worker-1"))
	if err != nil {
		log.Fatal(err)
	}

	term, err := candidate.Await(ctx)
	if err != nil {
		log.Fatal(err) // stopped before it led
	}
	log.Println("leads with token", term.Token())
	select {
	case <-term.Done():
		log.Println("leads no more:", term.Err())
	case <-ctx.Done():
		bound, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := candidate.Shutdown(bound); err != nil { // the next in line leads
			log.Println(err)
		}
	}
}

// Run leaves the election when its function returns while the term lasts. So a job that is to run every minute, on one
// replica for as long as that leads, loops until ctx is done.
func ExampleCandidate_Run() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/report")
	if err != nil {
		log.Fatal(err)
	}

	report := func(ctx context.Context, token int64) error {
		return ctx.Err() // write somewhere that refuses smaller tokens, and stop early when ctx is done
	}
	err = candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		every := time.NewTicker(time.Minute)
		defer every.Stop()
		for {
			if err := report(ctx, term.Token()); err != nil {
				log.Println("report:", err)
			}
			select {
			case <-every.C:
			case <-ctx.Done(): // the term is over, or the process is to stop
				return ctx.Err()
			}
		}
	})
	log.Println("out of the election:", err)
}

func ExampleListener() {
	ctx := context.Background()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	candidate, err := election.NewCandidate(client, "/scheduler", election.WithListener(election.ListenerFuncs{
		OnIsLeader:  func(t *election.Term) { log.Println("leads:", t) },
		OnNotLeader: func(t *election.Term) { log.Println("leads no more:", t.Err()) },
	}))
	if err != nil {
		log.Fatal(err)
	}
	if err := candidate.Start(ctx); err != nil {
		log.Fatal(err)
	}
}

// Guard writes to ZooKeeper only if the term's znode still exists, so no later leader can have begun.
func ExampleTerm_Guard() {
	ctx := context.Background()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/scheduler")
	if err != nil {
		log.Fatal(err)
	}
	term, err := candidate.Await(ctx)
	if err != nil {
		log.Fatal(err)
	}

	_, err = term.Guard(ctx, &zk.SetDataRequest{Path: "/assignment", Data: []byte("shard 7: worker-1"), Version: -1})
	switch {
	case err == nil:
		log.Println("written")
	case errors.Is(err, election.ErrTermOver):
		log.Println("nothing was written: another candidate may lead")
	case errors.Is(err, zk.ErrNoNode):
		log.Println("nothing was written: /assignment does not exist")
	default:
		log.Println(err)
	}
}

// A process that takes no part can follow who leads, for instance to send requests there.
func ExampleClient_Observe() {
	ctx := context.Background()
	client, err := election.Connect(ctx, "zk1:2181,zk2:2181,zk3:2181/my-app")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for leader, err := range client.Observe(ctx, "/scheduler") {
		switch {
		case errors.Is(err, election.ErrNoLeader), errors.Is(err, election.ErrDisconnected):
			log.Println("hold requests back:", err)
		case err != nil:
			log.Fatal(err)
		default:
			log.Println("send requests to", leader.ID)
		}
	}
}
