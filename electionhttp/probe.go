package electionhttp

import (
	"fmt"
	"net/http"

	"github.com/zkelection/election"
)

// Live returns a handler for liveness probes. It always answers 200, so the probe passes as
// long as the process serves HTTP. A restart would not help against an outage of ZooKeeper
// or the loss of leadership: the library recovers from both by itself.
func Live() http.Handler {
	return reads(func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "live") })
}

// Ready returns a handler for readiness probes. It answers 200 when each client has had a
// session and none is closed. Otherwise it answers 503, with the reason in one line.
//
// Readiness does not depend on leadership or on the present connection. A probe that
// required leadership would take all replicas but one out of service. A probe that required
// a connection would take all replicas out of service at once when ZooKeeper cannot be
// reached, even for work that does not need ZooKeeper.
//
// A client made by [election.Connect] is ready from the beginning. A client made by
// [election.Open], or by [election.NewClient] on a connection without a session, is not
// ready before its first session. If a process is useful without ZooKeeper, use [Live] for
// readiness, too.
func Ready(clients ...*election.Client) http.Handler {
	var wrong mistakes
	if len(clients) == 0 {
		wrong.add("no client is given")
	}
	for i, c := range clients {
		if c == nil {
			wrong.add("client %d is nil", i)
		}
	}
	return wrong.handler("Ready", reads(func(w http.ResponseWriter, _ *http.Request) {
		for i, c := range clients {
			if s := c.Status(); s.Closed || s.Timeout == 0 { // Timeout is 0 only before the first session
				say(w, http.StatusServiceUnavailable, fmt.Sprintf("not ready: client %d: %v", i+1, s))
				return
			}
		}
		say(w, http.StatusOK, "ready")
	}))
}
