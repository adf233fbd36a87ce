package line

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Member is one who stands in line.
type Member struct {
	ID, Path         string
	Token, SessionID int64
}

func member(path string, data []byte, stat *zk.Stat) Member {
	return Member{ID: string(data), Path: path, Token: stat.Czxid, SessionID: stat.EphemeralOwner}
}

// Members reads the line at path, first in line first, at most limit of them (0: all). Those who leave
// meanwhile are left out; when all do, it looks who has come.
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

// Observer follows who is first in line at a path, by a watch on one znode: the first one's, or the path's
// when nobody stands.
type Observer struct {
	Session *session.Session
	Path    string

	ahead  []string // the line as last listed, first one first; a lower bound, since others have joined behind
	states chan struct{}
	seen   Member
	told   error
	any    bool // something has been yielded
}

// Run calls yield with the present state and then with every change, until ctx ends, the session is closed, or
// yield returns false. An error that no retry mends is yielded once and retried every second.
func (o *Observer) Run(ctx context.Context, yield func(Member, error) bool) {
	o.states = make(chan struct{}, 1)
	defer o.Session.Subscribe(func(session.State) {
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

// tell yields what differs from the last time.
func (o *Observer) tell(m Member, err error, yield func(Member, error) bool) bool {
	if o.any && m == o.seen && sameError(err, o.told) {
		return true
	}
	o.any, o.seen, o.told = true, m, err
	return yield(m, err)
}

func sameError(a, b error) bool {
	return a == b || a != nil && b != nil && a.Error() == b.Error()
}

// wait returns when what was seen may have changed: the watch fired, the session's state changed, or, after an
// error that has no watch, a second has passed.
func (o *Observer) wait(ctx context.Context, watch <-chan zk.Event) {
	var retry <-chan time.Time
	if watch == nil && o.Session.State().Connected {
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

// look finds the first in line and leaves a watch on it. An error comes with a watch where one can tell of its end.
func (o *Observer) look(ctx context.Context) (Member, <-chan zk.Event, error) {
	for {
		if !o.Session.State().Connected {
			o.ahead = nil
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
		if errors.Is(err, zk.ErrNoNode) { // listed, so it was there: it has gone
			o.ahead = o.ahead[1:]
			continue
		}
		return m, watch, o.plain(err)
	}
}

// plain turns the driver's ways of having no connection into one.
func (o *Observer) plain(err error) error {
	if err == nil || errors.Is(err, ErrNobody) || session.Answered(err) {
		return err
	}
	return ErrDisconnected
}

// look's result of watching the first in line.
type watched struct {
	m     Member
	watch <-chan zk.Event
}

func (o *Observer) first(ctx context.Context) (Member, <-chan zk.Event, error) {
	path := znode.Join(o.Path, o.ahead[0])
	w, err := session.Call(ctx, o.Session, func() (watched, error) {
		data, stat, watch, err := o.Session.Conn().GetW(path)
		if err != nil {
			return watched{}, err
		}
		return watched{member(path, data, stat), watch}, nil
	})
	return w.m, w.watch, err
}

// list reads the line afresh. When nobody stands it returns ErrNobody and a watch that tells of the next to come, or
// neither when it could not leave one.
func (o *Observer) list(ctx context.Context) (<-chan zk.Event, error) {
	type listed struct {
		line  []string
		watch <-chan zk.Event
	}
	l, err := session.Call(ctx, o.Session, func() (listed, error) {
		conn := o.Session.Conn()
		children, _, err := conn.Children(o.Path)
		if err == nil {
			line, err := inLine(conn, o.Path, children)
			if err != nil || len(line) > 0 {
				return listed{line: line}, err
			}
		}
		line, watch, err := o.watchPath()
		return listed{line, watch}, err
	})
	o.ahead = l.line
	if err == nil && len(l.line) == 0 {
		if l.watch == nil { // the path came or went while we looked: look again
			return nil, nil
		}
		return l.watch, ErrNobody
	}
	return nil, err
}

// watchPath leaves a watch on the path's children, or on the path's being made. A nil watch and an empty
// line mean that it was made just now.
func (o *Observer) watchPath() (line []string, watch <-chan zk.Event, err error) {
	conn := o.Session.Conn()
	children, _, watch, err := conn.ChildrenW(o.Path)
	if err == nil {
		line, err = inLine(conn, o.Path, children)
		return line, watch, err
	}
	if !errors.Is(err, zk.ErrNoNode) {
		return nil, nil, err
	}
	found, _, watch, err := conn.ExistsW(o.Path)
	if found {
		return nil, nil, err
	}
	return nil, watch, err
}
