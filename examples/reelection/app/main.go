// Command app is one candidate of ZooKeeper's leader election recipe. It prints its
// znode, who leads, and which znode it watches, and prints that again whenever it
// changes. Run it in several terminals, end one, and see who takes over.
//
//	ZOOKEEPER_CONNECTION_STRING=localhost:2181 go run .
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
	"path"
	"syscall"
	"time"

	"github.com/zkelection/election"
)

const (
	electionNamespace = "/election"
	znodePrefix       = election.Naming("candidate_") // candidate_0000000000, candidate_0000000001, …
	silence           = 3 * time.Second               // after this time a ZooKeeper that does not answer is reported
	glance            = 50 * time.Millisecond         // between two looks at our own place in line, which ask no server
)

// options are the options of the command line.
type options struct {
	name    string
	kill    string // the command that ends this candidate as a crash would
	timeout time.Duration
}

func main() {
	host, _ := os.Hostname()
	var o options
	flag.StringVar(&o.name, "name", fmt.Sprintf("%s-%d", host, os.Getpid()), "`name` of this candidate")
	flag.StringVar(&o.kill, "kill", fmt.Sprintf("kill -9 %d", os.Getpid()), "`command` to print that ends this candidate as a crash would")
	flag.DurationVar(&o.timeout, "session-timeout", 2*time.Second, "`time` after which ZooKeeper ends the session of a crashed candidate")
	flag.Parse()
	servers := os.Getenv("ZOOKEEPER_CONNECTION_STRING")
	if servers == "" {
		log.Fatal("set ZOOKEEPER_CONNECTION_STRING to the address of your ZooKeeper, such as localhost:2181")
	}
	slog.SetLogLoggerLevel(slog.LevelWarn) // this program prints by itself when it leads
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, servers, o); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run takes part until ctx ends. Closing the client removes the znode, so the next candidate leads at once.
func run(ctx context.Context, servers string, o options) error {
	client, err := connect(ctx, servers, o.timeout)
	if err != nil {
		return err
	}
	candidate, err := election.NewCandidate(client, electionNamespace, election.WithID(o.name), election.WithNaming(znodePrefix),
		election.WithListener(election.ListenerFuncs{OnNotLeader: resign}))
	if err == nil {
		fmt.Println(welcome(servers, o.timeout, candidate.Status().Timeout))
		fmt.Printf("I am %s; to end me as a crash would: %s\n", o.name, o.kill)
		err = candidate.Start(ctx)
	}
	if err == nil {
		narrate(ctx, client, candidate, o.kill)
	}
	if err := errors.Join(err, client.Close()); err != nil {
		return err
	}
	fmt.Println("Session closed, exiting application")
	return nil
}

// connect waits for ZooKeeper, which may start later than this program. If ZooKeeper does
// not answer, connect says so.
func connect(ctx context.Context, servers string, timeout time.Duration) (*election.Client, error) {
	moment, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	client, err := election.Connect(moment, servers, election.WithSessionTimeout(timeout))
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return client, err
	}
	fmt.Println("ZooKeeper does not answer yet:", err) // the error names the address and the last failure
	return election.Connect(ctx, servers, election.WithSessionTimeout(timeout))
}

// welcome names the ZooKeeper in use, and explains a session timeout that differs from
// the one asked for.
func welcome(servers string, asked, granted time.Duration) string {
	text := fmt.Sprintf("Connected to ZooKeeper at %s, session timeout %v", servers, granted)
	if granted != asked {
		text += fmt.Sprintf(" instead of %v: a server grants 2 to 20 of its ticks", asked)
	}
	return text
}

// place is what a candidate prints: its znode, and either the znode that it watches or
// the term in which it leads.
type place struct {
	znode, ahead string
	term         *election.Term
}

// contact is what is printed when the connection is lost (false) or back (true).
var contact = map[bool]string{false: "Disconnected from ZooKeeper", true: "Connected to ZooKeeper again"}

// narrate prints the candidate's place in line and whether ZooKeeper can be reached, now
// and whenever that changes.
func narrate(ctx context.Context, client *election.Client, candidate *election.Candidate, kill string) {
	every := time.NewTicker(glance)
	defer every.Stop()
	for shown, connected := (place{}), true; ; {
		if up := candidate.Status().Connected; up != connected {
			connected = up
			fmt.Println(contact[up])
		}
		if now, settled := look(candidate); settled && now != shown && tell(ctx, client, candidate, shown, now, kill) {
			shown = now
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// look returns the candidate's place. settled is false while the candidate does not know
// yet what to watch or whether it leads.
func look(candidate *election.Candidate) (p place, settled bool) {
	status, term := candidate.Status(), candidate.Term()
	switch {
	case term != nil && term.Token() == status.Token:
		// The term may have begun after the status was read, but it is of the same znode.
		return place{znode: status.Znode, term: term}, true
	case status.Ahead != nil && status.Connected:
		return place{znode: status.Znode, ahead: status.Ahead.Path}, true
	}
	return place{}, false
}

// tell prints what the post's electLeader prints. It returns false, and prints nothing,
// if ZooKeeper could not say who leads, or if the place has changed meanwhile.
func tell(ctx context.Context, client *election.Client, candidate *election.Candidate, before, now place, kill string) bool {
	var verdict string
	if now.term != nil {
		verdict = fmt.Sprintf("I am the leader 👑 (token %#x); to see who is next: %s", now.term.Token(), kill)
	} else {
		leader, err := client.Leader(ctx, electionNamespace)
		if err != nil || leader.Path == now.znode { // we are about to lead, and do not know it yet
			return false
		}
		verdict = fmt.Sprintf("I am not the leader, %s is the leader (%s)\nWatching znode %s",
			path.Base(leader.Path), leader.ID, path.Base(now.ahead))
	}
	if again, settled := look(candidate); !settled || again != now {
		return false
	}
	if before.znode != now.znode { // it has joined for the first time, or again after its session had expired
		fmt.Println("Name:", now.znode)
	}
	fmt.Println(verdict)
	return true
}

// resign prints what the post leaves out: a leader that is cut off or stopped leads no
// more.
func resign(t *election.Term) { fmt.Println("I am the leader no more:", t.Err()) }
