// Package queue carries out in ZooKeeper what a candidate needs there. Entry creates,
// reads, finds again and removes the candidate's znode, and lists and watches the line.
// Members and Observer show the line to others. FencedOps makes transactions that hold
// only while a znode exists. Every method blocks as long as the driver does, so none may
// be called from a goroutine that owns state.
package queue

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Entry is one candidate's place in the line: its path, the beginning of its znodes'
// names, and what they hold.
type Entry struct {
	Session *session.Session
	Path    string // of the election, chroot included
	Prefix  string // of the names; the server appends the counter
	Unique  bool   // no other candidate's names begin with Prefix
	Data    []byte
	Beats   bool // the znode is written again and again: see package beat
	TryToo  bool // the ACL may forbid that, so it is tried when the znode is read
	Strict  bool // the path's data is the record of the last reign: see package reign
	ACL     []zk.ACL
	Claims  *Claims // the client's

	claimed string // full path of the znode that is known to be this candidate's
	stood   bool   // the path existed when the candidate's latest znode was made
	early   *Own   // see Early
}

// Fault sorts errors by what they mean for the election.
func Fault(err error) machine.Fault {
	switch {
	case err == nil:
		return machine.OK
	case errors.Is(err, zk.ErrNoNode):
		return machine.NoNode
	case errors.Is(err, zk.ErrSessionExpired):
		return machine.Failed // the server answered that it did not do it
	case session.Uncertain(err):
		return machine.Lost
	case Final(err):
		return machine.Denied
	case session.Answered(err):
		return machine.Failed
	}
	return machine.Lost
}

// Final reports whether a retry is of no use until somebody changes something on the
// server.
func Final(err error) bool {
	return slices.ContainsFunc([]error{zk.ErrNoAuth, zk.ErrInvalidACL, zk.ErrAuthFailed, zk.ErrBadArguments,
		zk.ErrInvalidPath, zk.ErrNoChildrenForEphemerals, zk.ErrNodeExists, session.Unimplemented, session.LocalSession,
		session.RequiresSASL, session.QuotaExceeded}, func(e error) bool { return errors.Is(err, e) })
}

// Node is the path of a child of the election path.
func (e *Entry) Node(name string) string { return znode.Join(e.Path, name) }

// pathTries bounds how often the election path is made again. The server may remove an
// empty container between its creation and that of the candidate's znode
// (ContainerManager).
const pathTries = 5

// Create makes the candidate's znode, and the election path if it is missing. It never
// returns both a nil error and an empty name.
//
// If listing is not nil, the request for the line went out right behind the create, and
// listing waits for its answer.
func (e *Entry) Create() (name string, listing Listing, err error) {
	defer e.turn()()
	var refused error
	for try := range pathTries {
		var m made
		if try == 0 {
			m = createFirst(e)
		} else {
			m = e.createAndList(expectCreate(e))
		}
		e.early = m.own
		if e.stood = m.err == nil; e.stood {
			e.claim(m.name)
		}
		if !errors.Is(m.err, zk.ErrNoNode) {
			return m.name, m.listing, m.err
		}
		if refused != nil {
			return "", nil, refused
		}
		switch err = e.makePath(); {
		case errors.Is(err, zk.ErrNoAuth):
			refused = err // the path may have been made by another client meanwhile: look once more
		case err != nil && !errors.Is(err, zk.ErrNoNode): // an empty parent that was removed meanwhile is made again
			return "", nil, err
		}
		err = m.err
	}
	return "", nil, err
}

// made is what came of a request for the candidate's znode.
type made struct {
	name    string
	listing Listing // nil: the line was not listed
	own     *Own    // the znode as read right behind the create; nil: it was not read
	err     error
}

// Listing waits for a listing of the line, and returns what [Entry.List] does.
type Listing func() (line []string, err error)

// createAndList makes the candidate's znode, and lists the line right behind the request
// for it, unless sending is nil. The listing then shows the znode, and all that are ahead of
// it.
func (e *Entry) createAndList(sending *session.Sending) (m made) {
	if sending == nil { // one after the other would take longer than to list later
		m.name, m.err = e.create()
		return m
	}

	type answer struct {
		line []string
		err  error
	}
	answers := make(chan answer, 1)
	listed := e.Session.Go(func() {
		if sending.Wait() {
			line, err := e.List()
			answers <- answer{line, err}
		}
	})
	m.name, m.err = e.create()
	sending.Stop()
	if m.err != nil || !listed || !sending.Wait() {
		return m
	}
	m.listing = func() ([]string, error) {
		a := <-answers
		return a.line, a.err
	}
	return m
}

