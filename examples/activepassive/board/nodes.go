package board

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election/examples/activepassive/discovery"
)

// node is an instance in the registry. The balancer sends requests as the registry says.
type node struct {
	Addr   string `json:"addr"`
	Name   string `json:"name"`   // its ID in the election; empty if that is not known
	Writes bool   `json:"writes"` // its claim to lead is the newest, so it gets the writes; every node gets reads
	Silent bool   `json:"silent"` // it did not answer when last asked
	key    string
}

// silent reports whether the leader does not answer. A node whose name is not known is
// the leader if it gets the writes. If the leader is not in the registry any more, the
// last answer counts, because the Board may hear of that before it hears who leads next.
func silent(v view) bool {
	if v.State != "led" {
		return false
	}
	for _, n := range v.Nodes {
		if n.Name == v.Leader || n.Name == "" && n.Writes {
			return n.Silent
		}
	}
	return v.Silent
}

const (
	askEvery = 500 * time.Millisecond // how often this node asks all nodes
	askLimit = time.Second
)

// followRegistry keeps the nodes up to date.
func (b *Board) followRegistry(ctx context.Context) {
	for entries, err := range b.registry.Watch(ctx, b.cfg.Services) {
		if err == nil { // otherwise what was read before is the best that is known
			b.set(func(v *view) { v.register(entries) })
		}
	}
}

// register takes the nodes that the balancer knows from the registry.
func (v *view) register(entries []discovery.Entry) {
	v.claim, _ = discovery.Newest(entries)
	var now []node
	for _, e := range entries {
		if in, err := discovery.Decode(e); err == nil {
			now = append(now, node{Addr: in.HostPort(), Writes: e.Key == v.claim.Key, key: e.Key})
		}
	}
	v.Nodes = merge(now, v.Nodes)
}

// merge returns the nodes in now, with the names and answers that are known.
func merge(now, known []node) []node {
	now = slices.Clone(now)
	for i := range now {
		for _, k := range known {
			if k.key == now[i].key {
				now[i].Name, now[i].Silent = k.Name, k.Silent
			}
		}
	}
	return now
}

// named returns the nodes with their names in the election, sorted by name. A node that
// has left the line keeps its name.
func named(nodes []node, line []stander) []node {
	nodes = slices.Clone(nodes)
	for i := range nodes {
		for _, s := range line {
			if s.addr == nodes[i].Addr {
				nodes[i].Name = s.ID
			}
		}
	}
	slices.SortFunc(nodes, func(a, b node) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.key, b.key))
	})
	return nodes
}

// askNodes asks the nodes themselves whether they answer. ZooKeeper misses a killed node
// only when its session has timed out.
func (b *Board) askNodes(ctx context.Context) {
	every := time.NewTicker(askEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		asked := ask(ctx, b.look().Nodes)
		if ctx.Err() == nil {
			b.set(func(v *view) { v.Nodes = merge(v.Nodes, asked) })
		}
	}
}

// ask asks all nodes, and returns them with their answers.
func ask(ctx context.Context, nodes []node) []node {
	now := slices.Clone(nodes)
	var asking sync.WaitGroup
	for i := range now {
		asking.Go(func() { now[i].Silent = !answers(ctx, now[i].Addr) })
	}
	asking.Wait()
	return now
}

// asker makes a new connection for each request. A connection that is kept open would
// hold up the graceful shutdown of a node.
var asker = &http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true}}

// answers reports whether a node answers, with whatever status.
func answers(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := asker.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}
