package node

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/zkelection/election"
)

// TokenHeader carries the fencing token of the term in which a write was answered. A store behind the service would
// keep the largest that it has seen and refuse smaller ones; a client can tell by it which of two answers is newer.
const TokenHeader = "Fencing-Token"

//go:embed index.html
var page []byte

func (n *Node) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /events", n.events)
	mux.HandleFunc("GET /healthz", n.healthz)
	mux.HandleFunc("GET /microservice/test", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, n.candidate.HasLeadership())
	})
	mux.HandleFunc("GET /microservice/test/hello", func(w http.ResponseWriter, r *http.Request) { // HEAD too
		fmt.Fprintln(w, n.hello(r))
	})
	mux.HandleFunc("/microservice/test/hello", n.write(n.hello))
	return mux
}

// hello stands for the service's work.
func (n *Node) hello(*http.Request) string { return n.cfg.NodeID }

// write lets a request through while this node leads. The term is asked again when the work is done and before the
// answer goes out, so no answer says that a write was accepted under a term that had ended by then. Between that
// look and the client's reading the answer any time may pass: this is what the token is for.
func (n *Node) write(work func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !n.writes.enter() {
			n.refuse(w, "is shutting down")
			return
		}
		defer n.writes.leave()
		term := n.candidate.Term()
		if term == nil {
			n.refuse(w, "is not the leader")
			return
		}
		answer := work(r)
		if err := term.Err(); err != nil {
			n.doubt(w, err)
			return
		}
		w.Header().Set(TokenHeader, strconv.FormatInt(term.Token(), 10))
		fmt.Fprintln(w, answer)
	}
}

// refuse says that nothing was done, and that another node, or the same one later, will do it.
func (n *Node) refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, n.cfg.NodeID+" "+why, http.StatusServiceUnavailable)
}

// doubt answers a write whose term has ended over its work, as NGINX answers one whose node has died over it: to say
// "try again" would invite to do twice what may have been done.
func (n *Node) doubt(w http.ResponseWriter, why error) {
	http.Error(w, n.cfg.NodeID+" is not the leader any more, and may have done it: look before you repeat this ("+why.Error()+")",
		http.StatusBadGateway)
}

// healthz is for those who ask whether to send requests here. A node that does not lead is healthy, and so is one
// that has lost touch with ZooKeeper: it answers reads.
func (n *Node) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status := n.candidate.Status()
	leaving := n.writes.isShut()
	if leaving {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(struct {
		Node    string          `json:"node"`
		Leaving bool            `json:"leaving"`
		Says    string          `json:"says"`
		Status  election.Status `json:"status"`
	}{n.cfg.NodeID, leaving, status.String(), status})
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page)
}
