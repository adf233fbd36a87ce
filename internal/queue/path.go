package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
)

// makePath makes the election path and its missing ancestors. They are containers, so
// that the server removes them when the last candidate has gone. Servers without
// containers get persistent znodes, which stay.
//
// It looks at nothing beforehand. This client may have no permission to read an ancestor
// or to create below it, and since ZooKeeper 3.8.4 and 3.9.2 exists needs READ
// (ZOOKEEPER-2590). And it never tries to make what exists: a create below a parent that
// grants no CREATE is refused before the server sees that the znode is there
// (PrepRequestProcessor.pRequest2TxnCreate). So the parent is made only after the server
// has said that it is missing.
func (e *Entry) makePath() error { return e.makeNode(e.Path) }

func (e *Entry) makeNode(path string) error {
	err := e.makeLevel(path)
	if parent := parentOf(path); errors.Is(err, zk.ErrNoNode) && parent != "" {
		if err := e.makeNode(parent); err != nil {
			return err
		}
		err = e.makeLevel(path)
	}
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

// makeLevel makes one level of the path. With strict hand-over, the path itself holds the
// record of the last reign, and must not go with the last candidate.
func (e *Entry) makeLevel(path string) error {
	if e.Strict && path == e.Path {
		return e.plain(path)
	}
	return e.makeContainer(path)
}

// createFirst makes the candidate's znode, and the election path if that is missing.
//
// A create that fails takes as long as one that succeeds, since the servers write it to
// their disks all the same. So a look whether the path exists goes out just ahead of the
// create, and delays nothing: its answer waits for no write. If the path is missing, its
// levels and the znode are asked for at once, while the create is still about to fail.
func createFirst(e *Entry) made {
	create := expectCreate(e)
	again := createIfMissing(e, create)
	first := e.createAndList(create)
	if second, ok := <-again; ok {
		return oneOf(e, first, second)
	}
	if errors.Is(first.err, zk.ErrNoNode) && create != nil {
		return createWithPath(e)
	}
	return first
}

// createIfMissing looks whether the path exists, and returns as soon as that look is on its
// way. If the path is missing, the znode and the path are made once more behind create,
// which is yet to be sent. It closes the channel if it makes nothing: because the path
// exists, or probably does, or because two znodes of one candidate could not be told from
// those of others, or because create is nil.
func createIfMissing(e *Entry, create *session.Sending) <-chan made {
	again := make(chan made, 1)
	if create == nil || e.stood || !e.Unique {
		close(again)
		return again
	}
	looking := session.ExpectExists(e.Session, e.Path)
	if !e.Session.Go(func() {
		defer close(again)
		var found bool
		_, err := e.Session.Read(func(c *zk.Conn) (err error) {
			found, _, err = c.Exists(e.Path)
			return err
		})
		looking.Stop()
		if err == nil && !found && create.Wait() {
			again <- createWithPath(e)
		}
	}) {
		looking.Stop()
		close(again)
	}
	looking.Wait()
	return again
}

// oneOf returns the znode that the candidate has after two requests for it. As a rule the
// first has failed. Both have succeeded if another client made the path between the look
// at it and the first request. Then the second znode is removed.
func oneOf(e *Entry, first, second made) made {
	switch lost := Fault(second.err) == machine.Lost; {
	case first.err == nil && second.err == nil:
		if err := e.remove(second.name); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return made{err: fmt.Errorf("%w: %v", errTwo, err)}
		}
		return first
	case first.err == nil && !lost, Fault(first.err) == machine.Lost:
		return first
	}
	return second
}

// errTwo has Recover sort it out, like a create without an answer.
var errTwo = errors.New("a second znode of this candidate could not be removed")

// createWithPath makes the election path, its ancestors and the candidate's znode. It
// sends all requests at once, each behind the one for its parent, since one after another
// they would take a round trip for each level. Only the answer to the last matters.
// Whatever exists already is refused, for one reason or another. And if the path is still
// missing, makePath finds out why.
//
// As long as it is not known whether the servers make containers, it waits for each
// answer: they may end the connection instead, and all that is on its way is lost.
func createWithPath(e *Entry) made {
	for _, path := range levels(e.Path) {
		if !e.Claims.containers.settled() {
			if err := e.makeLevel(path); !session.Answered(err) {
				return made{err: fmt.Errorf("create %s: %w", path, err)}
			}
			continue
		}

		outcome := make(chan error, 1)
		sending := session.ExpectCreate(e.Session, path)
		if !e.Session.Go(func() {
			outcome <- e.makeLevel(path)
			sending.Stop()
		}) {
			sending.Stop()
			return made{err: session.ErrClosed}
		}
		if !sending.Wait() { // without a connection the others would have to wait, too
			return made{err: fmt.Errorf("create %s: %w", path, <-outcome)}
		}
	}

	create := expectCreate(e)
	own := readFirst(e, create)
	m := e.createAndList(create)
	if m.err == nil && m.name == firstName(e) {
		m.own = <-own
	}
	return m
}

// firstName is the name of the candidate's znode if it is the first ever at the path.
func firstName(e *Entry) string { return e.Prefix + "0000000000" }

// readFirst reads the candidate's znode right behind the request for it, since its name is
// known if the path is made anew. If that fails, it only closes the channel.
func readFirst(e *Entry, create *session.Sending) <-chan *Own {
	answer := make(chan *Own, 1)
	if !e.Unique || e.Beats || e.Strict || !e.Session.Go(func() { // with Beats or Strict, writes are tried first
		defer close(answer)
		if create.Wait() {
			if own, err := e.ReadOwn(firstName(e)); err == nil && own.Session != 0 {
				answer <- &own
			}
		}
	}) {
		close(answer)
	}
	return answer
}

// Early returns what a successful Create has read of the znode already, with a watch on it,
// or nil. A second call returns nil.
func (e *Entry) Early() *Own {
	own := e.early
	e.early = nil
	return own
}

// levels returns the path and its ancestors, the root's child first.
func levels(path string) (all []string) {
	for ; path != ""; path = parentOf(path) {
		all = append(all, path)
	}
	slices.Reverse(all)
	return all
}

// parentOf returns "" for a child of the root, which always exists.
func parentOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// wasSent reports whether a request without an answer may have reached a server. The
// driver has its own errors for requests that it never sent, and for the end of the
// session.
func wasSent(err error) bool {
	return !errors.Is(err, zk.ErrNoServer) && !errors.Is(err, zk.ErrSessionExpired) && !errors.Is(err, zk.ErrClosing)
}
