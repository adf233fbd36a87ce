package electionprom_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionprom"
	"github.com/zkelection/election/electiontest"
)

func Example() {
	if err := service(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// leader_election_master_status{name="/nightly-job"} 1
	// election_terms_total{name="/nightly-job"} 1
}

// service is a service with metrics.
func service(ctx context.Context) error {
	zk, err := electiontest.Start() // a ZooKeeper in memory; a service has the addresses of its own
	if err != nil {
		return err
	}
	defer zk.Close()
	servers, err := zk.ListenTCP()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()

	trace, err := electionprom.New(prometheus.DefaultRegisterer)
	if err != nil {
		return err
	}
	client, err := election.Connect(ctx, servers, election.WithTrace(trace))
	if err != nil {
		return err
	}
	defer client.Close()
	mux.Handle("GET /metrics", promhttp.Handler())

	candidate, err := election.NewCandidate(client, "/nightly-job")
	if err != nil {
		return err
	}
	return candidate.Run(ctx, func(context.Context, *election.Term) error {
		scrape(mux, "leader_election_master_status", "election_terms_total")
		return nil
	})
}

// scrape prints the series of some metrics.
func scrape(metrics http.Handler, names ...string) {
	answer := httptest.NewRecorder()
	metrics.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, name := range names {
		for line := range strings.Lines(answer.Body.String()) {
			if strings.HasPrefix(line, name+"{") {
				fmt.Print(line)
			}
		}
	}
}

// Elections of one name share their series. So the number of shards does not matter.
func ExampleWithName() {
	trace, err := electionprom.New(prometheus.NewRegistry(), electionprom.WithName(path.Dir)) // /shards/17 counts as /shards
	fmt.Println(trace != nil, err)
	// Output:
	// true <nil>
}
