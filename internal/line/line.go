// Package line carries out against ZooKeeper what the machine asks for: a candidate's znode made, read, found
// again, removed; the line listed and watched. Every method blocks as long as the driver does, so none is called
// from a goroutine that owns state.
package line

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

// Place is where one candidate stands: its path, the beginning of its znodes' names, and what they hold.
type Place struct {
	Session *session.Session
	Path    string // of the election, chroot included
	Prefix  string // of the names; the server appends the counter
	Unique  bool   // no other candidate's names begin with Prefix
	Data    []byte
	ACL     []zk.ACL
	Claims  *Claims // the client's; only needed where names are not unique

	claimed string // full path of the znode that is known to be this candidate's
}

// Fault sorts an error by what the election makes of it.
func Fault(err error) machine.Fault {
	switch {
	case err == nil:
		return machine.OK
	case errors.Is(err, zk.ErrNoNode):
		return machine.NoNode
	case errors.Is(err, zk.ErrSessionExpired):
		return machine.Failed // the server answered that it did not do it
	case Final(err):
		return machine.Denied
	case session.Answered(err):
		return machine.Failed
	}
	return machine.Lost
}

// Final reports whether trying again is of no use until somebody changes something on the server.
func Final(err error) bool {
	return slices.ContainsFunc([]error{zk.ErrNoAuth, zk.ErrInvalidACL, zk.ErrAuthFailed, zk.ErrBadArguments,
		zk.ErrInvalidPath, zk.ErrNoChildrenForEphemerals, zk.ErrNodeExists}, func(e error) bool { return errors.Is(err, e) })
}

// Node is the path of a child of the election path.
func (p *Place) Node(name string) string { return znode.Join(p.Path, name) }

// pathTries bounds how often the election path is made anew: an empty container may be removed by the server
// between its making and the candidate's (ContainerManager).
const pathTries = 5

// Create makes the candidate's znode, and the election path if it is missing. A nil error and an empty name
// do not occur together.
func (p *Place) Create() (name string, err error) {
	defer p.turn()()
	for range pathTries {
		if name, err = p.create(); !errors.Is(err, zk.ErrNoNode) {
			if err == nil {
				p.claim(name)
			}
			return name, err
		}
		if err := p.makePath(); err != nil {
			return "", err
		}
	}
	return "", err
}

func (p *Place) create() (name string, err error) {
	var made string
	_, err = p.Session.Write(func(c *zk.Conn) (err error) {
		made, err = c.Create(p.Node(p.Prefix), p.Data, zk.FlagEphemeralSequential, p.ACL)
		return err
	})
	if errors.Is(err, zk.ErrNodeExists) {
		return "", fmt.Errorf("create a znode under %s: the next name %s… is taken: somebody made it by hand, or the path's counter is full (2^31-1)"+
			" and the path has to be made anew: %w", p.Path, p.Prefix, err)
	}
	if err != nil {
		return "", fmt.Errorf("create a znode under %s: %w", p.Path, err)
	}
	if p.Session.Closed() { // nobody waits any more: on a connection that lives on it would be left behind
		p.Session.Conn().Delete(made, -1)
	}
	return made[strings.LastIndexByte(made, '/')+1:], nil
}

// makePath makes the election path and what is missing above it, as containers, so that the server removes
// it when the last candidate has gone; servers before 3.5 get persistent znodes.
func (p *Place) makePath() error {
	for _, path := range append(znode.Parents(p.Path), p.Path) {
		if path == "/" {
			continue
		}
		if err := p.makeContainer(path); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("create %s: %w", path, err)
		}
	}
	return nil
}

func (p *Place) makeContainer(path string) error {
	conn := p.Session.Conn()
	if exists, _, err := conn.Exists(path); exists || err != nil {
		return err
	}
	_, err := conn.CreateContainer(path, nil, zk.FlagContainer, p.ACL)
	if err != nil && err.Error() == unimplemented {
		_, err = conn.Create(path, nil, zk.FlagPersistent, p.ACL)
	}
	return err
}

// unimplemented is what the driver makes of KeeperException.Code.UNIMPLEMENTED (-6), which it has no error for.
const unimplemented = "unknown error: -6"

// Recover looks for znodes that an earlier create of this candidate made without our knowing. It returns the
// one that belongs to the present session, if there is one, and removes all others.
func (p *Place) Recover() (name string, err error) {
	defer p.turn()()
	mine, id, err := p.find()
	if errors.Is(err, zk.ErrNoNode) {
		return "", nil // no path, no znode
	}
	if err != nil {
		return "", err
	}
	for _, n := range mine {
		_, stat, err := p.get(n)
		switch {
		case errors.Is(err, zk.ErrNoNode):
		case err != nil:
			return "", err
		case stat.EphemeralOwner == id && name == "":
			name = n
			p.claim(name)
		default:
			if err := p.remove(n); err != nil && !errors.Is(err, zk.ErrNoNode) {
				return "", err
			}
		}
	}
	return name, nil
}

