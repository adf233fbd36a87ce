// Command app is the service after its migration from Java with Curator's LeaderLatch. It
// uses the same path and the same kind of ID. The znodes have LeaderLatch's names by
// default, so Java and Go processes take part in one election.
//
//	ZOOKEEPER_CONNECTION_STRING=localhost:2181 go run . -name go-1
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

const clock = "2006-01-02T15:04:05.000000000Z07:00"

func main() {
	host, _ := os.Hostname()
	name := flag.String("name", host, "`name` of this process")
	path := flag.String("path", "/migration/service", "`path` of the election, the same as LeaderLatch's")
	timeout := flag.Duration("session-timeout", election.DefaultSessionTimeout, "`time` after which ZooKeeper ends the session of a crashed process")
	flag.Parse()
	servers := os.Getenv("ZOOKEEPER_CONNECTION_STRING")
	if servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the address of your ZooKeeper, such as localhost:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, servers, *path, *name, *timeout); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run leads whenever it is this process's turn. When ctx ends, the work stops first, and
// then the next process leads.
func run(ctx context.Context, servers, path, name string, timeout time.Duration) error {
	late := time.AfterFunc(3*time.Second, func() { log.Println("still waiting for ZooKeeper at", servers) })
	client, err := election.Connect(ctx, servers, election.WithSessionTimeout(timeout))
	late.Stop()
	if err != nil {
		return err
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, path, election.WithID(name))
	if err != nil {
		return err
	}
	return candidate.Run(ctx, func(ctx context.Context, _ *election.Term) error { return jobs(ctx, name) })
}

// jobs does one job after the other as long as the term lasts.
func jobs(ctx context.Context, name string) error {
	say(time.Now(), name, "gained")
	defer func() { say(time.Now(), name, "lost") }()
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		at := time.Now()      // read the clock before the check: after a pause in between, another process may lead
		if ctx.Err() != nil { // compares the lease with the clock, right before the job
			return ctx.Err()
		}
		say(at, name, "job")
		select {
		case <-every.C:
		case <-ctx.Done():
		}
	}
}

func say(at time.Time, name, what string) { fmt.Println(at.UTC().Format(clock), name, what) }
