package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// The two registers that leaders write to.
const (
	inZooKeeper = "zookeeper" // a znode, by Term.Guard
	inBolt      = "bbolt"     // the judge's, which refuses lower tokens
)

// writeLimit bounds one write.
const writeLimit = 5 * time.Second

// writer writes in one term.
type writer struct {
	*contender
	term     *election.Term
	gen      int
	registry *registerClient
}

// newWriter asks the register for its generation. The generation is that of the term's
// token if the term still lasts after the answer: the judge changes it only while no server has
// been up for a session timeout, and no term lasts that long without one.
func (c *contender) newWriter(t *election.Term) (*writer, error) {
	w := &writer{contender: c, term: t, registry: &registerClient{addr: c.Registry}}
	gen, err := w.registry.generation()
	if err != nil {
		return nil, errors.Join(err, w.registry.Close())
	}
	w.gen = gen
	if err := t.Err(); err != nil {
		return nil, errors.Join(err, w.registry.Close())
	}
	return w, nil
}

// write writes to both registers again and again, until the term is over or length has
// passed. It returns the writer for what comes late, or nil if the register did not answer in time.
func (c *contender) write(t *election.Term, length time.Duration) *writer {
	end := time.NewTimer(length)
	defer end.Stop()
	w, err := c.newWriter(t)
	if err != nil {
		if t.Err() == nil {
			c.say(Event{What: saysProblem, Text: fmt.Sprint("register: ", err)})
		}
		return nil
	}
	for {
		w.toBolt()
		w.toZooKeeper()
		pause := time.NewTimer(c.between(50*time.Millisecond, 250*time.Millisecond))
		select {
		case <-t.Done():
			pause.Stop()
			return w
		case <-end.C:
			pause.Stop()
			return w
		case <-pause.C:
		}
	}
}

// writeLate does what a leader may do that was paused between its check and its write: it
// writes when its term has been over for some time. It does not check first.
func (w *writer) writeLate() {
	if w == nil {
		return // it never wrote
	}
	<-w.term.Done()
	time.Sleep(w.between(100*time.Millisecond, 3*time.Second))
	w.toBolt()
	w.toZooKeeper()
	_ = w.registry.Close()
}

func (w *writer) event(what, register string, op int64) Event {
	return Event{What: what, Register: register, Op: op, Token: Token(w.term.Token()), Gen: w.gen}
}

func (w *writer) toBolt() {
	op := <-w.ops
	w.say(w.event(saysWriting, inBolt, op))
	accepted, err := w.registry.write(w.Election, w.gen, int64(w.term.Token()))
	done := w.event(saysWrote, inBolt, op)
	switch {
	case errors.Is(err, errOutdated):
		done.What = saysOutdated
	case err != nil:
		done.What, done.Text = saysUncertain, err.Error()
	case !accepted:
		done.What = saysRefused
	}
	w.say(done)
}

func (w *writer) toZooKeeper() {
	op := <-w.ops
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	w.say(w.event(saysWriting, inZooKeeper, op))
	order, err := w.guarded(ctx)
	done := w.event(saysWrote, inZooKeeper, op)
	done.Order = order
	switch {
	case err == nil:
	case errors.Is(err, election.ErrTermOver):
		done.What = saysRefused
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists):
		done.What = saysUnsent
	default:
		done.What, done.Text = saysUncertain, err.Error()
	}
	w.say(done)
}

// guarded writes the token into the znode and returns the znode's new version. The znode
// is made if it is missing; its version is then 0.
func (w *writer) guarded(ctx context.Context) (int64, error) {
	path, data := "/register-"+w.Election, fmt.Appendf(nil, "%#x", w.term.Token())
	answers, err := w.term.Guard(ctx, &zk.SetDataRequest{Path: path, Data: data, Version: -1})
	if err == nil {
		return int64(answers[0].Stat.Version), nil
	}
	if !errors.Is(err, zk.ErrNoNode) || errors.Is(err, election.ErrTermOver) {
		return 0, err
	}
	_, err = w.term.Guard(ctx, &zk.CreateRequest{Path: path, Data: data, Acl: zk.WorldACL(zk.PermAll)})
	return 0, err
}
