package election

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Follower knows who leads one election, without taking part. [Client.Follow] makes it. It is
// safe for concurrent use.
type Follower struct {
	of     *feeds
	feed   *feed // nil if there is nothing to follow
	closed bool  // guarded by of.mu
	state  atomic.Pointer[followed]
}

// followed is what a Follower knows. It never changes, except that changed is closed when
// there is a newer followed.
type followed struct {
	leader  Participant
	err     error
	changed chan struct{}
}

// Follow returns a Follower of the election at path, and returns at once. All Followers of
// a path on one client share one watch and one goroutine. Close the Follower when you no
// longer need it. The end of the client also ends the Follower.
//
// If path is not valid, the Follower's Leader always returns an error that names the path.
func (c *Client) Follow(path string) *Follower {
	switch {
	case c == nil || c.sess == nil:
		return deadFollower(fmt.Errorf("election: Follow of %s: the client was not made by Connect, Open or NewClient: %w", znode.Brief(path), ErrClosed))
	case znode.CheckPath(path) != nil:
		return deadFollower(fmt.Errorf("election: Follow: path %.200q %w", path, znode.CheckPath(path)))
	}
	return c.feeds.follow(c, path)
}

// deadFollower returns a Follower that has nothing to follow.
func deadFollower(err error) *Follower {
	f := &Follower{of: new(feeds)}
	f.state.Store(&followed{err: err, changed: make(chan struct{})})
	return f
}

// Leader returns the first participant in line, as far as the Follower knows. It sends
// nothing and does not wait, so you may call it as often as you like. The answer may be out
// of date, so let the resource check a token.
//
// Leader returns
//   - [ErrNoLeader] if no one takes part;
//   - [ErrDisconnected] if the connection is down, or if ZooKeeper has not answered yet.
//     Leader then also returns the last participant that was known, or a zero Participant;
//   - [ErrClosed] if the Follower or its client is closed;
//   - another error of ZooKeeper, such as zk.ErrNoAuth. The Follower asks again every second.
func (f *Follower) Leader() (Participant, error) {
	s := f.state.Load()
	return s.leader, s.err
}

// Changed returns a channel that is closed at the next change of what Leader returns. To
// miss nothing, take the channel first:
//
//	for {
//		changed := follower.Changed()
//		leader, err := follower.Leader()
//		// … use leader
//		<-changed
//	}
func (f *Follower) Changed() <-chan struct{} { return f.state.Load().changed }

// Close ends the Follower. After that, Leader returns [ErrClosed]. A second Close does
// nothing.
func (f *Follower) Close() {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	f.set(followed{err: ErrClosed})
	if f.feed == nil {
		return
	}
	delete(f.feed.followers, f)
	if len(f.feed.followers) == 0 {
		f.of.end(f.feed)
	}
}

// set replaces what the Follower knows, and then wakes all that wait for a change. The
// caller must hold the lock of the Follower's feeds, unless no one else has the Follower yet.
func (f *Follower) set(s followed) {
	s.changed = make(chan struct{})
	if old := f.state.Swap(&s); old != nil {
		close(old.changed)
	}
}

// feeds are what the Followers of one client share.
type feeds struct {
	mu     sync.Mutex // guards the following, and all of the feeds; only the session's lock is taken under it
	byPath map[string]*feed
}

// feed follows one path.
type feed struct {
	path      string // below the chroot
	followers map[*Follower]struct{}
	latest    followed
	cancel    context.CancelFunc
}

func (fs *feeds) follow(c *Client, path string) *Follower {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	one := fs.byPath[path]
	if one == nil {
		if one = fs.begin(c, path); one == nil {
			return deadFollower(ErrClosed)
		}
	}
	f := &Follower{of: fs, feed: one}
	f.set(one.latest)
	one.followers[f] = struct{}{}
	return f
}

// begin starts to follow a path. It returns nil if the client is closed.
func (fs *feeds) begin(c *Client, path string) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	one := &feed{path: path, followers: map[*Follower]struct{}{}, latest: followed{err: ErrDisconnected}, cancel: cancel}
	o := queue.Observer{Session: c.sess, Path: c.full(path)}
	if !session.Loop(c.sess, func() {
		defer cancel()
		o.Run(ctx, func(m queue.Member, err error) bool {
			fs.heard(one, c.participant(m), err)
			return true
		})
	}) {
		cancel()
		return nil
	}
	if fs.byPath == nil {
		fs.byPath = map[string]*feed{}
	}
	fs.byPath[path] = one
	return one
}

// heard passes what a feed's Observer yields to the feed's Followers.
func (fs *feeds) heard(one *feed, leader Participant, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case err == nil:
		leader.Leader = true
		one.latest = followed{leader: leader}
	case errors.Is(err, queue.ErrDisconnected): // the last one known stays
		if one.latest.err == ErrDisconnected {
			return // a feed begins like this, and Changed is for changes
		}
		one.latest = followed{leader: one.latest.leader, err: ErrDisconnected}
	default:
		one.latest = followed{err: public(err)}
	}
	for f := range one.followers {
		f.set(one.latest)
	}
	if errors.Is(err, session.ErrClosed) {
		fs.end(one)
	}
}

// end stops following a path. The lock must be held.
func (fs *feeds) end(one *feed) {
	one.cancel()
	if fs.byPath[one.path] == one {
		delete(fs.byPath, one.path)
	}
}
