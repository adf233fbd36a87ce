package session

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// recorder counts what a tap reports.
type recorder struct {
	timeouts []time.Duration
	ids      []int64
	pongs    int
}

func (r *recorder) handshake(_ time.Time, timeout time.Duration, id int64) {
	r.timeouts, r.ids = append(r.timeouts, timeout), append(r.ids, id)
}

func (r *recorder) pong(sent, answered time.Time) { r.pongs++ }

// sink is a connection that accepts every write, and returns its parts one by one.
type sink struct {
	net.Conn
	parts [][]byte
}

func (*sink) Write(b []byte) (int, error) { return len(b), nil }
func (*sink) Close() error                { return nil }

func (s *sink) Read(b []byte) (n int, err error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	if n = copy(b, s.parts[0]); n == len(s.parts[0]) {
		s.parts = s.parts[1:]
	} else {
		s.parts[0] = s.parts[0][n:]
	}
	return n, nil
}

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func reply(xid int32, payload int) []byte {
	e := jute.NewEncoder()
	e.ReplyHeader(xid, 0, jute.CodeOK)
	for range payload {
		e.Int32(-2) // reads as a ping's xid if a frame is thought to begin anywhere in here
	}
	return e.Frame()
}

func greeting() []byte { return granting(4321*time.Millisecond, 0x1234) }

// pinging returns a tap that has sent its connect request and two pings, and reads the
// parts.
func pinging(t *testing.T, parts ...[]byte) (*tap, *recorder) {
	r := &recorder{}
	p := newTap(&sink{parts: parts}, &wire{on: r, conns: map[*tap]struct{}{}})
	ping := request(-2, jute.OpPing)
	for _, b := range [][]byte{frame(make([]byte, 44)), ping, reply(7, 0), ping} {
		_, err := p.Write(b)
		require.NoError(t, err)
	}
	return p, r
}

// stream returns what a server sends: its greeting, a pong, short and long replies, a
// watch's event, a pong.
func stream() []byte {
	event := reply(-1, 5)
	binary.BigEndian.PutUint32(event[4+headSize+8:], 8) // the path's length, behind type and state
	var all []byte
	for _, f := range [][]byte{greeting(), reply(-2, 0), reply(1, 0), reply(2, 30), reply(3, 0), event, reply(-2, 0)} {
		all = append(all, f...)
	}
	return all
}

// kept is a connection that keeps the operations that were written to it.
type kept struct {
	net.Conn
	mu  sync.Mutex
	ops []jute.Op
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for rest := b; len(rest) > 0; rest = rest[4+binary.BigEndian.Uint32(rest):] {
		op := opOf(rest)
		if len(k.ops) == 0 { // the connect request has none
			op = 0
		}
		k.ops = append(k.ops, op)
	}
	return len(b), nil
}

func (k *kept) Close() error { return nil }

func (k *kept) wrote() []jute.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}

// request returns a request without a body.
func request(xid int32, op jute.Op) []byte {
	e := jute.NewEncoder()
	e.Int32(xid)
	e.Int32(int32(op))
	return e.Frame()
}

// connecting returns a connect request.
func connecting(session, zxid int64) []byte {
	e := jute.NewEncoder()
	e.Int32(0) // protocol version
	e.Int64(zxid)
	e.Int32(4000) // timeout
	e.Int64(session)
	e.Bytes(make([]byte, 16)) // password
	return e.Frame()
}

