// Command app is a background service that shares a task with others. It asks once a
// second whether it leads, and works only if it does.
//
//	ZOOKEEPER_CONNECTION_STRING=zoo1:2181,zoo2:2181,zoo3:2181 go run . -name service1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/zkelection/election"
)

const (
	rootNode       = "/leader-election"
	sessionTimeout = 10 * time.Second
	period         = time.Second
	stopLimit      = 5 * time.Second
	clock          = "2006-01-02T15:04:05.000000Z07:00"
)

func main() {
	host, _ := os.Hostname()
	name := flag.String("name", host, "`name` of this service")
	flag.Parse()
	servers := os.Getenv("ZOOKEEPER_CONNECTION_STRING")
	if servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the addresses of your ZooKeeper, such as zoo1:2181,zoo2:2181,zoo3:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, servers, *name); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run takes part until ctx ends. Before it returns, it hands over to the next service.
func run(ctx context.Context, servers, name string) (err error) {
	late := time.AfterFunc(3*time.Second, func() { log.Println("still waiting for ZooKeeper at", servers) })
	client, err := election.Connect(ctx, servers, election.WithSessionTimeout(sessionTimeout))
	late.Stop()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	candidate, err := election.NewCandidate(client, rootNode, election.WithID(name),
		election.WithNaming(election.ZooKeeperRecipe), election.WithListener(announce(name)))
	if err != nil {
		return err
	}
	watched, leave := context.WithCancel(ctx) // not ctx itself, which goes on if Start fails
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

// work is the service's loop. If the connection is lost, the leader works on as long as
// nobody else can lead, and no longer: Err compares the lease with the clock.
func work(ctx context.Context, candidate *election.Candidate, name string) {
	every := time.NewTicker(period)
	defer every.Stop()
	for {
		at := time.Now() // read the clock before the check: after a pause in between, the other service may lead
		if term := candidate.Term(); term != nil && term.Err() == nil {
			fmt.Printf("%s %s Processing... token=%#x\n", at.Format(clock), name, term.Token())
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// announce prints when a term begins, and when and why it ends: the session has expired,
// the connection was lost for too long, or the service is being stopped. After a loss the
// candidate joins again by itself.
func announce(name string) election.Listener {
	return election.ListenerFuncs{
		OnIsLeader:  func(t *election.Term) { say(name, "leads from now on, with token %#x", t.Token()) },
		OnNotLeader: func(t *election.Term) { say(name, "leads no more: %v", t.Err()) },
	}
}

// follow prints who leads whenever that changes.
func follow(ctx context.Context, client *election.Client, name string) {
	for leader, err := range client.Observe(ctx, rootNode) {
		switch {
		case errors.Is(err, election.ErrDisconnected):
			say(name, "is disconnected, and cannot know who leads")
		case errors.Is(err, election.ErrNoLeader):
			say(name, "sees that nobody leads")
		case err == nil:
			say(name, "sees that the leader is %s", leader.ID)
		}
	}
}

func say(name, format string, args ...any) {
	fmt.Printf("%s %s %s\n", time.Now().Format(clock), name, fmt.Sprintf(format, args...))
}
