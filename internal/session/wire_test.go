package session

import (
	"encoding/binary"
	"net"
	"testing"
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

// stream is what a server says: its greeting, a pong, replies small, empty and long, a watch's notification, a pong.
func stream() []byte {
	var all []byte
	for _, f := range [][]byte{greeting(), reply(-2, 0), reply(1, 0), reply(2, 30), frame(nil), reply(-1, 5), reply(-2, 0)} {
		all = append(all, f...)
	}
	return all
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
