package session

import (
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// framed is a connection that keeps the frames written to it, and returns what a server
// sends.
type framed struct {
	sink
	frames [][]byte
}

func (r *framed) Write(b []byte) (int, error) {
	r.frames = append(r.frames, slices.Clone(b))
	return len(b), nil
}

// replyAt returns a reply without a body.
func replyAt(xid int32, zxid int64) []byte {
	e := jute.NewEncoder()
	e.ReplyHeader(xid, zxid, jute.CodeOK)
	return e.Frame()
}

// settingWatches returns a request that sets watches again, as the driver sends it.
func settingWatches(zxid int64, paths ...string) []byte {
	e := jute.NewEncoder()
	e.Int32(9) // xid
	e.Int32(int32(jute.OpSetWatches))
	e.Int64(zxid)
	e.Texts(paths)
	e.Texts(nil)
	e.Texts(nil)
	return e.Frame()
}

// watching returns a read that leaves a watch.
func watching(path string) []byte {
	e := jute.NewEncoder()
	e.Int32(8) // xid
	e.Int32(int32(jute.OpGetData))
	e.Text(path)
	e.Bool(true)
	return e.Frame()
}

// connections returns a function that makes one connection of a driver after another. It
// writes the requests, reads a greeting and the replies, writes the late requests, and
// returns what went to the server and what the driver read behind the greeting.
func connections(t *testing.T) func(requests, replies [][]byte, late ...[]byte) (sent [][]byte, read []byte) {
	w := &wire{on: unheard{}, conns: map[*tap]struct{}{}}
	return func(requests, replies [][]byte, late ...[]byte) ([][]byte, []byte) {
		conn := &framed{sink: sink{parts: append([][]byte{greeting()}, replies...)}}
		p := newTap(conn, w)
		write := func(frames [][]byte) {
			for _, b := range frames {
				n, err := p.Write(b)
				require.NoError(t, err)
				require.Len(t, b, n)
			}
		}
		write(requests)
		read, err := io.ReadAll(p)
		require.NoError(t, err)
		write(late)
		require.NoError(t, p.Close())
		return conn.frames, read[len(greeting()):]
	}
}

type frames = [][]byte

// The driver reads the zxid without a lock while replies change it. So the replies must
// not change it. The servers must be told the true one all the same.
func TestTheDriverLearnsNoZxidAndTheServersAreToldTheTrueOne(t *testing.T) {
	connect := connections(t)
	sent, read := connect(frames{connecting(0, 0), watching("/a")},
		frames{replyAt(1, 70), replyAt(2, 77), replyAt(3, 0), replyAt(pingXid, 99)})
	require.Equal(t, frames{connecting(0, 0), watching("/a")}, sent)
	require.Equal(t, slices.Concat(replyAt(1, 0), replyAt(2, 0), replyAt(3, 0), replyAt(pingXid, 0)), read)

	sent, _ = connect(frames{connecting(5, 0), settingWatches(0, "/a")}, frames{replyAt(9, 80)},
		settingWatches(0, "/b"))
	require.Equal(t, frames{connecting(5, 77), settingWatches(77, "/a"), settingWatches(77, "/b")}, sent,
		"what was seen before the connection was made")

	sent, _ = connect(frames{connecting(5, 0)}, nil)
	require.Equal(t, frames{connecting(5, 80)}, sent)
	sent, _ = connect(frames{connecting(0, 0)}, nil)
	require.Equal(t, frames{connecting(0, 0)}, sent, "another session has seen nothing yet")
	sent, _ = connect(frames{connecting(6, 0)}, nil)
	require.Equal(t, frames{connecting(6, 0)}, sent)
}

// The driver looks for watches after its first requests are on their way. On the first
// connection of a session it can find only those that it has just set there.
func TestWatchesOfThisConnectionAreNotSetTwice(t *testing.T) {
	connect := connections(t)
	for _, session := range []int64{1, 2} { // the second begins with the watches of the first behind it
		sent, _ := connect(frames{connecting(0, 0), watching("/a")}, frames{replyAt(1, 70)}, settingWatches(0, "/a"))
		require.Equal(t, frames{connecting(0, 0), watching("/a"), settingWatches(0)}, sent, "nothing waits")

		sent, _ = connect(frames{connecting(session, 0), watching("/a"), settingWatches(0, "/a")}, nil)
		require.Equal(t, frames{connecting(session, 70), settingWatches(70, "/a"), watching("/a")}, sent)
	}
}
