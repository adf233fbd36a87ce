// Command quickstart shows an election in a few seconds: three candidates, a leader, its crash, its successor.
//
//	go run ./examples/quickstart
//
// It needs Go alone. ZOOKEEPER_CONNECTION_STRING names another ensemble than the in-memory one that it uses otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
)

const (
	electionPath = "/quickstart"
	// A leader that crashed is missed after this time. It is short to be watched; most services do better with the
	// default of 10 s.
	sessionTimeout = 1500 * time.Millisecond
	period         = 250 * time.Millisecond // of the work
)

func main() {
	name := flag.String("candidate", "", "be the candidate of this `name` alone; by default three run, one process each")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		if *name == "" {
			return show(ctx)
		}
		return stand(ctx, *name)
	})
}

// stand is all that a service needs: connect, stand, and work under Run whenever it is this candidate's turn.
func stand(ctx context.Context, name string) (err error) {
	client, err := demo.Connect(ctx, sessionTimeout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	candidate, err := election.NewCandidate(client, electionPath, election.WithID(name))
	if err != nil {
		return err
	}
	demo.Say(name, "stands")
	return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		work(ctx, name, term)
		return ctx.Err()
	})
}

// work goes on until the term ends, or the process is told to stop. The next candidate leads only when it has returned.
func work(ctx context.Context, name string, term *election.Term) {
	defer demo.Say(name, "stops")
	demo.Act(name, "leads", term)
	every := time.NewTicker(period)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			demo.Act(name, "works", term)
		case <-ctx.Done():
			return
		}
	}
}
