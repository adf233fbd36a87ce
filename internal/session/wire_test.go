package session

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// recorder takes what a tap reads.
type recorder struct {
	timeouts []time.Duration
	ids      []int64
	pongs    int
}

func (r *recorder) handshake(_ time.Time, timeout time.Duration, id int64) {
	r.timeouts, r.ids = append(r.timeouts, timeout), append(r.ids, id)
}

func (r *recorder) pong(sent, answered time.Time) { r.pongs++ }

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(b []byte) (int, error) { return len(b), nil }

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func reply(xid int32, payload int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(xid))
	b = binary.BigEndian.AppendUint64(b, 77) // zxid
	b = binary.BigEndian.AppendUint32(b, 0)  // no error
	for range payload {
		b = append(b, 0xff, 0xff, 0xff, 0xfe) // would read as a ping's xid wherever a frame were taken to begin
	}
	return frame(b)
}

func greeting() []byte {
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, 4321)
	b = binary.BigEndian.AppendUint64(b, 0x1234)
	b = binary.BigEndian.AppendUint32(b, 16)
	return frame(append(b, make([]byte, 17)...))
}

// newTap has sent its connect request and two pings.
func newTap(t *testing.T) (*tap, *recorder) {
	r := &recorder{}
	p := &tap{Conn: sink{}, wire: &wire{on: r, conns: map[*tap]struct{}{}}}
	ping := frame(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0xfffffffe), 11))
	for _, b := range [][]byte{frame(make([]byte, 44)), ping, reply(7, 0), ping} {
		_, err := p.Write(b)
		require.NoError(t, err)
	}
	return p, r
}

// stream is what a server says: its greeting, a pong, replies small and long, a watch's notification, a pong.
func stream() []byte {
	var all []byte
	for _, f := range [][]byte{greeting(), reply(-2, 0), reply(1, 0), reply(2, 30), reply(3, 0), reply(-1, 5), reply(-2, 0)} {
		all = append(all, f...)
	}
	return all
}

// kept is a connection that keeps what operations were written to it.
type kept struct {
	net.Conn
	mu  sync.Mutex
	ops []operation
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for rest := b; len(rest) > 0; rest = rest[4+binary.BigEndian.Uint32(rest):] {
		k.ops = append(k.ops, opOf(rest))
	}
	return len(b), nil
}

func (k *kept) Close() error { return nil }

func (k *kept) wrote() []operation {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}

func request(op operation) []byte {
	return frame(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 5), uint32(op)))
}

// A connection that breaks before the driver has set its watches again leaves that in the driver's queue: it is the first
// that the next connection sends, and says nothing of whether the driver has looked for watches on this one.
func TestRequestsWaitForWatchesToBeSetAgainOnThisConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{on: unheard{}, conns: map[*tap]struct{}{}}
		w.watched.Store(true)
		const read = opGetChildren2
		next := func(writes ...operation) (*tap, *kept) {
			k := &kept{}
			p := &tap{Conn: k, wire: w}
			for _, op := range append([]operation{0}, writes...) { // the connect request has none
				_, err := p.Write(request(op))
				require.NoError(t, err)
			}
			return p, k
		}
		first, k := next(read)
		require.Equal(t, []operation{0}, k.wrote())
		require.NoError(t, first.Close())

		second, k := next(opSetWatches, read)
		require.Equal(t, []operation{0, opSetWatches}, k.wrote(), "the first connection's")
		_, err := second.Write(request(opSetWatches))
		require.NoError(t, err)
		require.Equal(t, []operation{0, opSetWatches, opSetWatches, read}, k.wrote())
		require.NoError(t, second.Close())

		third, k := next(opSetWatches, read)
		require.Equal(t, []operation{0, opSetWatches, read}, k.wrote(), "none was left")
		require.NoError(t, third.Close())

		fourth, _ := next()
		require.NoError(t, fourth.Close())
		fifth, k := next(opSetWatches, read)
		require.Equal(t, []operation{0, opSetWatches}, k.wrote())
		time.Sleep(holdLimit)
		synctest.Wait()
		require.Equal(t, []operation{0, opSetWatches, read}, k.wrote(), "it was this one's after all")
		require.NoError(t, fifth.Close())
	})
}

func TestTheTapReadsFramesCutAnywhere(t *testing.T) {
	all := stream()
	for i := range all {
		for _, j := range []int{i, min(i+1, len(all)), min(i+7, len(all)), len(all)} {
			p, r := newTap(t)
			for _, part := range [][]byte{all[:i], all[i:j], all[j:]} {
				p.follow(part)
			}
			require.Equal(t, []int64{0x1234}, r.ids, "cut at %d and %d", i, j)
			require.Equal(t, []time.Duration{4321 * time.Millisecond}, r.timeouts)
			require.Equal(t, 2, r.pongs, "cut at %d and %d", i, j)
		}
	}
}

func TestTheTapReadsFramesByteByByte(t *testing.T) {
	p, r := newTap(t)
	for _, b := range stream() {
		p.follow([]byte{b})
	}
	require.Equal(t, []int64{0x1234}, r.ids)
	require.Equal(t, 2, r.pongs)
}

func TestAPongThatNobodyAskedForIsIgnored(t *testing.T) {
	p, r := newTap(t)
	p.follow(stream())
	p.follow(reply(-2, 0))
	require.Equal(t, 2, r.pongs)
}
