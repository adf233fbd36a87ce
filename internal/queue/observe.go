package queue

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Member is one participant in the line, as its znode shows it. It is comparable.
type Member struct {
	Data, Path       string // Data is packed: see [znode.Unpack]
	Token, SessionID int64
	Created          int64 // in ms since 1970, by the clock of the ensemble's leader (Stat's ctime)
}

func member(path string, data []byte, stat *zk.Stat) Member {
	return Member{Data: string(data), Path: path, Token: stat.Czxid, SessionID: stat.EphemeralOwner, Created: stat.Ctime}
}

// Members reads the line at path, front first, and at most limit participants of it (0:
// all). Participants that leave meanwhile are left out. If all of them do, Members looks
// again.
func Members(ctx context.Context, s *session.Session, path string, limit int) ([]Member, error) {
	for {
		all, empty, err := members(ctx, s, path, limit)
		if len(all) > 0 || empty || err != nil {
			return all, err
		}
	}
}

func members(ctx context.Context, s *session.Session, path string, limit int) (all []Member, empty bool, err error) {
	line, err := session.Call(ctx, s, func() ([]string, error) {
		children, _, err := s.Conn().Children(path)
		if err != nil {
			return nil, err
		}
		return inLine(s.Conn(), path, children)
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}

	for _, name := range line {
		m, err := read(ctx, s, znode.Join(path, name))
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue
		case err != nil:
			return nil, false, err
		}
		if all = append(all, m); len(all) == limit {
			break
		}
	}
	return all, len(line) == 0, nil
}

func read(ctx context.Context, s *session.Session, path string) (Member, error) {
	return session.Call(ctx, s, func() (Member, error) {
		data, stat, err := s.Conn().Get(path)
		if err != nil {
			return Member{}, err
		}
		return member(path, data, stat), nil
	})
}

// Errors that an Observer yields.
var (
	ErrNobody       = errors.New("nobody stands")
	ErrDisconnected = errors.New("not connected")
)

// Observer follows who is at the front of the line at a path. It watches one znode: the
// one at the front, or the path while nobody takes part.
type Observer struct {
	Session *session.Session
	Path    string

	ahead   []string // the line as last listed, first one first; a lower bound, since others have joined behind
	session int64    // in which it was listed
	newest  int64    // transaction of the last change of the line before that (the path's pzxid)
	doubted int64    // newest of a line that was listed again because of newest
	beats   string   // the znode at the front, if that is written again and again
	states  chan struct{}
	seen    Member
	lastErr error
	any     bool // something has been yielded
}

// Run calls yield with the present state and then with every change, until ctx ends, the
// session is closed, or yield returns false. An error that a retry cannot mend is yielded
// once and retried every second.
func (o *Observer) Run(ctx context.Context, yield func(Member, error) bool) {
	o.states = make(chan struct{}, 1)
	defer o.Session.Subscribe(func(session.Status) {
		select {
		case o.states <- struct{}{}:
		default:
		}
	})()

	for ctx.Err() == nil && !o.Session.Closed() {
		m, watch, err := o.look(ctx)
		if ctx.Err() != nil || o.Session.Closed() {
			break
		}
		if !o.tell(m, err, yield) {
			return
		}
		o.wait(ctx, watch)
	}

	if ctx.Err() == nil {
		yield(Member{}, session.ErrClosed)
	}
}

// tell yields a state if it differs from the last one.
func (o *Observer) tell(m Member, err error, yield func(Member, error) bool) bool {
	if o.any && m == o.seen && sameError(err, o.lastErr) {
		return true
	}
	o.any, o.seen, o.lastErr = true, m, err
	return yield(m, err)
}

func sameError(a, b error) bool {
	return a == b || a != nil && b != nil && a.Error() == b.Error()
}

// wait returns when what was seen may have changed: the watch has fired, the session's
// state has changed, or a second has passed after an error that comes without a watch.
func (o *Observer) wait(ctx context.Context, watch <-chan zk.Event) {
	var retry <-chan time.Time
	if watch == nil && o.Session.Status().Connected {
		t := time.NewTimer(time.Second)
		defer t.Stop()
		retry = t.C
	}
	select {
	case <-watch:
	case <-retry:
	case <-o.states:
	case <-o.Session.Done():
	case <-ctx.Done():
	}
}

