package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/internal/discovery"
)

// view is what the page shows.
type view struct {
	Node   string     `json:"node"`   // whose page it is
	State  string     `json:"state"`  // led, vacant or unknown
	Leader string     `json:"leader"` // while led
	Token  string     `json:"token"`  // while led; text, since JavaScript's numbers end at 2^53
	Since  *time.Time `json:"since"`  // when State began, or this leader's term did
	Line   []stander  `json:"line"`   // as last known; the leader first
}

type stander struct {
	ID    string `json:"id"`
	Znode string `json:"znode"`
	Token string `json:"token"`
	token int64
}

// board follows the election and tells everybody who looks at the page.
type board struct {
	client *election.Client
	conn   *discovery.Conn
	cfg    Config
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex // guards the following
	view    view
	changed chan struct{} // closed and replaced at every change of view
}

// lineEvery is how often the line behind the leader is read: Observe tells who leads, and nothing of who joins or
// leaves further back, so that ten thousand candidates would cost it no more than two.
const lineEvery = time.Second

func newBoard(client *election.Client, conn *discovery.Conn, cfg Config) *board {
	ctx, cancel := context.WithCancel(context.Background())
	b := &board{client: client, conn: conn, cfg: cfg, cancel: cancel, ended: make(chan struct{}),
		view: view{Node: cfg.NodeID, State: "unknown"}, changed: make(chan struct{})}
	go b.run(ctx)
	return b
}

func (b *board) close() {
	b.cancel()
	<-b.ended
}

func (b *board) run(ctx context.Context) {
	defer close(b.ended)
	ctx, cancel := context.WithCancel(ctx)
	line := make(chan struct{})
	go func() {
		defer close(line)
		b.followLine(ctx)
	}()
	defer func() {
		cancel()
		<-line
	}()
	for p, err := range b.client.Observe(ctx, b.cfg.LatchPath) {
		b.observed(ctx, p, err)
	}
}

// observed takes what Observe says. Line goes along, since a change of leader changes it.
func (b *board) observed(ctx context.Context, p election.Participant, err error) {
	old := b.look()
	next := view{Node: b.cfg.NodeID, State: "unknown", Line: old.Line}
	now := time.Now()
	next.Since = &now
	switch {
	case err == nil:
		next.State, next.Leader, next.Token = "led", p.ID, hex(p.Token)
		if old.State == "unknown" {
			next.Since = b.claimed(p.Token)
		}
		next.Line = b.standing(ctx, old.Line)
	case errors.Is(err, election.ErrNoLeader):
		next.State, next.Line = "vacant", nil
	}
	b.set(func(v *view) { *v = next })
}

// claimed is when the leader that was found in office took it: when it wrote so into the registry, which is after its
// znode was made. Nil while it has not: whoever is first in line has still to prove its lease before it leads.
func (b *board) claimed(token int64) *time.Time {
	entries, err := b.conn.Read(b.cfg.ServicePath + "/" + service)
	claim, ok := discovery.Newest(entries)
	if err != nil || !ok || claim.Modified < token {
		return nil
	}
	return &claim.Written
}

// followLine keeps the line up to date.
func (b *board) followLine(ctx context.Context) {
	every := time.NewTicker(lineEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		if old := b.look(); old.State == "led" {
			b.refresh(ctx, old)
		}
	}
}

// refresh reads what Observe does not tell.
func (b *board) refresh(ctx context.Context, old view) {
	line, since := b.standing(ctx, old.Line), old.Since
	if since == nil && len(line) > 0 {
		since = b.claimed(line[0].token)
	}
	b.set(func(v *view) {
		if v.State == "led" && v.Token == old.Token { // else Observe has newer news
			v.Line, v.Since = line, since
		}
	})
}

// standing reads the line; what was known stays where it cannot be read.
func (b *board) standing(ctx context.Context, known []stander) []stander {
	ctx, cancel := context.WithTimeout(ctx, lineEvery)
	defer cancel()
	all, err := b.client.Participants(ctx, b.cfg.LatchPath)
	if err != nil {
		return known
	}
	var line []stander
	for _, p := range all {
		line = append(line, stander{ID: p.ID, Znode: p.Path, Token: hex(p.Token), token: p.Token})
	}
	return line
}

func hex(n int64) string { return fmt.Sprintf("%#x", uint64(n)) }

func (b *board) look() view {
	v, _ := b.watch()
	return v
}

// watch returns what there is to show, and a channel that is closed when that changes.
func (b *board) watch() (view, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

func (b *board) set(change func(*view)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.view
	change(&b.view)
	if !reflect.DeepEqual(old, b.view) {
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// aliveEvery is well within the minute after which a balancer takes a stream that is silent for a dead one.
const aliveEvery = 15 * time.Second

// events streams the views to a page, the present one first, and a comment, which a browser skips, when there is
// nothing new. It ends with the node, so that a browser connects again and, through a balancer, to a node that stays.
func (n *Node) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // NGINX would hold events back until a buffer is full
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		v, changed := n.board.watch()
		data, err := json.Marshal(v)
		if err != nil || !send(w, "data: "+string(data)) {
			return
		}
		for old := true; old; {
			select {
			case <-changed:
				old = false
			case <-alive.C:
				if !send(w, ": alive") {
					return
				}
			case <-n.leaving:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// send is false when nobody listens any more.
func send(w http.ResponseWriter, event string) bool {
	_, err := fmt.Fprintf(w, "%s\n\n", event)
	return err == nil && http.NewResponseController(w).Flush() == nil
}
