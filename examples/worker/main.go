// Command worker is two services that share one task: each asks once a second whether it leads, and works only then.
//
//	go run ./examples/worker                    # both, one process each, until Ctrl-C
//	go run ./examples/worker -service service1  # one of them
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble, zoo1:2181,zoo2:2181,zoo3:2181 for instance; where it is unset, an
// in-memory one is used: three servers for both services, one for services that run alone.
package main

import (
	"context"
	"errors"
	"flag"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
)

const (
	rootNode       = "/leader-election"
	sessionTimeout = 10 * time.Second
	period         = time.Second
	stopLimit      = 5 * time.Second
)

func main() {
	name := flag.String("service", "", "run the service of this `name` alone; by default service1 and service2 run")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		if *name == "" {
			return runBoth(ctx)
		}
		return runService(ctx, *name)
	})
}

// runService is the post's Worker with its ZooKeeperClient. It returns when ctx ends, and hands on before that.
func runService(ctx context.Context, name string) (err error) {
	client, err := demo.Connect(ctx, sessionTimeout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	candidate, err := election.NewCandidate(client, rootNode, election.WithID(name),
		election.WithNaming(election.ZooKeeperRecipe), election.WithListener(announce(name)))
	if err != nil {
		return err
	}
	watched, leave := context.WithCancel(ctx) // not ctx itself, which lasts when Start fails
	var following sync.WaitGroup
	defer following.Wait()
	defer leave()
	following.Go(func() { follow(watched, client, name) })
	if err := candidate.Start(ctx); err != nil {
		return err
	}
	work(ctx, candidate, name)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return candidate.Shutdown(stop)
}

// work is the post's ExecuteAsync. While the connection is lost the leader goes on for as long as nobody else can
// lead, and no longer: Act asks the term, and the term asks the clock.
func work(ctx context.Context, candidate *election.Candidate, name string) {
	every := time.NewTicker(period)
	defer every.Stop()
	for {
		if term := candidate.Term(); term != nil {
			demo.Act(name, "Processing...", term)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce tells of the states that the post leaves out: a term ends when the session expires, when the connection is
// lost for too long, when the service stops. The candidate comes back by itself.
func announce(name string) election.Listener {
	return election.ListenerFuncs{
		OnIsLeader:  func(t *election.Term) { demo.Say(name, "leads from now on, with token %#x", t.Token()) },
		OnNotLeader: func(t *election.Term) { demo.Say(name, "leads no more: %v", t.Err()) },
	}
}

// follow tells what the post's getLeaderHostName would answer, whenever the answer changes.
func follow(ctx context.Context, client *election.Client, name string) {
	for leader, err := range client.Observe(ctx, rootNode) {
		switch {
		case errors.Is(err, election.ErrDisconnected):
			demo.Say(name, "is disconnected, and cannot know who leads")
		case errors.Is(err, election.ErrNoLeader):
			demo.Say(name, "sees that nobody leads")
		case err == nil:
			demo.Say(name, "sees that the leader is %s", leader.ID)
		}
	}
}