// look finds the participant at the front and leaves a watch on it. An error comes with a
// watch if a watch can tell when it is over.
func (o *Observer) look(ctx context.Context) (Member, <-chan zk.Event, error) {
	for {
		now := o.Session.Status()
		if !now.Connected || now.ID != o.session {
			o.ahead, o.session = nil, now.ID
		}
		if !now.Connected {
			return Member{}, nil, ErrDisconnected
		}
		if len(o.ahead) == 0 {
			watch, err := o.list(ctx)
			if err != nil || watch != nil {
				return Member{}, watch, o.plain(err)
			}
			continue
		}
		m, watch, err := o.first(ctx)
		switch {
		case errors.Is(err, zk.ErrNoNode): // listed, so it was there: it has gone
			o.ahead = o.ahead[1:]
		case err == nil && o.remade(m):
			o.ahead = nil
		default:
			return m, watch, o.plain(err)
		}
	}
}

// remade reports whether m is younger than the line that it was listed in. Then somebody
// has deleted the path, it was made again and counts from zero again, and m only bears a
// name that was listed. Others may be ahead of it.
//
// One doubt for one state of the line is enough: a server may have lost the path's pzxid,
// and the line would be listed for ever.
func (o *Observer) remade(m Member) bool {
	if m.Token <= o.newest || o.doubted == o.newest {
		return false
	}
	o.doubted = o.newest
	return true
}

// plain turns all of the driver's errors for having no connection into ErrDisconnected.
func (o *Observer) plain(err error) error {
	if err == nil || errors.Is(err, ErrNobody) || session.Answered(err) && !errors.Is(err, zk.ErrSessionExpired) {
		return err
	}
	return ErrDisconnected
}

// look's result of watching the first in line.
type watched struct {
	m     Member
	watch <-chan zk.Event
}

// first reads the znode at the front and watches it. If that beats (package beat), only
// its end is of interest. So from the second reading on the watch is on its children, of
// which there are none: see [Entry.ReadOwn].
func (o *Observer) first(ctx context.Context) (Member, <-chan zk.Event, error) {
	path := znode.Join(o.Path, o.ahead[0])
	look := o.Session.Conn().GetW
	if path == o.beats {
		look = o.watchEnd
	}
	w, err := session.Call(ctx, o.Session, func() (watched, error) {
		data, stat, watch, err := look(path)
		if err != nil {
			return watched{}, err
		}
		return watched{member(path, data, stat), watch}, nil
	})
	if o.beats = ""; err == nil && znode.Within(w.m.Data) > 0 {
		o.beats = path
	}
	return w.m, w.watch, err
}

func (o *Observer) watchEnd(path string) ([]byte, *zk.Stat, <-chan zk.Event, error) {
	_, _, watch, err := o.Session.Conn().ChildrenW(path)
	if err != nil {
		return nil, nil, nil, err
	}
	data, stat, err := o.Session.Conn().Get(path)
	return data, stat, watch, err
}

// list's result.
type listed struct {
	line   []string
	newest int64
	watch  <-chan zk.Event
}

// list reads the line again. If nobody takes part, it returns ErrNobody and a watch that
// tells when somebody comes, or neither if it could not leave a watch.
func (o *Observer) list(ctx context.Context) (<-chan zk.Event, error) {
	l, err := session.Call(ctx, o.Session, func() (listed, error) {
		conn := o.Session.Conn()
		children, stat, err := conn.Children(o.Path)
		if err == nil {
			line, err := inLine(conn, o.Path, children)
			if err != nil || len(line) > 0 {
				return listed{line: line, newest: stat.Pzxid}, err
			}
		} else if !errors.Is(err, zk.ErrNoNode) { // the next answer may be the connection's end
			return listed{}, err
		}
		return o.watchPath()
	})

	o.ahead, o.newest = l.line, l.newest
	if err == nil && len(l.line) == 0 {
		if l.watch == nil { // the path came or went while we looked: look again
			return nil, nil
		}
		return l.watch, ErrNobody
	}
	return nil, err
}

// watchPath leaves a watch on the path's children, or, if there is no path, on its
// creation. A nil watch and an empty line mean that it was created just now.
func (o *Observer) watchPath() (listed, error) {
	conn := o.Session.Conn()
	children, stat, watch, err := conn.ChildrenW(o.Path)
	if err == nil {
		line, err := inLine(conn, o.Path, children)
		return listed{line, stat.Pzxid, watch}, err
	}
	if !errors.Is(err, zk.ErrNoNode) {
		return listed{}, err
	}
	found, _, watch, err := conn.ExistsW(o.Path)
	if found {
		return listed{}, err
	}
	return listed{watch: watch}, err
}
