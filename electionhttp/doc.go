// Package electionhttp has the HTTP handlers of a service that elects its leader with
// package [election].
//
//   - [RequireLeader] serves requests only while this process leads. The requests count as
//     work of the term.
//   - [ForwardToLeader] sends requests to the process that leads.
//   - [Status], [Live] and [Ready] are for monitoring and probes.
//
// A service in which each replica takes every request, and only the leader writes:
//
//	follower := client.Follow("/writer")
//	write := electionhttp.RequireLeader(candidate, handler,
//		electionhttp.WithOtherwise(electionhttp.ForwardToLeader(follower)))
//	mux.Handle("/write", write)
//
// # What an answer says
//
// A client that repeats a write must know whether the first write may have been done. The
// answers of this package tell the cases apart:
//
//	503, Retry-After   nothing was done; repeat the request
//	508, Retry-After   nothing was done: the request was forwarded to a process that does
//	                   not lead, and is not forwarded again; repeat the request
//	502                it may have been done; check before you repeat the request
//
// A connection that breaks before the end of the answer means the same as 502.
//
// # Wrong arguments
//
// The functions return a handler and no error, so that a call can be used as an argument. If
// an argument is wrong, such as nil, the handler answers every request with 500 and names
// the argument.
package electionhttp

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/zkelection/election/internal/znode"
)

// retryAfter is the value of Retry-After, in seconds. A hand-over takes less. After a crash
// no one leads for about one session timeout.
const retryAfter = "1"

// mistakes are the wrong arguments of a call.
type mistakes []error

func (m *mistakes) add(format string, args ...any) { *m = append(*m, fmt.Errorf(format, args...)) }

// handler returns h, or a handler that answers 500 if there are mistakes.
func (m mistakes) handler(function string, h http.Handler) http.Handler {
	if len(m) == 0 {
		return h
	}
	text := znode.OneLine(fmt.Sprintf("electionhttp: %s: %v", function, errors.Join(m...)))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, text, http.StatusInternalServerError)
	})
}

// refuse answers with code and text, and tells the client to repeat the request.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Retry-After", retryAfter)
	http.Error(w, znode.OneLine(text), code)
}

// name shortens an ID, or a value of metadata, for a text. Other participants choose their
// own, of up to 1 MiB.
func name(s string) string { return znode.Brief(s) }
