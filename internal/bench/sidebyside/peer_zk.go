package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// openACL lets everybody do everything.
var openACL = zk.WorldACL(zk.PermAll)

// dialZooKeeper returns when the session exists.
func dialZooKeeper(ctx context.Context, addr string, timeout time.Duration) (*zk.Conn, error) {
	conn, events, err := zk.Connect([]string{addr}, timeout, zk.WithLogInfo(false), zk.WithLogger(silentLogger{}))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case ev := <-events:
			if ev.State == zk.StateHasSession {
				go func() {
					for range events { // the driver drops events if nobody takes them
					}
				}()
				return conn, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, ctx.Err()
		}
	}
}

type silentLogger struct{}

func (silentLogger) Printf(string, ...any) {}

// bare is the least that ZooKeeper needs: a znode is deleted, and a watch says so. The
// one that creates the znode leads. It is no election, because nothing orders those that
// wait.
type bare struct{ conn *zk.Conn }

func connectBare(s peerSetup) (library, error) {
	ctx, cancel := within()
	defer cancel()
	conn, err := dialZooKeeper(ctx, s.Server, s.Timeout)
	return &bare{conn}, err
}

func (b *bare) part(_, path string, n *note) part { return &barePart{b.conn, path + "/bare", n} }

type barePart struct {
	conn *zk.Conn
	path string
	note *note
}

func (b *barePart) join() error {
	_, err := b.conn.Create(b.path, nil, zk.FlagEphemeral, openACL)
	if err == nil {
		b.note.leads()
		return nil
	}
	_, _, gone, err := b.conn.GetW(b.path)
	if err != nil {
		return err
	}
	if ev := <-gone; ev.Err != nil {
		return ev.Err
	}
	b.note.leads()
	_, err = b.conn.Create(b.path, nil, zk.FlagEphemeral, openACL) // for the next round
	return err
}

func (b *barePart) leave() error { return b.conn.Delete(b.path, -1) }

// lock is go-zookeeper's Lock.
type lock struct{ conn *zk.Conn }

func connectLock(s peerSetup) (library, error) {
	ctx, cancel := within()
	defer cancel()
	conn, err := dialZooKeeper(ctx, s.Server, s.Timeout)
	return &lock{conn}, err
}

func (l *lock) part(_, path string, n *note) part {
	return &lockPart{zk.NewLock(l.conn, path, openACL), n}
}

type lockPart struct {
	lock *zk.Lock
	note *note
}

func (l *lockPart) join() error {
	if err := l.lock.Lock(); err != nil {
		return err
	}
	l.note.leads()
	return nil
}

func (l *lockPart) leave() error { return l.lock.Unlock() }

// ours is this library.
type ours struct {
	client *election.Client
	opts   []election.Option
}

// connectOurs uses fast failover if fast is not 0.
func connectOurs(fast time.Duration) func(peerSetup) (library, error) {
	return func(s peerSetup) (library, error) {
		ctx, cancel := within()
		defer cancel()
		client, err := election.Connect(ctx, s.Server, election.WithSessionTimeout(s.Timeout),
			election.WithClientLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
		o := &ours{client: client}
		if fast > 0 {
			o.opts = append(o.opts, election.WithFastFailover(fast))
		}
		return o, err
	}
}

func (o *ours) part(id, path string, n *note) part {
	p := &oursPart{note: n}
	p.candidate, p.err = election.NewCandidate(o.client, path, append(o.opts, election.WithID(id),
		election.WithListener(election.ListenerFuncs{
			OnIsLeader:  func(*election.Term) { n.leads() },
			OnNotLeader: func(t *election.Term) { n.lost(t.Err().Error()) },
		}))...)
	return p
}

type oursPart struct {
	candidate *election.Candidate
	note      *note
	err       error
}

func (p *oursPart) join() error {
	if p.err != nil {
		return p.err
	}
	return p.candidate.Start(context.Background())
}

func (p *oursPart) leave() error {
	if p.err != nil {
		return errors.Join(errNotHeld, p.err)
	}
	return p.candidate.Close()
}

func (p *oursPart) asksLeads() bool { return p.candidate.HasLeadership() }
