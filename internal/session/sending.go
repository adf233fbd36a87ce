package session

import (
	"slices"

	"github.com/zkelection/election/internal/jute"
)

// Sending tells when a request is on its way. Requests that are made after that reach the
// server after it, and a server carries out the requests of a session in the order in
// which they come. So they can rely on a znode that it makes, and none waits for the
// answer to another: all together take one round trip. A call to the driver returns only
// with the answer, so the wire tells instead.
type Sending struct {
	w    *wire
	of   expectation
	done chan struct{}
	sent bool // set before done is closed
}

// expectation is a request that somebody expects to be sent.
type expectation struct {
	path string
	look bool // whether the znode exists; else its creation
}

// ExpectCreate is called before the request for a znode at path is made, path being as in
// the request. [Sending.Stop] must follow. It returns nil on a connection of the caller,
// which has no wire.
func ExpectCreate(s *Session, path string) *Sending { return expect(s, expectation{path: path}) }

// ExpectExists is [ExpectCreate] for the request that asks whether a znode exists.
func ExpectExists(s *Session, path string) *Sending {
	return expect(s, expectation{path: path, look: true})
}

func expect(s *Session, of expectation) *Sending {
	if s.wire == nil {
		return nil
	}
	x := &Sending{w: s.wire, of: of, done: make(chan struct{})}
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	if s.wire.expected == nil {
		s.wire.expected = map[expectation][]*Sending{}
	}
	s.wire.expected[of] = append(s.wire.expected[of], x)
	return x
}

// Wait waits until the request is on its way, or Stop is called. It reports whether the
// request is on its way.
func (x *Sending) Wait() bool {
	<-x.done
	return x.sent
}

// Stop ends the wait. It is called when the request has returned.
func (x *Sending) Stop() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	left := slices.DeleteFunc(x.w.expected[x.of], func(o *Sending) bool { return o == x })
	if x.w.expected[x.of] = left; len(left) == 0 {
		delete(x.w.expected, x.of)
	}
	if !x.sent {
		close(x.done)
	}
}

// sending takes a request that is on its way. It ends the wait of all who expect it: if
// several make one znode, the first request is as good as each.
func (w *wire) sending(request []byte) {
	op := opOf(request)
	switch op {
	case jute.OpCreate, jute.OpCreateContainer, jute.OpExists:
	default:
		return
	}
	d := jute.Decoder{B: request[12:]} // behind its length, xid and code
	of := expectation{path: d.Text(), look: op == jute.OpExists}

	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.expected[of] {
		x.sent = true
		close(x.done)
	}
	delete(w.expected, of)
}
