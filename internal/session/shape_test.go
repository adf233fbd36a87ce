package session

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// calls are the driver's calls whose replies it decodes.
var calls = []struct {
	name string
	call func(c *zk.Conn) error
}{
	{"multi", func(c *zk.Conn) error {
		_, err := c.Multi(&zk.CheckVersionRequest{Path: "/x"},
			&zk.CreateRequest{Path: "/y", Acl: zk.WorldACL(zk.PermAll)})
		return err
	}},
	{"children", func(c *zk.Conn) error { _, _, err := c.Children("/x"); return err }},
	{"get", func(c *zk.Conn) error { _, _, err := c.Get("/x"); return err }},
	{"get and watch", func(c *zk.Conn) error { _, _, _, err := c.GetW("/x"); return err }},
	{"exists", func(c *zk.Conn) error { _, _, err := c.Exists("/x"); return err }},
	{"set", func(c *zk.Conn) error { _, err := c.Set("/x", nil, -1); return err }},
	{"get ACL", func(c *zk.Conn) error { _, _, err := c.GetACL("/x"); return err }},
	{"set ACL", func(c *zk.Conn) error { _, err := c.SetACL("/x", nil, -1); return err }},
	{"create", func(c *zk.Conn) error { _, err := c.Create("/x", nil, 0, nil); return err }},
	{"create a container", func(c *zk.Conn) error {
		_, err := c.CreateContainer("/x", nil, zk.FlagContainer, nil)
		return err
	}},
	{"sync", func(c *zk.Conn) error { _, err := c.Sync("/x"); return err }},
	{"delete", func(c *zk.Conn) error { return c.Delete("/x", -1) }},
	{"authenticate", func(c *zk.Conn) error { return c.AddAuth("digest", nil) }},
	{"reconfigure", func(c *zk.Conn) error { _, err := c.IncrementalReconfig(nil, nil, -1); return err }},
}

// record is a record that a test writes, right or wrong.
type record []byte

func (b record) num(v ...uint32) record {
	for _, v := range v {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}
func (b record) text(s string) record { return append(b.num(uint32(len(s))), s...) }
func (b record) stat() record         { return append(b, make([]byte, jute.StatSize)...) }
func (b record) result(op jute.Op, done byte) record {
	return append(b.num(uint32(op)), done, 0, 0, 0, 0)
}

const everything = 0xffffffff

// right are replies as a server sends them, without their heads.
var right = map[string]record{
	"multi":              record{}.result(jute.OpCheck, 0).result(jute.OpCreate, 0).text("/y").result(jute.OpError, 1),
	"children":           record{}.num(2).text("a").text("").stat(),
	"get":                record{}.text("data").stat(),
	"get and watch":      record{}.num(everything).stat(), // no data
	"exists":             record{}.stat(),
	"set":                record{}.stat(),
	"get ACL":            record{}.num(1, 31).text("world").text("anyone").stat(),
	"set ACL":            record{}.stat(),
	"create":             record{}.text("/x"),
	"create a container": record{}.text("/x").stat(), // Create2Response, of which the driver reads the path
	"sync":               record{}.text("/x"),
	"delete":             record{},
	"authenticate":       record{},
	"reconfigure":        record{}.text("server.1").stat(),
}

// wrong are replies that no server sends, and the errors for them.
var wrong = map[string][]struct {
	body record
	says string
}{
	"multi": {
		{record{}.num(2), "a reply to multi of 20 bytes that ends inside the header of a result"},
		{record{}, "inside the header of a result"},
		{record{}.result(jute.OpCreate, 0).num(everything), "inside a path"},
		{record{}.result(jute.OpSetData, 0).num(1), "inside the stat"},
		{record{}.result(jute.OpError, 0), "inside an error"},
		{record{}.result(jute.OpError, 1), "0 results of a transaction of 2 operations"},
		{record{}.result(jute.OpCheck, 0).result(jute.OpCheck, 0).result(jute.OpCheck, 0).result(jute.OpError, 1),
			"3 results"},
	},
	"children": {
		{record{}.num(everything), "a reply to getChildren2 of 20 bytes that ends inside the children"},
		{record{}.num(1 << 20).text("a").stat(), "inside the children"},
		{record{}.num(2).text("a").num(everything).stat(), "inside a child"},
		{record{}.num(1).text("a"), "inside the stat"},
	},
	"get":    {{record{}.num(1 << 30).stat(), "inside the data"}, {record{}.text("data"), "inside the stat"}},
	"exists": {{record{}.num(1), "inside the stat"}},
	"get ACL": {{record{}.num(everything, 1).stat(), "inside the ACL"},
		{record{}.num(1, 31, 1<<31).stat(), "inside an ACL"}},
	"create":             {{record{}.num(1 << 31), "inside the path"}},
	"create a container": {{record{}, "inside the path"}},
	"sync":               {{record{}.num(9), "inside the path"}},
}

// scripted is a server that sends its first client something in place of an answer, and
// serves all others.
type scripted struct {
	mu     sync.Mutex
	said   bool
	answer func(xid uint32) []byte
	greets []byte // in place of the first greeting; nil: a right one
}

func (s *scripted) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.said
	s.said = true
	return first
}

