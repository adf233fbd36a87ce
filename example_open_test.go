package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A service starts while ZooKeeper is down, and its health endpoint says so. It takes part
// in the election as soon as ZooKeeper is there.
func ExampleOpen() {
	ctx := context.Background()
	zk, err := electiontest.Start() // a ZooKeeper in memory; in a service, Open alone
	if err != nil {
		log.Fatal(err)
	}
	defer zk.Close()
	var there atomic.Bool
	dial := func(network, address string, timeout time.Duration) (net.Conn, error) {
		if !there.Load() {
			return nil, errors.New("nobody listens")
		}
		return zk.Dialer("a")(network, address, timeout)
	}

	client, err := election.Open(zk.ConnectString(), election.WithDialer(dial),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err) // a wrong argument
	}
	defer client.Close()
	health := func(w http.ResponseWriter, _ *http.Request) {
		status := client.Status() // its String says all of it in one line
		if !status.Connected {
			http.Error(w, "no ZooKeeper: "+status.LastError, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "connected, candidates:", status.Candidates)
	}
	ask := func() {
		w := httptest.NewRecorder()
		health(w, httptest.NewRequest("GET", "/health", nil))
		fmt.Print(w.Code, " ", w.Body)
	}

	candidate, err := election.NewCandidate(client, "/scheduler")
	if err != nil {
		log.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = candidate.Start(short)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	ask()

	there.Store(true)
	term, err := candidate.Await(ctx) // waits for ZooKeeper, and then for the other candidates
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("leads", term.Path())
	ask()
	// Output:
	// true
	// 503 no ZooKeeper: nobody listens
	// leads /scheduler
	// 200 connected, candidates: 1
}
