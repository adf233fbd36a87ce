// Command singleton is six instances of one program, of which only one may work at a time: each waits until it leads,
// does its job, and tips over without closing anything, so that the next takes over.
//
//	go run ./examples/singleton                    # all six, one process each, and a table of who led when
//	go run ./examples/singleton -instance client_1 # one of them
//
// ZOOKEEPER_CONNECTION_STRING names the ensemble; where it is unset, an in-memory one is used.
package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
)

const (
	electionPath = "/testing-leadership"
	// A leader that tips over is replaced after this time at most. It is short to be watched; the default of
	// 10 s suits most services better. A server with ZooKeeper's default tick grants 4 s.
	sessionTimeout = 3 * time.Second
)

func main() {
	name := flag.String("instance", "", "run the instance of this `name` alone; by default six run, one process each")
	servers := flag.Int("servers", 3, "`number` of ZooKeeper servers to start where the environment names none")
	flag.Parse()
	demo.Main(func(ctx context.Context) error {
		if *name == "" {
			return runAll(ctx, *servers)
		}
		return runInstance(ctx, *name)
	})
}

// runInstance is the post's ClusterService.run. It returns when ctx ends; when its job is done, it does not return.
func runInstance(ctx context.Context, name string) error {
	client, err := demo.Connect(ctx, sessionTimeout)
	if err != nil {
		return err
	}
	defer client.Close() // for an instance that is stopped before its turn; tipOver goes past it
	candidate, err := election.NewCandidate(client, electionPath, election.WithID(name))
	if err != nil {
		return err
	}
	for {
		demo.Say(name, "waits (process %d)", os.Getpid())
		term, err := candidate.Await(ctx)
		if err != nil {
			return err
		}
		if job(ctx, name, term) {
			tipOver()
		}
		if ctx.Err() != nil { // stopped in the middle of its job: it does not wait for another turn
			return ctx.Err()
		}
		demo.Say(name, "leads no more: %v", term.Err())
	}
}

// job is the work that only one instance may do: "some basic logging". Whoever takes its results can tell a leader
// that comes late by its token. It reports whether it was done before the term ended.
func job(ctx context.Context, name string, term *election.Term) bool {
	for _, what := range []string{"leads", "works", "works"} {
		if !demo.Act(name, what, term) {
			return false
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-term.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return demo.Act(name, "tips-over", term)
}

// tipOver ends the process as a crash would: nothing is closed, so only ZooKeeper's missing the heartbeats of the
// session makes the next one leader. The first process of a container is spared by its own SIGKILL, which is when
// this one goes on to exit; that closes nothing either, and docker-compose.yml has it be no container's first.
func tipOver() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	os.Exit(137)
}