// expectCreate is called before [Entry.create].
func expectCreate(e *Entry) *session.Sending {
	return session.ExpectCreate(e.Session, e.Node(e.Prefix))
}

func (e *Entry) create() (name string, err error) {
	var made string
	_, err = e.Session.Write(func(c *zk.Conn) (err error) {
		made, err = c.Create(e.Node(e.Prefix), e.Data, zk.FlagEphemeralSequential, e.ACL)
		return err
	})
	if errors.Is(err, zk.ErrNodeExists) {
		return "", fmt.Errorf("create a znode under %s: the next name %s… is taken: somebody made it by hand, or the path's counter is full (2^31-1)"+
			" and the path has to be made anew: %w", znode.Brief(e.Path), znode.Brief(e.Prefix), err)
	}
	if err != nil {
		return "", fmt.Errorf("create a znode under %s: %w", znode.Brief(e.Path), err)
	}

	if e.Session.Closed() { // no call waits any more, and on a connection that lives on the znode would stay
		e.Session.Conn().Delete(made, -1)
	}
	return made[strings.LastIndexByte(made, '/')+1:], nil
}

// Recover looks for znodes that an earlier create of this candidate may have made without
// our knowing. It returns the name of the one that belongs to the present session, if
// there is one, and removes all others.
func (e *Entry) Recover() (name string, err error) {
	defer e.turn()()
	mine, id, err := e.find()
	if errors.Is(err, zk.ErrNoNode) {
		return "", nil // no path, no znode
	}
	if err != nil {
		return "", err
	}

	for _, n := range mine {
		_, stat, err := e.get(n)
		switch {
		case errors.Is(err, zk.ErrNoNode):
		case err != nil:
			return "", err
		case stat.EphemeralOwner == id && name == "":
			name = n
			e.claim(name)
		default:
			if err := e.remove(n); err != nil && !errors.Is(err, zk.ErrNoNode) {
				return "", err
			}
		}
	}
	return name, nil
}

// find lists this candidate's znodes, in order, and says in which session it saw them. A
// create whose reply was lost may still be on its way through the quorum, and the listing
// may come from another server than the create went to. So a write that changes nothing
// comes first. It is committed behind every earlier write of the session, and the server
// that answers it shows what came before it. A sync would not do: the leader answers
// those of its own clients at once (CommitProcessor, matchSyncs), whatever is still to be
// committed. A create that is late enough to come after the write is refused, since the
// session has moved by then.
func (e *Entry) find() (names []string, id int64, err error) {
	reply, err := e.Session.Write(func(c *zk.Conn) error {
		_, err := c.Multi(&zk.CheckVersionRequest{Path: e.Path, Version: -1})
		return err
	})

	var children []string
	if session.Processed(err) { // a refusal is a transaction, too
		reply, err = e.Session.Read(func(c *zk.Conn) (err error) {
			children, _, err = c.Children(e.Path)
			return err
		})
	}
	if err == nil && reply.Session == 0 {
		err = errMoved
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look for a znode of ours under %s: %w", znode.Brief(e.Path), err)
	}

	for _, name := range znode.Sort(children) {
		ours, err := e.isOurs(name, reply.Session)
		if err != nil {
			return nil, 0, err
		}
		if ours {
			names = append(names, name)
		}
	}
	return names, reply.Session, nil
}

// isOurs goes by the name if that is unique. Otherwise a znode is ours if it belongs to
// this session, holds our data, and is not known to be another candidate's.
func (e *Entry) isOurs(name string, id int64) (bool, error) {
	if !strings.HasPrefix(name, e.Prefix) || e.Unique || e.others(name) {
		return e.Unique && strings.HasPrefix(name, e.Prefix), nil
	}
	data, stat, err := e.get(name)
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNoAuth) {
		return false, nil
	}
	return err == nil && stat.EphemeralOwner == id && string(data) == string(e.Data), err
}

