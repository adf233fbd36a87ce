// Package snapshot reads what ZooKeeper shows of an election to somebody who does not take
// part: the line, and what is odd about it. It works for elections of every library.
package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/text"
	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/znode"
)

// Client is the part of [election.Client] that a [Reader] needs.
type Client interface {
	Do(ctx context.Context, f func(*zk.Conn) error) error
}

// Reader reads elections. Paths are below Chroot.
type Reader struct {
	Client Client
	Chroot string // of the connect string; empty if there is none
}

// Election is an election as it was read. The parts were read one after another, so it may
// have changed meanwhile.
type Election struct {
	Path    string
	Missing bool        // there is no such znode
	Line    []Candidate // the first in line first
	Count   int         // candidates, also those beyond Options.Limit
	Junk    []string    // names of children that are no candidates, sorted
	Next    int32       // the counter that the next candidate gets
	Request *Request    // an operator's request that is under way; nil if there is none
	Reign   reign.Record
	Began   time.Time       // when the path's data was written last, by ZooKeeper's clock
	Read    time.Time       // when the reading ended, by this machine's clock
	Changed <-chan zk.Event // fires at the next change of the line; nil unless asked for
}

// Candidate is one participant, and what its znode shows beyond that.
type Candidate struct {
	election.Participant
	Name       string        // of its znode
	Naming     string        // the template that the name was made from, as far as can be told
	Counter    uint32        // see znode.Sequence
	Persistent bool          // the znode belongs to no session, and stays until somebody deletes it
	Version    int32         // how often the znode has been written since it was made
	Within     time.Duration // its time for fast failover; 0: without
	Unreadable bool          // the znode may not be read, so that only name and place are known
}

// Label is what to call the candidate: its ID, or its znode's name if the ID cannot be read
// or is empty.
func (c Candidate) Label() string {
	if c.Unreadable || c.ID == "" {
		return c.Name
	}
	return c.ID
}

// full puts the chroot before a path.
func (r Reader) full(path string) string {
	if path == "/" && r.Chroot != "" {
		return r.Chroot
	}
	return r.Chroot + path
}

// Options say what [Reader.Read] reads.
type Options struct {
	Watch bool // leave a watch: see Election.Changed
	Limit int  // read at most so many znodes of candidates; 0: all
}

// Read reads the election at path. If there is no such znode, that is no error: see
// [Election].Missing. Its errors are those of [election.Client.Do].
func (r Reader) Read(ctx context.Context, path string, opts Options) (*Election, error) {
	if err := znode.CheckPath(path); err != nil {
		return nil, fmt.Errorf("path %.200q %w", path, err)
	}
	e := &Election{Path: path}
	children, err := r.list(ctx, e, opts.Watch)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", znode.Brief(path), err)
	}
	for _, name := range children {
		if _, candidate := znode.Sequence(name); !candidate {
			e.Junk = append(e.Junk, name)
		}
	}
	slices.Sort(e.Junk)
	e.Count = len(children) - len(e.Junk)
	if e.Line, err = r.line(ctx, path, znode.Sort(children), opts.Limit); err != nil {
		return nil, fmt.Errorf("read %s: %w", znode.Brief(path), err)
	}
	if e.Request, err = r.request(ctx, path); err != nil {
		return nil, fmt.Errorf("read %s.request: %w", znode.Brief(path), err)
	}
	e.Read = time.Now()
	return e, nil
}

// list reads the path itself, and returns its children.
func (r Reader) list(ctx context.Context, e *Election, watch bool) (children []string, err error) {
	full := r.full(e.Path)
	err = r.Client.Do(ctx, func(c *zk.Conn) (err error) {
		children, err = list(c, full, e, watch)
		return err
	})
	return children, err
}

// list reads a path. If it is missing and is to be watched, the watch is on its creation.
func list(c *zk.Conn, full string, e *Election, watch bool) (children []string, err error) {
	for {
		data, stat, err := c.Get(full)
		if err == nil && watch {
			children, stat, e.Changed, err = c.ChildrenW(full)
		} else if err == nil {
			children, stat, err = c.Children(full)
		}
		e.Missing = errors.Is(err, zk.ErrNoNode)
		switch {
		case err == nil:
			e.Reign, e.Began, e.Next = reign.Decode(data), time.UnixMilli(stat.Mtime).UTC(), creates(stat)
			return children, nil
		case !e.Missing:
			return nil, err
		case !watch:
			return nil, nil
		}

		found, _, created, err := c.ExistsW(full)
		if err != nil || !found {
			e.Changed = created
			return nil, err
		} // it was made just now
	}
}

