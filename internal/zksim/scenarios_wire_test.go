package zksim_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// wireScenarios speak the protocol by hand. They test what the client library hides (the
// order of events and answers, codes that it has no error for) or does not do (use a
// session twice).
var wireScenarios = []scenario{
	{"handshake grants a timeout within bounds", func(s *script) {
		for _, ms := range []int32{0, 1, 1_000, 1_001, 7_777, 10_000, 10_001, 1_000_000} {
			w := s.wire(0, hello{timeout: ms})
			s.tell("granted", ms, w.timeout)
			w.bye()
		}
	}},
	{"handshake refuses a client that has seen the future", func(s *script) {
		s.tell("welcome", s.wire(0, hello{timeout: 5_000, zxid: 1 << 60}).welcome)
	}},
	{"handshake of an unknown session gets zeros", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000, id: 42, passwd: make([]byte, 16)})
		s.tell("welcome", w.welcome, w.timeout, w.id, w.passwd)
		s.tell("then", w.next())
	}},
	{"handshake with a wrong password gets zeros", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		x := s.wire(0, hello{timeout: 5_000, id: w.id, passwd: make([]byte, 16)})
		s.tell("welcome", x.welcome, x.timeout, x.id, x.passwd)
		y := s.wire(0, hello{timeout: 5_000, id: w.id, passwd: w.passwd})
		s.tell("the right one still joins", y.welcome, y.timeout, y.id == w.id)
		y.bye()
	}},
	{"error codes", func(s *script) {
		s.make("/a", "/a/b")
		s.create("/e", 1)
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("exists", w.ask(3, s.at("/none"), false))
		s.tell("get", w.ask(4, s.at("/none"), false))
		s.tell("children", w.ask(8, s.at("/none"), false))
		s.tell("delete", w.ask(2, s.at("/none"), int32(-1)))
		s.tell("version", w.ask(2, s.at("/a/b"), int32(9)))
		s.tell("not empty", w.ask(2, s.at("/a"), int32(-1)))
		s.tell("set", w.ask(5, s.at("/a"), "x", int32(9)))
		s.tell("exists", w.ask(1, s.at("/a"), "x", openACL, int32(0)))
		s.tell("ephemeral", w.ask(1, s.at("/e/x"), "x", openACL, int32(0)))
		s.tell("acl", w.ask(1, s.at("/x"), "x", int32(0), int32(0)))
		s.tell("flags", w.ask(1, s.at("/x"), "x", openACL, int32(77)))
		s.tell("ttl", w.ask(21, s.at("/x"), "x", openACL, int32(5), int64(1_000)))
		s.tell("path", w.ask(1, "x", "x", openACL, int32(0)))
		s.tell("sync", w.ask(9, s.at("/none")))
	}},
	{"an operation that nobody knows ends the connection", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		s.tell("answer", w.ask(999))
		s.tell("then", w.next())
		s.wire(0, hello{timeout: 5_000, id: w.id, passwd: w.passwd}).bye()
	}},
	{"watch order on one connection", func(s *script) {
		s.make("/a", "/b")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		for _, p := range []string{"/a", "/b", "/c"} {
			s.tell("exists", w.ask(3, s.at(p), true))
		}
		s.tell("children", w.ask(8, s.dir, true))
		s.tell("children", w.ask(8, s.at("/a"), true))
		s.set("/b", "x", -1)
		s.create("/c", 0)
		s.remove("/a", -1)
		for range 4 {
			s.tell("event", w.next())
		}
		s.tell("answer comes behind them", w.ask(3, s.at("/a"), false))
	}},
	{"watch order within a multi", func(s *script) {
		s.make("/a", "/b")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		for _, p := range []string{"/a", "/b", "/c"} {
			s.tell("exists", w.ask(3, s.at(p), true))
		}
		s.tell("children", w.ask(8, s.dir, true))
		_, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/c"), Acl: open},
			&zk.DeleteRequest{Path: s.at("/a"), Version: -1},
			&zk.SetDataRequest{Path: s.at("/b"), Version: -1})
		s.tell("multi", err)
		for range 4 {
			s.tell("event", w.next())
		}
	}},
	{"own write comes behind the event that it causes", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("exists", w.ask(3, s.at("/a"), true))
		w.send(5, s.at("/a"), "x", int32(-1))
		s.tell("first", w.next())
		s.tell("second", w.next())
	}},
	{"session moved", func(s *script) {
		first := s.wire(0, hello{timeout: 5_000})
		s.tell("create", first.ask(1, s.at("/e"), "x", openACL, int32(1)))
		second := s.wire(len(s.site.servers)-1, hello{timeout: 5_000, id: first.id, passwd: first.passwd})
		s.tell("joins", second.welcome, second.id == first.id)
		first.send(1, s.at("/x"), "x", openACL, int32(0))
		s.tell("through the old connection", first.next())
		// An ensemble refuses that write by a transaction. A single server has hung up
		// before. So zxids are not compared.
		s.tell("through the new one", withoutZxid(second.ask(5, s.at("/e"), "y", int32(0))))
		s.tell("the old one's write", withoutZxid(second.ask(3, s.at("/x"), false)))
		second.bye()
		_, _ = s.c.Sync(s.dir)
		s.look("/e")
	}},
	{"session closed elsewhere", func(s *script) {
		first := s.wire(0, hello{timeout: 5_000})
		s.tell("create", first.ask(1, s.at("/e"), "x", openACL, int32(1)))
		s.wire(0, hello{timeout: 5_000, id: first.id, passwd: first.passwd}).bye()
		s.tell("the old connection", first.next())
		again := s.wire(0, hello{timeout: 5_000, id: first.id, passwd: first.passwd})
		s.tell("joins no more", again.welcome, again.timeout, again.id)
		s.look("/e")
	}},
}