func (e *Entry) get(name string) (data []byte, stat *zk.Stat, err error) {
	_, err = e.Session.Read(func(c *zk.Conn) (err error) {
		data, stat, err = c.Get(e.Node(name))
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", znode.Brief(e.Node(name)), err)
	}
	return data, stat, nil
}

// errMoved says that it is not known in which session a request was answered.
var errMoved = errors.New("the session changed during the call")

// Own is the candidate's own znode as read, with a watch on it.
type Own struct {
	Token, Owner, Session int64
	Version               int32
	Watch                 <-chan zk.Event // fires when the znode is deleted, and perhaps at other changes
}

// ReadOwn reads the candidate's own znode and leaves a watch on it. If the candidate
// beats, that is a watch on the znode's children, of which there are none: it also fires
// when the znode is deleted (DataTree.deleteNode), and not at each beat.
func (e *Entry) ReadOwn(name string) (own Own, err error) {
	var stat *zk.Stat
	reply, err := e.Session.Read(func(c *zk.Conn) (err error) {
		if e.Beats {
			_, stat, own.Watch, err = c.ChildrenW(e.Node(name))
		} else {
			_, stat, own.Watch, err = c.GetW(e.Node(name))
		}
		return err
	})
	if err != nil {
		return Own{}, fmt.Errorf("read own znode %s: %w", znode.Brief(e.Node(name)), err)
	}
	own.Token, own.Owner, own.Session, own.Version = stat.Czxid, stat.EphemeralOwner, reply.Session, stat.Version
	return own, nil
}

// List returns the names of the candidates at the election path, the front of the line
// first.
func (e *Entry) List() (line []string, err error) {
	_, err = e.Session.Read(func(c *zk.Conn) error {
		children, _, err := c.Children(e.Path)
		if err == nil {
			line, err = inLine(c, e.Path, children)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", znode.Brief(e.Path), err)
	}
	return line, nil
}

// inLine sorts children. Those that bear one number, since the path's counter is full,
// are sorted by their transactions.
func inLine(c *zk.Conn, path string, children []string) (line []string, err error) {
	for rest := znode.Sort(children); len(rest) > 0; {
		n := znode.Ties(rest)
		tied := rest[:n]
		rest = rest[n:]
		if n > 1 {
			if tied, err = byAge(c, path, tied); err != nil {
				return nil, err
			}
		}
		line = append(line, tied...)
	}
	return line, nil
}

// byAge sorts names by their znodes' czxid and leaves out those that are gone. A znode
// that may not be looked at counts as older than all: a candidate that cannot tell that
// it came first has to wait.
func byAge(c *zk.Conn, path string, names []string) ([]string, error) {
	born := map[string]int64{}
	for _, name := range names {
		found, stat, err := c.Exists(znode.Join(path, name))
		switch {
		case errors.Is(err, zk.ErrNoAuth):
			born[name] = 0
		case err != nil:
			return nil, err
		case found:
			born[name] = stat.Czxid
		}
	}
	return slices.SortedFunc(maps.Keys(born), func(a, b string) int {
		return cmp.Or(cmp.Compare(born[a], born[b]), strings.Compare(a, b))
	}), nil
}

// Delete removes a znode of this candidate. If names are not unique, it first looks at
// the znode's owner. After the whole path was deleted, the counter starts again, and the
// name may be another candidate's by now.
func (e *Entry) Delete(name string) error {
	defer e.turn()()
	return e.remove(name)
}

// checkOwner returns zk.ErrNoNode if the name is not this candidate's any more.
func (e *Entry) checkOwner(name string) error {
	if e.Unique {
		return nil
	}
	if e.others(name) {
		return zk.ErrNoNode
	}
	_, stat, err := e.get(name)
	if err == nil && stat.EphemeralOwner != e.Session.Status().ID {
		err = zk.ErrNoNode
	}
	return err
}

func (e *Entry) remove(name string) error {
	if err := e.checkOwner(name); err != nil {
		return err
	}
	_, err := e.Session.Write(func(c *zk.Conn) error { return c.Delete(e.Node(name), -1) })
	if err != nil {
		return fmt.Errorf("delete %s: %w", znode.Brief(e.Node(name)), err)
	}
	return nil
}
