package sim

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
)

// bystander makes reads and writes of its own on a player's session, by Do, in the middle of
// the faults. It counts upwards in a znode that nobody else writes to, so it can judge what
// it reads: never less than what the same session was told is written, and never more than
// what was ever sent.
type bystander struct {
	p       *player
	r       *rand.Rand
	path    string
	sent    int          // the highest count that was sent
	written int          // the highest count that was confirmed …
	session int64        // … to this session
	open    map[int]bool // counts of which no answer came: they may be written at any time, or never
}

// onTheSide starts the player's bystander, in every third schedule, until ctx ends.
func (p *player) onTheSide(ctx context.Context) {
	if p.w.seed%3 != 0 || *focus != "" {
		return
	}
	h := fnv.New64()
	_, _ = h.Write([]byte(p.name))
	b := &bystander{p: p, r: rand.New(rand.NewPCG(p.w.seed, h.Sum64())), path: "/own-" + p.name,
		open: map[int]bool{}}
	p.done.Go(func() {
		for ctx.Err() == nil && b.turn(ctx) {
			select {
			case <-time.After(time.Duration(b.r.IntN(10_000)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
}

// turn makes one call, and judges when it returned and what. It returns false when the client
// is closed.
func (b *bystander) turn(ctx context.Context) bool {
	d := time.Duration(1+b.r.IntN(4000)) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ends := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() { ends <- time.Now() })()

	act := pick(b.r, b.read, b.write)
	err := act(ctx)
	if ctx.Err() != nil {
		if late := time.Since(<-ends); late > 100*time.Millisecond {
			b.p.w.violated("G9", "%s: Do returned %v after its context had ended: %v", b.p.name, late, err)
		}
	}
	if err != nil && !b.expects(ctx, err) {
		b.p.w.violated("the contract", "%s: Do returned %v", b.p.name, err)
	}
	return !errors.Is(err, election.ErrClosed)
}

// expects reports whether Do may return the error.
func (b *bystander) expects(ctx context.Context, err error) bool {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return true
	}
	for _, of := range []error{election.ErrClosed, election.ErrDisconnected, election.ErrSessionExpired,
		zk.ErrNoNode, zk.ErrNodeExists, zk.ErrSessionMoved} {
		if errors.Is(err, of) {
			return true
		}
	}
	var code jute.Code // servers that are overloaded refuse requests
	return errors.As(err, &code)
}

// own calls Do, and returns the session that f ran in, or 0 if there was more than one.
func (b *bystander) own(ctx context.Context, f func(*zk.Conn) error) (session int64, err error) {
	result := make(chan int64, 1) // f may go on after Do has returned
	err = b.p.client.Do(ctx, func(conn *zk.Conn) error {
		before := conn.SessionID()
		err := f(conn)
		if conn.SessionID() != before {
			before = 0
		}
		result <- before
		return err
	})
	select {
	case session = <-result:
	default:
	}
	return session, err
}

func (b *bystander) write(ctx context.Context) error {
	b.sent++
	data := []byte(strconv.Itoa(b.sent))
	session, err := b.own(ctx, func(conn *zk.Conn) error {
		_, err := conn.Set(b.path, data, -1)
		if errors.Is(err, zk.ErrNoNode) {
			_, err = conn.Create(b.path, data, 0, zk.WorldACL(zk.PermAll))
		}
		return err
	})
	if err == nil {
		b.written, b.session = b.sent, session
	} else {
		b.open[b.sent] = true
	}
	return err
}

func (b *bystander) read(ctx context.Context) error {
	answer := make(chan []byte, 1)
	session, err := b.own(ctx, func(conn *zk.Conn) error {
		data, _, err := conn.Get(b.path)
		answer <- data
		return err
	})
	if session == 0 || err != nil && !errors.Is(err, zk.ErrNoNode) {
		return err
	}

	count := 0
	if err == nil {
		if count, err = strconv.Atoi(string(<-answer)); err != nil {
			return err
		}
	}
	lost := session == b.session && count < b.written && !b.open[count]
	if count > b.sent || lost && !b.lost() {
		b.p.w.violated("the contract", "%s reads %d, has sent %d and written %d in this session", b.p.name, count, b.sent, b.written)
	}
	return nil
}

// lost reports whether the ensemble has lost data since the session began.
func (b *bystander) lost() bool {
	b.p.w.mu.Lock()
	defer b.p.w.mu.Unlock()
	return b.p.w.lost[b.session]
}
