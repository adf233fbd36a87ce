// Package board is the example's web page. It shows live who leads, which nodes get reads
// and which node gets writes. A service does not need it.
package board

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
)

// Config says what a [Board] shows. All fields are required.
type Config struct {
	NodeID     string        // whose page it is
	LatchPath  string        // the election
	Services   string        // the znode in the registry that has the instances, such as "/service-discovery/bookService"
	AddressKey string        // the key in a candidate's metadata that has its host:port; without it, a node's name is not known
	Session    time.Duration // the nodes' session timeout
}

// view is what the page shows.
type view struct {
	Node    string     `json:"node"`    // whose page it is
	Session float64    `json:"session"` // timeout, in seconds
	State   string     `json:"state"`   // led, vacant or unknown
	Leader  string     `json:"leader"`  // while led
	Token   string     `json:"token"`   // while led; text, since JavaScript's numbers end at 2^53
	Since   *time.Time `json:"since"`   // when this state or this leader's term began; nil if that is not known yet
	Silent  bool       `json:"silent"`  // the leader does not answer, but its session has not timed out yet
	Line    []stander  `json:"line"`    // the line as last known, leader first
	Nodes   []node     `json:"nodes"`   // in the registry
	token   int64
	claim   discovery.Entry // the newest claim in the registry; zero if there is none
}

type stander struct {
	ID    string `json:"id"`
	Znode string `json:"znode"`
	Token string `json:"token"`
	addr  string // from its metadata; empty if it has none
}

// Board follows the election and the registry and shows them on the page. [New] makes
// one. It is an [http.Handler] for "/" and "/events".
type Board struct {
	client   *election.Client
	registry *discovery.Registry
	cfg      Config
	mux      *http.ServeMux
	cancel   context.CancelFunc
	work     sync.WaitGroup
	leaving  chan struct{} // closed when the event streams have to end
	leave    func()

	mu      sync.Mutex // guards the following
	view    view
	changed chan struct{} // closed and replaced at every change of view
}

// lineEvery is how often the Board reads the line behind the leader. [election.Follower]
// knows who leads, but not who joins or leaves further back, so that ten thousand
// candidates cost it no more than two.
const lineEvery = time.Second

// New returns a Board that follows the election and the registry.
func New(client *election.Client, registry *discovery.Registry, cfg Config) *Board {
	b := still(cfg)
	b.client, b.registry = client, registry
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.work.Go(func() { b.followElection(ctx) })
	b.work.Go(func() { b.followRegistry(ctx) })
	b.work.Go(func() { b.askNodes(ctx) })
	return b
}

// still returns a Board that does not follow anything yet.
func still(cfg Config) *Board {
	b := &Board{cfg: cfg, mux: http.NewServeMux(), leaving: make(chan struct{}), changed: make(chan struct{})}
	b.view = view{Node: cfg.NodeID, Session: cfg.Session.Seconds(), State: "unknown"}
	b.leave = sync.OnceFunc(func() { close(b.leaving) })
	b.mux.HandleFunc("GET /{$}", servePage)
	b.mux.HandleFunc("GET /events", b.events)
	return b
}

// Leave ends the event streams to open pages. Call it before the graceful shutdown of the
// web server, which would wait for them.
func (b *Board) Leave() { b.leave() }

// Close ends the streams, stops following, and returns when nothing of the Board runs any
// more.
func (b *Board) Close() {
	b.Leave()
	b.cancel()
	b.work.Wait()
}

//go:embed index.html
var page []byte

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page)
}

// ServeHTTP serves the page and its events.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.mux.ServeHTTP(w, r) }

// followElection keeps the leader and the line up to date.
func (b *Board) followElection(ctx context.Context) {
	follower := b.client.Follow(b.cfg.LatchPath)
	defer follower.Close()
	every := time.NewTicker(lineEvery)
	defer every.Stop()
	for {
		changed := follower.Changed()
		leader, err := follower.Leader()
		line := b.look().Line
		if err == nil {
			line = b.standing(ctx, line)
		}
		b.set(func(v *view) { v.lead(leader, err, line) })
		select {
		case <-changed:
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// lead takes what a Follower says, and the line behind that leader.
func (v *view) lead(leader election.Participant, err error, line []stander) {
	state, now := "led", time.Now()
	since := &now
	switch {
	case errors.Is(err, election.ErrNoLeader):
		state, leader, line = "vacant", election.Participant{}, nil
	case err != nil: // with ErrDisconnected comes the last one known
		state, leader = "unknown", election.Participant{}
	case v.State == "unknown":
		since = nil // it may have led before we looked
	}
	v.Line = line
	if state == v.State && leader.Token == v.token {
		return
	}
	v.State, v.Leader, v.token, v.Since, v.Silent = state, leader.ID, leader.Token, since, false
	v.Token = ""
	if state == "led" {
		v.Token = hex(leader.Token)
	}
}

// standing reads the line. If that fails, it returns what was known.
func (b *Board) standing(ctx context.Context, known []stander) []stander {
	ctx, cancel := context.WithTimeout(ctx, lineEvery)
	defer cancel()
	all, err := b.client.Participants(ctx, b.cfg.LatchPath)
	if err != nil {
		return known
	}
	var line []stander
	for _, p := range all {
		line = append(line, stander{ID: p.ID, Znode: p.Path, Token: hex(p.Token), addr: p.Metadata[b.cfg.AddressKey]})
	}
	return line
}

func hex(n int64) string { return fmt.Sprintf("%#x", uint64(n)) }

func (b *Board) look() view {
	v, _ := b.watch()
	return v
}

// watch returns the present view, and a channel that is closed when the view changes.
func (b *Board) watch() (view, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

func (b *Board) set(change func(*view)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.view
	change(&b.view)
	b.view.complete()
	if !reflect.DeepEqual(old, b.view) {
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// complete fills in what follows from the rest.
func (v *view) complete() {
	v.Nodes = named(v.Nodes, v.Line)
	v.Silent = silent(*v)
	// The first in line has to prove its lease before it leads and says so.
	if v.State == "led" && v.Since == nil && v.claim.Modified > v.token {
		since := v.claim.Written
		v.Since = &since
	}
}
