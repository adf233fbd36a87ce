// Command app does a job that only one of many instances may do at a time. Each instance
// waits until it leads, does the job once, and ends.
//
//	ZOOKEEPER_CONNECTION_STRING=localhost:2181 go run . -name client_1
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
	electionPath = "/testing-leadership" // the same for all instances
	clock        = "2006-01-02T15:04:05.000000Z07:00"
)

func main() {
	host, _ := os.Hostname()
	name := flag.String("name", host, "`name` of this instance")
	timeout := flag.Duration("session-timeout", election.DefaultSessionTimeout, "`time` after which ZooKeeper ends the session of a crashed instance")
	failover := flag.Duration("failover", 0, "`time` after which the next instance replaces a crashed one; 0: when ZooKeeper has ended its session")
	crash := flag.Bool("crash", false, "tip over after the job: end without closing anything")
	flag.Parse()
	servers := os.Getenv("ZOOKEEPER_CONNECTION_STRING")
	if servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the address of your ZooKeeper, such as localhost:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, servers, *name, *timeout, *failover, *crash); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run returns when the job is done or the program is stopped. The next instance then
// leads at once, because Run leaves the election when the job's function returns, and
// closing the client ends the session.
func run(ctx context.Context, servers, name string, timeout, failover time.Duration, crash bool) error {
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
	fmt.Println(time.Now().Format(clock), name, "waits, process", os.Getpid())
	return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		err := job(ctx, name, term)
		if err == nil && crash && step(name, "tips-over", term) == nil {
			// No deferred call runs, so ZooKeeper, or the next instance, has to miss this one. 137
			// is what a shell reports for SIGKILL.
			os.Exit(137)
		}
		return err
	})
}

// job is your own work. If the term ends before the job does, Run waits for the next term
// and calls job again.
func job(ctx context.Context, name string, term *election.Term) error {
	for _, what := range []string{"leads", "works", "works"} {
		if err := step(name, what, term); err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// step does one step of the job if the term still lasts. Whoever receives the result can
// refuse an old token.
func step(name, what string, term *election.Term) error {
	at := time.Now() // read the clock before the check: after a pause in between, another instance may lead
	if err := term.Err(); err != nil {
		return err
	}
	fmt.Printf("%s %s %s token=%#x\n", at.Format(clock), name, what, term.Token())
	return nil
}
