package electiontest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// writer is a service that writes to a table every five seconds while it leads. began is
// called when its work begins, and returns what to call when the work has ended: in
// production, that might be metrics.
func writer(ctx context.Context, id string, began func(*election.Term) (end func()), write func(token int64),
	servers string, opts ...election.ClientOption) error {
	client, err := election.Connect(ctx, servers, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/writer", election.WithID(id))
	if err != nil {
		return err
	}
	return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		defer began(term)()
		for ctx.Err() == nil {
			write(term.Token())
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	})
}

// An hour for each of three seeds. This is how a test of your own may look.
func TestWriterUnderChaos(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				report := electiontest.Chaos(t, seed, func(ctx context.Context, r *electiontest.Replica) error {
					write := func(token int64) { r.Write("table", token) } // stands for the table
					return writer(ctx, r.Name(), r.Begin, write, r.ConnectString(), r.Options()...)
				}, electiontest.ChaosPatience(time.Minute))
				t.Logf("%d faults, %d works, %d writes", len(report.Faults), report.Works, report.Writes)
			})
		})
	}
}
