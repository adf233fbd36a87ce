package queue

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Leaving is how a candidate removes its znode.
type Leaving struct {
	Name    string
	To      string       // the ID of the candidate that leads next; "" for the next in line
	Mark    bool         // write into the record that the reign is over
	Reign   reign.Record // what to write, with Mark
	Version int32        // of the record, with Mark
}

// Leave removes the candidate's znode. With To, it removes all znodes between in the same
// transaction, so that the named candidate is first in line. The other candidates take part
// again at the back. If the named candidate has gone meanwhile, the next in line leads.
//
// If names are not unique, Leave first makes sure that the znode still belongs to this
// candidate. After the whole path was deleted, another candidate may have the name.
func (e *Entry) Leave(l Leaving) error {
	defer e.turn()()
	if err := e.checkOwner(l.Name); err != nil {
		return err
	}
	if l.To != "" {
		if done, err := e.leaveTo(l); done || err != nil {
			return err
		}
	}
	if l.Mark {
		return e.Records().Leave(l.Name, l.Reign, l.Version)
	}
	return e.remove(l.Name)
}

// Bounds of a hand-over: how many znodes one transaction removes, how many bytes their
// paths have together (a server ends the connection at a request of over 1 MiB), and how
// often the transaction is tried again because one of the znodes has gone by itself.
const (
	mostBetween   = 1000
	mostBytes     = 512 << 10
	handOverTries = 10
)

// ErrTooFar says that one transaction cannot remove all znodes between.
var ErrTooFar = fmt.Errorf("more than %d candidates stand between, or their names have more than %d KiB together", mostBetween, mostBytes>>10)

// leaveTo is Leave for a hand-over. done is false if a hand-over is not possible: the named
// candidate has gone or is too far back, or the server refuses the transaction, and would do
// so again. The candidate must leave even then.
func (e *Entry) leaveTo(l Leaving) (done bool, err error) {
	for range handOverTries {
		between, target, err := e.behind(l.Name, l.To)
		switch {
		case errors.Is(err, ErrTooFar), err == nil && target == "":
			return false, nil
		case err != nil:
			return false, err
		}

		// The znodes between go first, so their candidates are notified of their own end first.
		ops := []any{&zk.CheckVersionRequest{Path: e.Node(target), Version: -1}}
		for _, name := range between {
			ops = append(ops, &zk.DeleteRequest{Path: e.Node(name), Version: -1})
		}
		ops = append(ops, &zk.DeleteRequest{Path: e.Node(l.Name), Version: -1})
		if l.Mark {
			left := l.Reign
			left.Left = true
			ops = append(ops, e.Records().write(left, l.Version))
		}
		err = multi(e.Session, ops...)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, zk.ErrBadVersion) || !session.Processed(err): // to be tried again
			return false, err
		case !errors.Is(err, zk.ErrNoNode):
			return false, nil
		}
		if _, _, err := e.get(l.Name); err != nil { // it is the own one that has gone
			return errors.Is(err, zk.ErrNoNode), err
		}
	}
	return false, nil
}

// behind finds the first candidate behind own that has this ID, and the candidates between.
// It skips a znode that this client may not read.
func (e *Entry) behind(own, id string) (between []string, target string, err error) {
	line, err := e.List()
	if err != nil {
		return nil, "", err
	}
	at := slices.Index(line, own)
	if at < 0 {
		return nil, "", nil
	}
	bytes := 0
	for _, name := range line[at+1:] {
		data, _, err := e.get(name)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue
		case err != nil && !errors.Is(err, zk.ErrNoAuth):
			return nil, "", err
		}
		if found, _ := znode.Unpack(string(data)); err == nil && found == id {
			if len(between) > mostBetween || bytes > mostBytes {
				return nil, "", ErrTooFar
			}
			return between, name, nil
		}
		between = append(between, name)
		bytes += len(e.Node(name))
	}
	return nil, "", nil
}

// Stands reports whether a candidate with this ID is in line behind own.
func Stands(e *Entry, own, id string) (bool, error) {
	_, target, err := e.behind(own, id)
	return target != "", err
}

// ErrFirst says that a znode is at the front of the line.
var ErrFirst = errors.New("it is first in line")

// EvictFollower removes the znode of a participant that is not first in line. The transaction
// also checks the first znode, so the participant cannot be first by then. EvictFollower
// returns ErrFirst if the participant is first in line, and zk.ErrNoNode if it no longer
// takes part.
func EvictFollower(s *session.Session, path string, name string, token int64) error {
	for range handOverTries {
		children, _, err := s.Conn().Children(path)
		if err != nil {
			return session.Translate(err)
		}
		line, err := inLine(s.Conn(), path, children)
		if err != nil {
			return session.Translate(err)
		}
		at := slices.Index(line, name)
		found, stat, err := s.Conn().Exists(znode.Join(path, name))
		switch {
		case err != nil:
			return session.Translate(err)
		case at < 0 || !found || stat.Czxid != token:
			return zk.ErrNoNode
		case at == 0:
			return ErrFirst
		}

		err = multi(s, &zk.CheckVersionRequest{Path: znode.Join(path, line[0]), Version: -1},
			&zk.DeleteRequest{Path: znode.Join(path, name), Version: -1})
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, zk.ErrNoNode):
			return fmt.Errorf("delete it%s: %w", needs(err, "DELETE", path), err)
		}
	}
	return errBusy
}

// errBusy says that participants at the front left one after the other.
var errBusy = errors.New("the line changed at each attempt")
