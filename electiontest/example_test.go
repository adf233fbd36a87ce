package electiontest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// inExample stands for the *testing.T that a test has and an example has not.
type inExample struct {
	testing.TB
	cleanups []func()
}

func (*inExample) Helper()            {}
func (t *inExample) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (*inExample) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (t *inExample) end() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		t.cleanups[last]()
		t.cleanups = t.cleanups[:last]
	}
}

// In real time, an operator takes leadership away. See the package's tests for the same in virtual time.
func ExampleEnsemble_TakeLeadership() {
	t := new(inExample)
	defer t.end()
	zk := electiontest.New(t)
	ctx := context.Background()
	stand := func(name string) *election.Candidate {
		client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() { _ = client.Close() })
		candidate, err := election.NewCandidate(client, "/nightly-job", election.WithID(name))
		if err != nil {
			t.Fatalf("%v", err)
		}
		return candidate
	}

	a, b := stand("a"), stand("b")
	first, err := a.Await(ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := b.Start(ctx); err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Println(zk.TakeLeadership("/nightly-job").ID, "is evicted")
	<-first.Done()
	fmt.Println("its term ends:", errors.Is(first.Err(), election.ErrNodeDeleted))
	if _, err := b.Await(ctx); err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Println(zk.Leader("/nightly-job").ID, "leads")
	// Output:
	// a is evicted
	// its term ends: true
	// b leads
}
