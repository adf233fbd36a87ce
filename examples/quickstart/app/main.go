// Command app is one candidate of an election. It waits until it leads, and then works
// until it is stopped.
//
//	ZOOKEEPER_CONNECTION_STRING=localhost:2181 go run . -name anna
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zkelection/election"
)

const (
	electionPath = "/quickstart"
	period       = 250 * time.Millisecond // of the work
	clock        = "2006-01-02T15:04:05.000000Z07:00"
)

func main() {
	host, _ := os.Hostname()
	name := flag.String("name", host, "`name` of this candidate")
	timeout := flag.Duration("session-timeout", election.DefaultSessionTimeout, "`time` after which ZooKeeper ends the session of a crashed candidate")
	failover := flag.Duration("failover", 0, "`time` after which the next candidate replaces a crashed one; 0: when ZooKeeper has ended its session")
	flag.Parse()
	servers := os.Getenv("ZOOKEEPER_CONNECTION_STRING")
	if servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the address of your ZooKeeper, such as localhost:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, servers, *name, *timeout, *failover); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run is all that a service needs: connect, take part, and work whenever it is this candidate's turn.
func run(ctx context.Context, servers, name string, timeout, failover time.Duration) error {
	late := time.AfterFunc(3*time.Second, func() { log.Println("still waiting for ZooKeeper at", servers) })
	client, err := election.Connect(ctx, servers, election.WithSessionTimeout(timeout))
	late.Stop()
	if err != nil {
		return err
	}
	defer client.Close()
	options := []election.Option{election.WithID(name)}
	if failover > 0 {
		options = append(options, election.WithFastFailover(failover))
	}
	candidate, err := election.NewCandidate(client, electionPath, options...)
	if err != nil {
		return err
	}
	say(name, "joins")
	return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error { return work(ctx, name, term) })
}

// work goes on until the term ends or the program is stopped. The next candidate leads only after work has returned.
func work(ctx context.Context, name string, term *election.Term) error {
	defer say(name, "stops")
	step(name, "leads", term)
	every := time.NewTicker(period)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			step(name, "works", term)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step does one step of the work if the term still lasts. Whoever receives the result can
// refuse an old token.
func step(name, what string, term *election.Term) {
	at := time.Now() // read the clock before the check: after a pause in between, another candidate may lead
	if term.Err() == nil {
		fmt.Printf("%s %s %s token=%#x\n", at.Format(clock), name, what, term.Token())
	}
}

func say(name, what string) { fmt.Println(time.Now().Format(clock), name, what) }
