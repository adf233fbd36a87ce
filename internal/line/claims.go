package line

import (
	"hash/fnv"
	"sync"
)

// Claims keep the candidates of one client apart where their znodes' names, their session and perhaps their identity
// do not: a znode whose making was confirmed to one, or that one has found again, is nobody else's.
type Claims struct {
	turns [64]chan struct{} // by election path: who makes, looks for or removes a znode there

	mu    sync.Mutex        // guards the following, and every Place's claimed
	nodes map[string]*Place // by full path
}

// NewClaims returns those of a client whose candidates hold nothing yet.
func NewClaims() *Claims {
	c := &Claims{nodes: map[string]*Place{}}
	for i := range c.turns {
		c.turns[i] = make(chan struct{}, 1)
	}
	return c
}

// turn waits until no other candidate of the client makes, looks for or removes a znode at the path. Where names are
// unique there is nothing to wait for.
func (p *Place) turn() (over func()) {
	if p.Unique {
		return func() {}
	}
	h := fnv.New32a()
	h.Write([]byte(p.Path))
	turn := p.Claims.turns[h.Sum32()%uint32(len(p.Claims.turns))]
	turn <- struct{}{}
	return func() { <-turn }
}

// claim notes what has come to be p's.
func (p *Place) claim(name string) {
	if p.Unique {
		return
	}
	p.Disclaim()
	p.Claims.mu.Lock()
	defer p.Claims.mu.Unlock()
	p.claimed = p.Node(name)
	p.Claims.nodes[p.claimed] = p
}

// Disclaim forgets p's znode: it is gone, or p has left for good.
func (p *Place) Disclaim() {
	if p.Unique {
		return
	}
	p.Claims.mu.Lock()
	defer p.Claims.mu.Unlock()
	if p.Claims.nodes[p.claimed] == p {
		delete(p.Claims.nodes, p.claimed)
	}
	p.claimed = ""
}

// others reports whether a znode is another candidate's.
func (p *Place) others(name string) bool {
	p.Claims.mu.Lock()
	defer p.Claims.mu.Unlock()
	holder := p.Claims.nodes[p.Node(name)]
	return holder != nil && holder != p
}