// find lists this candidate's znodes, in order, and says in which session it saw them. A create whose reply was lost
// may still be on its way through the quorum, and this answer may come from another server than it went to. So a
// write comes first, one that changes nothing: it is committed behind every earlier write of the session, and
// whoever answered it shows what came before it. A sync would not do: the leader answers its own clients' at once
// (CommitProcessor, matchSyncs), whatever is still to be committed. A create that is late enough to come after it
// is refused, since the session has moved by then.
func (p *Place) find() (names []string, id int64, err error) {
	reply, err := p.Session.Write(func(c *zk.Conn) error {
		_, err := c.Multi(&zk.CheckVersionRequest{Path: p.Path, Version: -1})
		return err
	})
	var children []string
	if session.Answered(err) { // a refusal is a transaction, too
		reply, err = p.Session.Read(func(c *zk.Conn) (err error) {
			children, _, err = c.Children(p.Path)
			return err
		})
	}
	if err == nil && reply.Session == 0 {
		err = errMoved
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look for a znode of ours under %s: %w", p.Path, err)
	}
	for _, name := range znode.Sort(children) {
		ours, err := p.isOurs(name, reply.Session)
		if err != nil {
			return nil, 0, err
		}
		if ours {
			names = append(names, name)
		}
	}
	return names, reply.Session, nil
}

// isOurs goes by the name where that is unique; else by a znode's being this session's, with our data, and nobody
// else's that we know of.
func (p *Place) isOurs(name string, id int64) (bool, error) {
	if !strings.HasPrefix(name, p.Prefix) || p.Unique || p.others(name) {
		return p.Unique && strings.HasPrefix(name, p.Prefix), nil
	}
	data, stat, err := p.get(name)
	if errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNoAuth) {
		return false, nil
	}
	return err == nil && stat.EphemeralOwner == id && string(data) == string(p.Data), err
}

func (p *Place) get(name string) (data []byte, stat *zk.Stat, err error) {
	_, err = p.Session.Read(func(c *zk.Conn) (err error) {
		data, stat, err = c.Get(p.Node(name))
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", p.Node(name), err)
	}
	return data, stat, nil
}

// errMoved says that an answer cannot be assigned to a session.
var errMoved = errors.New("the session changed during the call")

// Own is the candidate's znode as read, with a watch on it.
type Own struct {
	Token, Owner, Session int64
	Watch                 <-chan zk.Event
}

// ReadOwn reads the candidate's znode and leaves a watch on it.
func (p *Place) ReadOwn(name string) (own Own, err error) {
	var stat *zk.Stat
	reply, err := p.Session.Read(func(c *zk.Conn) (err error) {
		_, stat, own.Watch, err = c.GetW(p.Node(name))
		return err
	})
	if err != nil {
		return Own{}, fmt.Errorf("read own znode %s: %w", p.Node(name), err)
	}
	own.Token, own.Owner, own.Session = stat.Czxid, stat.EphemeralOwner, reply.Session
	return own, nil
}

// WatchAhead reads a znode ahead and leaves a watch on it. It uses GetW: ExistsW would leave a watch behind on a
// znode that is gone. One that may not be read is watched by ExistsW, which servers without ZOOKEEPER-2590 permit all the same.
func (p *Place) WatchAhead(name string) (m Member, watch <-chan zk.Event, err error) {
	path := p.Node(name)
	var data []byte
	var stat *zk.Stat
	_, err = p.Session.Read(func(c *zk.Conn) (err error) {
		data, stat, watch, err = c.GetW(path)
		return err
	})
	if errors.Is(err, zk.ErrNoAuth) {
		_, err = p.Session.Read(func(c *zk.Conn) (err error) {
			var found bool
			if found, stat, watch, err = c.ExistsW(path); err == nil && !found {
				return zk.ErrNoNode
			}
			return err
		})
	}
	if err != nil {
		return Member{}, nil, fmt.Errorf("watch %s: %w", path, err)
	}
	return member(path, data, stat), watch, nil
}

// List returns the candidates at the election path, first in line first.
func (p *Place) List() (line []string, err error) {
	_, err = p.Session.Read(func(c *zk.Conn) error {
		children, _, err := c.Children(p.Path)
		if err == nil {
			line, err = inLine(c, p.Path, children)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p.Path, err)
	}
	return line, nil
}

// inLine sorts children. Those that bear one number, since the path's counter is full, came in the order of their
// transactions.
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

// byAge sorts names by their znodes' czxid and leaves out those that are gone. One that may not be looked at counts as
// older than all: who cannot tell that it came first waits.
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

// Missing returns those of the names that have no znode; the first is the own one. Where names are not unique, one that
// is another session's is missing too.
func (p *Place) Missing(names []string) (gone []string, err error) {
	for i, name := range names {
		var found bool
		var stat *zk.Stat
		reply, err := p.Session.Read(func(c *zk.Conn) (err error) {
			found, stat, err = c.Exists(p.Node(name))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", p.Node(name), err)
		}
		if taken := i == 0 && !p.Unique && found && reply.Session != 0 && stat.EphemeralOwner != reply.Session; !found || taken {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

// Delete removes a znode of this candidate. Where names are not unique, it looks first whose the znode is: after the
// whole path was deleted the counter starts again, and the name may be another candidate's by now.
func (p *Place) Delete(name string) error {
	defer p.turn()()
	return p.remove(name)
}

func (p *Place) remove(name string) error {
	if !p.Unique {
		if p.others(name) {
			return zk.ErrNoNode
		}
		if _, stat, err := p.get(name); err != nil || stat.EphemeralOwner != p.Session.State().ID {
			return cmp.Or(err, error(zk.ErrNoNode))
		}
	}
	_, err := p.Session.Write(func(c *zk.Conn) error { return c.Delete(p.Node(name), -1) })
	if err != nil {
		return fmt.Errorf("delete %s: %w", p.Node(name), err)
	}
	return nil
}