// openACL is zk.WorldACL(zk.PermAll) on the wire.
var openACL = wireACL{}

type wireACL struct{}

// hello is a client's connect request.
type hello struct {
	zxid    int64
	timeout int32
	id      int64
	passwd  []byte
}

// wire is a connection whose frames a test writes by hand.
type wire struct {
	s       *script
	nc      net.Conn
	xid     int32
	welcome string
	timeout int32
	id      int64
	passwd  []byte
}

// wire connects to a server and shakes hands.
func (s *script) wire(server int, h hello) *wire {
	nc, err := s.site.dial("tcp", s.site.servers[server], 10*time.Second)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = nc.Close() })
	w := &wire{s: s, nc: nc}
	if h.passwd == nil {
		h.passwd = make([]byte, 16)
	}
	w.write(int32(0), h.zxid, h.timeout, h.id, string(h.passwd), false)
	b, err := w.read()
	if err != nil {
		w.welcome = "hung up"
		return w
	}
	w.welcome = fmt.Sprint(len(b), " bytes")
	w.timeout = int32(binary.BigEndian.Uint32(b[4:]))
	w.id = int64(binary.BigEndian.Uint64(b[8:]))
	w.passwd = b[20:36]
	if w.id != 0 && s.names[w.id] == "" {
		s.names[w.id] = fmt.Sprintf("session %d", len(s.names)+1)
	}
	return w
}

func (w *wire) write(parts ...any) {
	b := encode(nil, parts)
	// An error means that the server has hung up. The next read shows that.
	_, _ = w.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// encode appends the parts in their wire form.
func encode(b []byte, parts []any) []byte {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
		case list:
			b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
			for _, element := range p {
				b = encode(b, []any{element})
			}
		case read:
			b = encode(b, []any{header(p.op), p.path, true})
		case wireACL:
			b = binary.BigEndian.AppendUint32(b, 1)
			b = binary.BigEndian.AppendUint32(b, zk.PermAll)
			b = append(b, "\x00\x00\x00\x05world\x00\x00\x00\x06anyone"...)
		default:
			b, _ = binary.Append(b, binary.BigEndian, p)
		}
	}
	return b
}

func (w *wire) read() ([]byte, error) {
	_ = w.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	head := make([]byte, 4)
	if _, err := io.ReadFull(w.nc, head); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head))
	_, err := io.ReadFull(w.nc, b)
	return b, err
}

func (w *wire) send(op int32, body ...any) {
	w.xid++
	w.write(append([]any{w.xid, op}, body...)...)
}

// ask sends a request and describes its outcome.
func (w *wire) ask(op int32, body ...any) string {
	w.send(op, body...)
	return w.next()
}

// next describes what the server sends next: an event, an answer, or the end.
func (w *wire) next() string {
	b, err := w.read()
	if err != nil || len(b) < 16 {
		return "hung up"
	}
	xid, zxid, code := int32(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:])),
		int32(binary.BigEndian.Uint32(b[12:]))
	if xid != -1 {
		return fmt.Sprintf("answer %d at %s, code %d, %d bytes", xid, w.s.since(zxid), code, len(b)-16)
	}
	// An event's zxid is not compared. It is -1 before 3.9, and the zxid of the change
	// since then, as in zksim.
	kind, path := int32(binary.BigEndian.Uint32(b[16:])), string(b[28:])
	return fmt.Sprintf("%v %s, code %d", zk.EventType(kind), path, code)
}

func withoutZxid(answer string) string {
	_, rest, _ := strings.Cut(answer, ", ")
	return rest
}

// bye closes the session, so that its end is not among the next scenario's transactions.
func (w *wire) bye() {
	w.send(-11)
	for {
		if _, err := w.read(); err != nil {
			return
		}
	}
}