func (s *scripted) talk(c net.Conn, _ []byte) {
	first := s.first()
	if first && s.greets != nil {
		c.Write(s.greets)
		return
	}
	c.Write(granting(4*time.Second, 7))
	for {
		b, err := readFrame(c)
		if err != nil {
			return
		}
		xid, op := headerOf(b)
		if first && op != jute.OpPing && s.greets == nil {
			c.Write(s.answer(uint32(xid)))
			return
		}
		c.Write(answering(xid, 0))
	}
}

// ask makes one call on a driver's connection through a tap. It returns the call's error
// and how the wire says that the connection ended.
func ask(t testing.TB, s *scripted, call func(*zk.Conn) error) (err, lost error) {
	w := &wire{dial: pipes(s.talk), on: unheard{}, conns: map[*tap]struct{}{}}
	conn, _, err := zk.Connect([]string{"a:1"}, 4*time.Second, zk.WithDialer(w.connect),
		zk.WithHostProvider(&eager{addr: "a:1"}),
		zk.WithLogger(mute{}), zk.WithMaxConnBufferSize(4096))
	require.NoError(t, err)
	defer w.cut()
	defer conn.Close()
	err = call(conn)
	for conn.Delete("/x", -1) != nil { // until the driver is connected to a server that answers
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return err, w.lost
}

type mute struct{}

func (mute) Printf(string, ...any) {}

func replying(body []byte) *scripted {
	return &scripted{answer: func(xid uint32) []byte { return frame(append(headOf(xid), body...)) }}
}

func headOf(xid uint32) []byte { return record{}.num(xid, 0, 77, 0) }

func TestRightRepliesReachTheDriver(t *testing.T) {
	for _, c := range calls {
		bodies := map[string][]byte{"as it is": right[c.name], "and more": append(slices.Clone(right[c.name]), 1, 2, 3)}
		for what, body := range bodies {
			t.Run(c.name+", "+what, func(t *testing.T) {
				err, _ := ask(t, replying(body), c.call)
				require.NoError(t, err)
			})
		}
	}
}

func TestRepliesThatDoNotFitEndTheConnection(t *testing.T) {
	for _, c := range calls {
		for i, w := range wrong[c.name] {
			t.Run(fmt.Sprintf("%s %d", c.name, i), func(t *testing.T) {
				err, lost := ask(t, replying(w.body), c.call)
				require.ErrorIs(t, err, zk.ErrConnectionClosed)
				require.ErrorContains(t, lost, w.says)
			})
		}
	}
}

func TestWhatTheDriverDoesNotDecodeIsNotJudged(t *testing.T) {
	for what, answer := range map[string]func(xid uint32) []byte{
		"an error": func(xid uint32) []byte { return frame(record{}.num(xid, 0, 77, 0xffffff9b, 1)) }, // -101
		"an answer to nothing, and then an error": func(xid uint32) []byte {
			return slices.Concat(frame(append(headOf(xid+9), 1)), frame(record{}.num(xid, 0, 77, 0xffffff9b)))
		},
		"an xid of no meaning, and then an error": func(xid uint32) []byte {
			return slices.Concat(frame(append(headOf(0xfffffff0), 1)), frame(record{}.num(xid, 0, 77, 0xffffff9b)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			err, _ := ask(t, &scripted{answer: answer}, func(c *zk.Conn) error { _, _, err := c.Get("/x"); return err })
			require.ErrorIs(t, err, zk.ErrNoNode)
		})
	}
	t.Run("a result of a type that the driver does not know", func(t *testing.T) {
		err, _ := ask(t, replying(record{}.result(15, 0)), calls[0].call)
		require.ErrorIs(t, err, zk.ErrAPIError)
	})
}

func TestEventsAndGreetingsThatDoNotFitEndTheConnection(t *testing.T) {
	event := append(headOf(everything), record{}.num(1, 3, everything)...)
	err, lost := ask(t, &scripted{answer: func(uint32) []byte { return frame(event) }}, calls[1].call)
	require.ErrorIs(t, err, zk.ErrConnectionClosed)
	require.ErrorContains(t, lost, "an event of 28 bytes that ends inside the path")

	for says, password := range map[string]record{
		"ends inside the password": record{}.num(1 << 30),
		"a password of 200 bytes":  record{}.text(strings.Repeat("x", 200)),
	} {
		tap := newTap(&sink{parts: [][]byte{frame(append(record{}.num(0, 4000, 0, 7), password...))}},
			&wire{on: unheard{}, conns: map[*tap]struct{}{}})
		_, err := tap.Read(make([]byte, 4))
		require.ErrorContains(t, err, says)
	}
}

func TestATransactionsOperationsAreCounted(t *testing.T) {
	open := zk.WorldACL(zk.PermAll)
	for n, ops := range [][]any{
		{},
		{&zk.CheckVersionRequest{Path: "/x"}},
		{&zk.CreateRequest{Path: "/x", Acl: open}, &zk.DeleteRequest{Path: "/x"}},
		{&zk.CreateRequest{Path: "/x", Data: []byte("data"), Acl: append(open, open...)},
			&zk.SetDataRequest{Path: "/x"}, &zk.SetDataRequest{Path: "/x", Data: []byte("data")}},
	} {
		got := -2
		s := &scripted{answer: func(xid uint32) []byte { return frame(headOf(xid)) }}
		w := &wire{dial: pipes(s.talk), on: unheard{}, conns: map[*tap]struct{}{}}
		conn, _, err := zk.Connect([]string{"a:1"}, 4*time.Second, zk.WithHostProvider(&eager{addr: "a:1"}),
			zk.WithLogger(mute{}),
			zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
				c, err := w.connect(network, address, timeout)
				return &overheard{Conn: c, heard: func(b []byte) {
					if opOf(b) == jute.OpMulti {
						got = parts(jute.OpMulti, b)
					}
				}}, err
			}))
		require.NoError(t, err)
		_, err = conn.Multi(ops...)
		require.Error(t, err)
		require.Equal(t, n, got)
		conn.Close()
	}
}

