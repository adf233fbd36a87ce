package queue

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Ahead is what WatchAhead has found out.
type Ahead struct {
	Nearest Member          // as read, if Watch is not nil
	Version int32           // of its znode
	Watch   <-chan zk.Event // on the last of the names; nil if it is gone or was not read
	Gone    []string        // those of the names that are gone
}

// WatchAhead reads the last of the names and leaves a watch on it, and looks whether the
// others exist. It sends all requests at once. If one of them fails, it returns its error,
// and what the others have found out.
func (e *Entry) WatchAhead(names []string) (found Ahead, err error) {
	last := len(names) - 1
	found.Gone, err = e.gone(names, func(i int) (gone bool, err error) {
		if i < last {
			return e.isGone(names[i], nil)
		}
		found.Nearest, found.Version, found.Watch, err = e.watch(names[i])
		if errors.Is(err, zk.ErrNoNode) {
			return true, nil
		}
		return false, err
	})
	return found, err
}

// watch uses GetW, since ExistsW would leave a watch behind on a znode that is gone. If
// the znode may not be read, it uses ExistsW, which servers without ZOOKEEPER-2590 permit
// all the same.
func (e *Entry) watch(name string) (m Member, version int32, watch <-chan zk.Event, err error) {
	path := e.Node(name)
	var data []byte
	var stat *zk.Stat
	_, err = e.Session.Read(func(c *zk.Conn) (err error) {
		data, stat, watch, err = c.GetW(path)
		return err
	})
	if errors.Is(err, zk.ErrNoAuth) {
		_, err = e.Session.Read(func(c *zk.Conn) (err error) {
			var found bool
			if found, stat, watch, err = c.ExistsW(path); err == nil && !found {
				return zk.ErrNoNode
			}
			return err
		})
	}
	if err != nil {
		return Member{}, 0, nil, fmt.Errorf("watch %s: %w", znode.Brief(path), err)
	}
	return member(path, data, stat), stat.Version, watch, nil
}

// Missing returns those of the names that have no znode. It sends all requests at once.
// The first name is the candidate's own. If names are not unique, and its znode belongs to
// another session, it is missing too.
func (e *Entry) Missing(names []string) (gone []string, err error) {
	gone, err = e.gone(names, func(i int) (bool, error) {
		if i > 0 || e.Unique {
			return e.isGone(names[i], nil)
		}
		return e.isGone(names[i], func(stat *zk.Stat, session int64) bool { return stat.EphemeralOwner != session })
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// isGone reports whether no znode has that name, or only one that is lost to another
// session. lost may be nil.
func (e *Entry) isGone(name string, lost func(stat *zk.Stat, session int64) bool) (bool, error) {
	var found bool
	var stat *zk.Stat
	reply, err := e.Session.Read(func(c *zk.Conn) (err error) {
		found, stat, err = c.Exists(e.Node(name))
		return err
	})
	switch {
	case errors.Is(err, zk.ErrNoAuth): // newer servers say so only of a znode that is there (ZOOKEEPER-2590)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", znode.Brief(e.Node(name)), err)
	}
	return !found || lost != nil && reply.Session != 0 && lost(stat, reply.Session), nil
}

// gone calls look for the index of each name, all at the same time, since the driver has
// no other way to send requests without waiting for the answers. It returns the names
// that are gone, and the first error.
func (e *Entry) gone(names []string, look func(i int) (gone bool, err error)) (all []string, err error) {
	type answer struct {
		i    int
		gone bool
		err  error
	}
	answers := make(chan answer, len(names))
	ask := func(i int) {
		gone, err := look(i)
		answers <- answer{i, gone, err}
	}
	for i := range len(names) - 1 {
		if !e.Session.Go(func() { ask(i) }) {
			answers <- answer{i, false, session.ErrClosed}
		}
	}
	ask(len(names) - 1)

	for range names {
		a := <-answers
		if a.gone {
			all = append(all, names[a.i])
		}
		if err == nil {
			err = a.err
		}
	}
	return all, err
}
