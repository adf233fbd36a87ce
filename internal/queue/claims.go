package queue

import (
	"hash/fnv"
	"sync"
)

// Claims keep the candidates of one client apart if their znodes' names, their session
// and perhaps their identity do not. Once a create has been confirmed to a candidate, or
// a candidate has found a znode again, no other candidate of this client may use it.
// Claims also hold what the client has learnt of its servers.
type Claims struct {
	containers containers

	turns [64]chan struct{} // by election path: held while a znode is made, looked for or removed there

	mu    sync.Mutex        // guards the following, and every Entry's claimed
	nodes map[string]*Entry // by full path
}

// NewClaims returns the claims of a client whose candidates hold nothing yet.
func NewClaims() *Claims {
	c := &Claims{nodes: map[string]*Entry{}}
	for i := range c.turns {
		c.turns[i] = make(chan struct{}, 1)
	}
	return c
}

// turn waits until no other candidate of the client creates, looks for or removes a znode
// at the path. If names are unique, there is nothing to wait for.
func (e *Entry) turn() (over func()) {
	if e.Unique {
		return func() {}
	}
	h := fnv.New32a()
	h.Write([]byte(e.Path))
	turn := e.Claims.turns[h.Sum32()%uint32(len(e.Claims.turns))]
	turn <- struct{}{}
	return func() { <-turn }
}

// claim notes that a znode is this candidate's.
func (e *Entry) claim(name string) {
	if e.Unique {
		return
	}
	e.Disclaim()
	e.Claims.mu.Lock()
	defer e.Claims.mu.Unlock()
	e.claimed = e.Node(name)
	e.Claims.nodes[e.claimed] = e
}

// Disclaim forgets the candidate's znode: it is gone, or the candidate has left for good.
func (e *Entry) Disclaim() {
	if e.Unique {
		return
	}
	e.Claims.mu.Lock()
	defer e.Claims.mu.Unlock()
	if e.Claims.nodes[e.claimed] == e {
		delete(e.Claims.nodes, e.claimed)
	}
	e.claimed = ""
}

// others reports whether a znode is another candidate's.
func (e *Entry) others(name string) bool {
	e.Claims.mu.Lock()
	defer e.Claims.mu.Unlock()
	holder := e.Claims.nodes[e.Node(name)]
	return holder != nil && holder != e
}