// creates returns how many children a znode has had, which is the counter in the name of
// the next sequential one. The server shows twice that less those that are there, in 32
// bits (DataNode.copyStat).
func creates(stat *zk.Stat) int32 { return int32(uint32(stat.Cversion+stat.NumChildren) >> 1) }

// atOnce is how many requests are under way at the same time.
const atOnce = 16

// line reads the znodes of candidates. Those that have gone are left out.
func (r Reader) line(ctx context.Context, path string, names []string, limit int) ([]Candidate, error) {
	if limit > 0 && len(names) > limit && znode.Ties(names) == 1 {
		names = names[:limit]
	}
	found := make([]*Candidate, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() (err error) {
			found[i], err = r.candidate(ctx, path, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}

	line := make([]Candidate, 0, len(found))
	for _, c := range found {
		if c != nil {
			line = append(line, *c)
		}
	}
	sortTies(line)
	if len(line) > 0 {
		line[0].Leader = true
	}
	return line, nil
}

// sortTies orders candidates whose znodes bear the same number by when they were made, as
// the candidates do.
func sortTies(line []Candidate) {
	for i := 0; i < len(line); {
		j := i + 1
		for j < len(line) && line[j].Counter == line[i].Counter {
			j++
		}
		slices.SortFunc(line[i:j], func(a, b Candidate) int {
			return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Name, b.Name))
		})
		i = j
	}
}

// candidate reads one znode. It returns nil if there is none any more.
func (r Reader) candidate(ctx context.Context, path, name string) (*Candidate, error) {
	c := &Candidate{Name: name, Naming: Naming(name)}
	c.Counter, _ = znode.Sequence(name)
	c.Path = znode.Join(path, name)

	var data []byte
	var stat *zk.Stat
	err := r.Client.Do(ctx, func(conn *zk.Conn) (err error) {
		data, stat, err = conn.Get(r.full(c.Path))
		return err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return nil, nil
	case errors.Is(err, zk.ErrNoAuth):
		c.Unreadable = true
		return c, nil
	case err != nil:
		return nil, err
	}
	c.ID, c.Metadata = znode.Unpack(string(data))
	c.Token, c.SessionID, c.Since = stat.Czxid, stat.EphemeralOwner, time.UnixMilli(stat.Ctime).UTC()
	c.Persistent, c.Version, c.Within = stat.EphemeralOwner == 0, stat.Version, znode.Within(string(data))
	return c, nil
}

// Version returns how often a candidate's znode has been written, and false if the znode
// has gone.
func (r Reader) Version(ctx context.Context, c Candidate) (version int32, found bool, err error) {
	err = r.Client.Do(ctx, func(conn *zk.Conn) error {
		exists, stat, err := conn.Exists(r.full(c.Path))
		if found = err == nil && exists && stat.Czxid == c.Token; found {
			version = stat.Version
		}
		return err
	})
	return version, found, err
}

// Named returns the candidates with this ID, in line.
func (e *Election) Named(id string) (all []Candidate) {
	for _, c := range e.Line {
		if !c.Unreadable && c.ID == id {
			all = append(all, c)
		}
	}
	return all
}

// Of returns what a participant's znode shows of it, if nothing but the participant is known.
func Of(p election.Participant) Candidate {
	c := Candidate{Participant: p, Name: p.Path[strings.LastIndexByte(p.Path, '/')+1:]}
	c.Naming = Naming(c.Name)
	c.Counter, _ = znode.Sequence(c.Name)
	return c
}

// Place returns the place of a candidate in line, 1 being the first, or 0.
func (e *Election) Place(token int64) int {
	return 1 + slices.IndexFunc(e.Line, func(c Candidate) bool { return c.Token == token && !c.Unreadable })
}

// IDs lists the IDs of the line for a message, and not too many of them.
func (e *Election) IDs() string {
	const most = 8
	var ids []string
	for i, c := range e.Line {
		if i == most {
			ids = append(ids, fmt.Sprintf("and %d more", len(e.Line)-most))
			break
		}
		ids = append(ids, text.Plain(c.Label()))
	}
	return strings.Join(ids, ", ")
}
