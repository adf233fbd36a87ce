package electionhttp

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/zkelection/election"
)

// Status returns a handler that shows [election.Candidate.Status] to people and dashboards:
// as JSON, or as one line of text if the request's Accept header prefers text/plain. The
// answer is always 200, even if c does not lead or is closed, or ZooKeeper cannot be
// reached. For probes use [Live] and [Ready].
//
// The handler answers GET and HEAD. It answers other methods with 405.
func Status(c *election.Candidate) http.Handler {
	var wrong mistakes
	if c == nil {
		wrong.add("the candidate is nil")
	}
	return wrong.handler("Status", reads(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		status := c.Status()
		if prefersText(r.Header.Values("Accept")) {
			say(w, http.StatusOK, status.String())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status) // fails only if the client has gone
	}))
}

// reads returns a handler for GET and HEAD, whose answers must not be cached.
func reads(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		h(w, r)
	})
}

// say answers with one line of text.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

const (
	textType = "text/plain"
	jsonType = "application/json"
)

// prefersText reports whether an Accept header ranks text above JSON.
func prefersText(accept []string) bool {
	text, json := rank{}, rank{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if given, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(given, 64); err != nil {
				continue
			}
		}
		text.see(textType, media, q)
		json.see(jsonType, media, q)
	}
	return text.q > json.q
}

// rank is what an Accept header says about one media type. The most specific part that
// matches counts (RFC 9110, 12.5.1).
type rank struct {
	q     float64
	exact int
}

func (r *rank) see(own, media string, q float64) {
	exact := 0
	switch kind, _, _ := strings.Cut(own, "/"); media {
	case own:
		exact = 3
	case kind + "/*":
		exact = 2
	case "*/*":
		exact = 1
	}
	if exact > r.exact {
		r.q, r.exact = q, exact
	}
}