// overheard is a connection that shows what is written to it.
type overheard struct {
	net.Conn
	heard func(b []byte)
}

func (o *overheard) Write(b []byte) (int, error) {
	o.heard(b)
	return o.Conn.Write(b)
}

// FuzzFrames sends the driver, through a tap, what no server should send. The process
// must survive that in little memory.
func FuzzFrames(f *testing.F) {
	for i, c := range calls {
		f.Add(uint8(i), uint8(0), []byte(right[c.name]))
		for _, w := range wrong[c.name] {
			f.Add(uint8(i), uint8(0), []byte(w.body))
		}
	}
	f.Add(uint8(1), uint8(1), []byte(frame(append(headOf(everything), record{}.num(1, 3).text("/x")...))))
	f.Add(uint8(1), uint8(1), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(uint8(1), uint8(2), granting(4*time.Second, 7))
	f.Fuzz(func(t *testing.T, call, how uint8, b []byte) {
		s := replying(b)
		switch how % 3 {
		case 1: // whole frames, or what looks like one
			s.answer = func(uint32) []byte { return b }
		case 2:
			s.greets = b
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = ask(t, s, calls[int(call)%len(calls)].call)
		runtime.ReadMemStats(&after)
		const drivers = 3 * 1.5 * (1 << 20) // the driver's buffers for each connection
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(4*drivers+64*len(b)) {
			t.Errorf("%d bytes took %d", len(b), got)
		}
	})
}
