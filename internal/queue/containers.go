package queue

import (
	"errors"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
)

// containers is what a client knows of its servers: whether they make container znodes.
// Some end the connection when they are asked for one, and lose whatever else is on its
// way. ZooKeeper before 3.5 answers first (UnimplementedRequestProcessor), ClickHouse
// Keeper before 2026 does not. So one request of the client asks, and all others wait for
// its outcome.
type containers struct {
	mu     sync.Mutex // guards the following
	known  bool       // one has been asked for and the server took it for what it is
	none   bool       // plain znodes are made instead, for the rest of the client's life
	losses int        // of the connection under a request that asks, in a row
	asking chan struct{}
}

// manyLosses tells a server that cuts the connection from a network that does. A client
// that gives containers up for nothing leaves empty paths behind.
const manyLosses = 2

// make calls container, or plain if the servers know no containers. done ends the wait
// for another's request.
func (c *containers) make(done <-chan struct{}, container, plain func() error) error {
	for {
		c.mu.Lock()
		asking, asks := c.asking, !c.known && !c.none && c.asking == nil
		if asks {
			c.asking = make(chan struct{})
		}
		none := c.none
		c.mu.Unlock()
		switch {
		case none:
			return plain()
		case asking != nil:
			select {
			case <-asking:
				continue
			case <-done:
				return session.ErrClosed
			}
		}
		err := container()
		if c.learn(err, asks); errors.Is(err, session.Unimplemented) {
			return plain()
		}
		return err
	}
}

// settled reports whether a request for a container has no use as a question any more.
func (c *containers) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known || c.none
}

// learn takes the outcome of a request for a container. asks says that the others wait
// for this one.
func (c *containers) learn(err error, asks bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, session.Unimplemented): // an old server may be among newer ones
		c.none = true
	case session.Answered(err):
		c.known = true
	case asks && wasSent(err):
		c.losses++
		c.none = c.losses >= manyLosses
	}
	if asks {
		close(c.asking)
		c.asking = nil
	}
}

func (e *Entry) makeContainer(path string) error {
	return e.Claims.containers.make(e.Session.Done(), func() error { return e.container(path) },
		func() error { return e.plain(path) })
}

func (e *Entry) container(path string) error {
	return session.CreateContainer(e.Session, path, e.ACL)
}

func (e *Entry) plain(path string) error {
	_, err := e.Session.Conn().Create(path, nil, zk.FlagPersistent, e.ACL)
	return session.Translate(err)
}
