// Command reelection is one candidate of the raw recipe: run it in several terminals, stop or kill one, and see who
// takes over and who does not stir.
//
//	go run ./examples/reelection
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble; where it is unset, the first candidate starts an in-memory one for all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
)

const (
	electionNamespace = "/election"
	znodePrefix       = election.Naming("candidate_") // candidate_0000000000, candidate_0000000001, …
	// How often a candidate looks at its own place in line. That asks nobody: the library follows the line.
	glance = 50 * time.Millisecond
)

func main() {
	timeout := flag.Duration("session-timeout", 2*time.Second, "what a candidate that was killed is missed after")
	flag.Parse()
	demo.Main(func(ctx context.Context) error { return run(ctx, *timeout) })
}

// run stands until ctx ends, and then leaves the line, so that the next need not wait for the session to expire.
func run(ctx context.Context, timeout time.Duration) error {
	client, err := demo.Connect(ctx, timeout)
	if err != nil {
		return err
	}
	fmt.Printf("process %d: kill -9 %[1]d\n", os.Getpid()) // which is not the process of "go run"
	candidate, err := election.NewCandidate(client, electionNamespace, election.WithNaming(znodePrefix),
		election.WithListener(election.ListenerFuncs{OnNotLeader: resign}))
	if err == nil {
		err = candidate.Start(ctx)
	}
	if err == nil {
		narrate(ctx, client, candidate)
	}
	if err := errors.Join(err, client.Close()); err != nil {
		return err
	}
	fmt.Println("Session closed, exiting application")
	return nil
}

// place is what a candidate tells of: its znode, and the one that it waits for, or the term in which it leads.
type place struct {
	znode, ahead string
	term         *election.Term
}

// contact is what is told when the connection is lost (false) or is back.
var contact = map[bool]string{false: "Disconnected from ZooKeeper", true: "Connected to ZooKeeper again"}

// narrate tells where candidate stands and whether ZooKeeper is in reach, and again whenever that changes.
func narrate(ctx context.Context, client *election.Client, candidate *election.Candidate) {
	every := time.NewTicker(glance)
	defer every.Stop()
	for told, connected := (place{}), true; ; {
		if up := candidate.Status().Connected; up != connected {
			connected = up
			fmt.Println(contact[up])
		}
		if now, settled := look(candidate); settled && now != told && tell(ctx, client, candidate, told, now) {
			told = now
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// look is not settled while the candidate does not know whom to watch, or whether it may lead.
func look(candidate *election.Candidate) (p place, settled bool) {
	status, term := candidate.Status(), candidate.Term()
	switch {
	case term != nil && term.Token() == status.Token: // begun before the status or after, but with the znode that it shows
		return place{znode: status.Znode, term: term}, true
	case status.Ahead != nil && status.Connected:
		return place{znode: status.Znode, ahead: status.Ahead.Path}, true
	}
	return place{}, false
}

// tell is the output of the post's electLeader. It is false, and nothing is told, when ZooKeeper could not say who
// leads, or the place has changed by the time that it has.
func tell(ctx context.Context, client *election.Client, candidate *election.Candidate, before, now place) bool {
	var verdict string
	if now.term != nil {
		verdict = fmt.Sprintf("I am the leader 👑 (token %#x)", now.term.Token())
	} else {
		leader, err := client.Leader(ctx, electionNamespace)
		if err != nil || leader.Path == now.znode { // it comes to lead, and does not know yet
			return false
		}
		verdict = fmt.Sprintf("I am not the leader, %s is the leader\nWatching znode %s", path.Base(leader.Path), path.Base(now.ahead))
	}
	if again, settled := look(candidate); !settled || again != now {
		return false
	}
	if before.znode != now.znode { // stood for the first time, or again after the session had expired
		fmt.Println("Name:", now.znode)
	}
	fmt.Println(verdict)
	return true
}

// resign tells of what the post leaves out: a leader that is cut off, or stopped, leads no more.
func resign(t *election.Term) { fmt.Println("I am the leader no more:", t.Err()) }