// If a connection breaks before the driver has set its watches again, that request stays
// in the driver's queue and is the first that the next connection sends. So it does not
// show that the driver has looked for watches on that connection.
func TestRequestsWaitForWatchesToBeSetAgainOnThisConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{on: unheard{}, conns: map[*tap]struct{}{}}
		w.watched.Store(true)
		const read = jute.OpGetChildren2
		next := func(writes ...jute.Op) (*tap, *kept) {
			k := &kept{}
			p := newTap(k, w)
			_, err := p.Write(connecting(0x1234, 0))
			require.NoError(t, err)
			for _, op := range writes {
				_, err := p.Write(request(5, op))
				require.NoError(t, err)
			}
			return p, k
		}
		first, k := next(read)
		require.Equal(t, []jute.Op{0}, k.wrote())
		require.NoError(t, first.Close())

		second, k := next(jute.OpSetWatches, read)
		require.Equal(t, []jute.Op{0, jute.OpSetWatches}, k.wrote(), "the first connection's")
		_, err := second.Write(request(5, jute.OpSetWatches))
		require.NoError(t, err)
		require.Equal(t, []jute.Op{0, jute.OpSetWatches, jute.OpSetWatches, read}, k.wrote())
		require.NoError(t, second.Close())

		third, k := next(jute.OpSetWatches, read)
		require.Equal(t, []jute.Op{0, jute.OpSetWatches, read}, k.wrote(), "none was left")
		require.NoError(t, third.Close())

		fourth, _ := next()
		require.NoError(t, fourth.Close())
		fifth, k := next(jute.OpSetWatches, read)
		require.Equal(t, []jute.Op{0, jute.OpSetWatches}, k.wrote())
		time.Sleep(holdLimit)
		synctest.Wait()
		require.Equal(t, []jute.Op{0, jute.OpSetWatches, read}, k.wrote(), "it was this one's after all")
		require.NoError(t, fifth.Close())
	})
}

func TestTheTapReadsFramesCutAnywhere(t *testing.T) {
	all := stream()
	for i := range all {
		for _, j := range []int{i, min(i+1, len(all)), min(i+7, len(all)), len(all)} {
			parts := [][]byte{all[:i], all[i:j], all[j:]}
			p, r := pinging(t, slices.DeleteFunc(parts, func(b []byte) bool { return len(b) == 0 })...)
			got, err := io.ReadAll(p)
			require.NoError(t, err)
			require.Equal(t, all, got, "cut at %d and %d", i, j)
			require.Equal(t, []int64{0x1234}, r.ids, "cut at %d and %d", i, j)
			require.Equal(t, []time.Duration{4321 * time.Millisecond}, r.timeouts)
			require.Equal(t, 2, r.pongs, "cut at %d and %d", i, j)
		}
	}
}

func TestTheTapReadsFramesByteByByte(t *testing.T) {
	p, r := pinging(t, slices.Collect(slices.Chunk(stream(), 1))...)
	got, err := io.ReadAll(iotest.OneByteReader(p))
	require.NoError(t, err)
	require.Equal(t, stream(), got)
	require.Equal(t, []int64{0x1234}, r.ids)
	require.Equal(t, 2, r.pongs)
}

func TestAPongThatNobodyAskedForIsIgnored(t *testing.T) {
	p, r := pinging(t, stream(), reply(-2, 0))
	_, err := io.ReadAll(p)
	require.NoError(t, err)
	require.Equal(t, 2, r.pongs)
}

func TestALongReplyIsReadWhole(t *testing.T) {
	long := reply(9, 1<<20)
	p, _ := pinging(t, greeting(), long, reply(10, 0), long[:5000], long[5000:])
	got, err := io.ReadAll(p)
	require.NoError(t, err)
	require.Equal(t, slices.Concat(greeting(), long, reply(10, 0), long), got)
}

// The room for a frame grows with its bytes. A length word alone takes none.
func TestALengthWordAloneTakesNoMemory(t *testing.T) {
	p, _ := pinging(t, greeting(), binary.BigEndian.AppendUint32(nil, maxReply), make([]byte, 1000))
	_, err := io.ReadAll(p)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, cap(p.buf), firstRead)

	p, _ = pinging(t, greeting(), binary.BigEndian.AppendUint32(nil, maxReply+1), make([]byte, 1000))
	_, err = io.ReadAll(p)
	require.ErrorContains(t, err, "a reply of 67108865 bytes")
}
