package electiontest_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// The service waits while a rival leads, works when that one leaves, and gives way to
// another one. In a test, electiontest.New(t) takes the place of Start, and zk.Rival and
// zk.AwaitLeader need no context and return no error.
func ExampleRival() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	zk, err := electiontest.Start()
	if err != nil {
		panic(err)
	}
	defer zk.Close()
	rival, err := zk.Rival(ctx, "/nightly-job") // it is first, since nobody is there
	if err != nil {
		panic(err)
	}

	client, err := election.Connect(ctx, zk.ConnectString(), election.WithDialer(zk.Dialer("service")),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	service, err := election.NewCandidate(client, "/nightly-job", election.WithID("service"))
	if err != nil {
		panic(err)
	}
	if err := service.Start(ctx); err != nil {
		panic(err)
	}
	fmt.Println(zk.Leader("/nightly-job").ID, "leads")

	if err := rival.Leave(ctx); err != nil {
		panic(err)
	}
	leader, err := zk.AwaitLeader(ctx, "/nightly-job", "service")
	if err != nil {
		panic(err)
	}
	fmt.Println(leader.ID, "leads")

	second, err := zk.Rival(ctx, "/nightly-job") // behind the service
	if err != nil {
		panic(err)
	}
	if _, err := second.TakeOver(ctx); err != nil {
		panic(err)
	}
	fmt.Println(zk.Leader("/nightly-job").ID, "leads, and the service does not:", service.HasLeadership())
	// Output:
	// rival-1 leads
	// service leads
	// rival-2 leads, and the service does not: false
}
