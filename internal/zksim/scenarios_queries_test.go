package zksim_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// Requests that the client library has no call for.
const reconfig, multiRead, getEphemerals, getAllChildrenNumber, whoAmI = 16, 22, 103, 104, 107

// queryScenarios test requests that no election sends.
var queryScenarios = []scenario{
	{"ephemerals of a session", func(s *script) {
		s.make("/d")
		s.create("/others", 1)
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		ask := func(what string, prefix any) {
			s.tell(what, w.read1(getEphemerals, (*answer).strings, prefix))
		}
		ask("none yet", "")
		for _, p := range []string{"/e", "/ee", "/d/e"} {
			s.tell("create", w.ask(1, s.at(p), "x", openACL, int32(1)))
		}
		s.tell("create", w.ask(1, s.at("/plain"), "x", openACL, int32(0)))
		ask("all", "")
		ask("null", int32(-1))
		ask("blank", " \t")
		ask("root", "/")
		ask("root, blanks", " / ")
		ask("dir", s.dir)
		ask("below", s.at("/d"))
		ask("prefix of a name", s.at("/e"))
		ask("whole name", s.at("/ee"))
		ask("blank before", " "+s.dir)
		ask("none there", s.at("/none"))
		ask("others", s.at("/others"))
		s.tell("delete", w.ask(2, s.at("/e"), int32(-1)))
		ask("after a delete", "/")
		s.tell("short", w.ask(getEphemerals))
	}},
	{"number of all children", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		number := func(path string) int32 {
			n := w.read1(getAllChildrenNumber, (*answer).int32, path)
			require.IsType(s.t, int32(0), n, "%v", n)
			return n.(int32)
		}
		before := number("/")
		s.make("/a", "/a/b", "/a/b/c", "/ab", "/ab/c")
		s.create("/a/e", 1)
		s.tell("at the root", number("/")-before)
		for _, p := range []string{"", "/a", "/a/b", "/a/b/c", "/ab"} {
			s.tell("at "+p, number(s.at(p)))
		}
		s.tell("zookeeper's", number("/zookeeper"))
		s.tell("none", w.ask(getAllChildrenNumber, s.at("/none")))
		s.tell("no path", w.ask(getAllChildrenNumber, s.at("/a/")))
		s.tell("short", w.ask(getAllChildrenNumber))
		_, err := s.c.Create(s.at("/secret"), nil, 0, zk.WorldACL(zk.PermAll&^zk.PermRead))
		s.tell("create", err)
		s.tell("secret", w.ask(getAllChildrenNumber, s.at("/secret")))
		s.tell("above it", number(s.dir))
	}},
	{"who am i", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("at first", w.read1(whoAmI, (*answer).clients))
		for _, who := range []string{"bob:secret", "alice:x:y", "bob:secret"} {
			w.write(int32(-4), int32(100), int32(0), "digest", who)
			_, err := w.read()
			s.tell("auth", err)
		}
		s.tell("then", w.read1(whoAmI, (*answer).clients))
	}},
	{"multi of reads", func(s *script) {
		s.make("/a", "/a/b", "/a/c")
		_, err := s.c.Create(s.at("/secret"), nil, 0, zk.WorldACL(zk.PermAll&^zk.PermRead))
		s.tell("create", err)
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("reads", w.read1(multiRead, (*answer).reads, get(s.at("/a")), kids(s.at("/a")), get(s.at("/none")),
			kids(s.at("/secret")), get(s.at("/a/b")), kids(s.at("/a/b")), finis))
		s.tell("nothing", w.read1(multiRead, (*answer).reads, finis))
		s.tell("a write", w.ask(multiRead, get(s.at("/a")), header(2), s.at("/a/b"), int32(-1), finis))
		s.tell("exists", w.ask(multiRead, header(3), s.at("/a"), false, finis))
		s.tell("cut short", w.ask(multiRead, get(s.at("/a"))))
		s.set("/a", "x", -1)
		s.create("/a/d", 0)
		s.heard(w)
	}},
	{"reconfiguration is disabled", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("reconfig", w.ask(reconfig, "", "", "server.1=a:2888:3888;2181", int64(-1)))
		s.create("/after", 0)
		s.look("/after")
	}},
}

// header is the MultiHeader of an operation. finis is the one that ends a multi.
func header(op int32) wireHeader { return wireHeader{op, false, -1} }

type wireHeader struct {
	Op   int32
	Done bool
	Err  int32
}

var finis = wireHeader{-1, true, -1}

// read is an operation in a multi of reads. It asks for a watch, which the server must
// not leave.
type read struct {
	op   int32
	path string
}

func get(path string) read  { return read{4, path} }
func kids(path string) read { return read{8, path} }

// answer decodes a reply's body.
type answer struct {
	s *script
	b []byte
}

func (r *answer) int32() any {
	v := int32(binary.BigEndian.Uint32(r.b))
	r.b = r.b[4:]
	return v
}

func (r *answer) skip(n int) { r.b = r.b[n:] }

func (r *answer) string() string {
	n := max(0, int(r.int32().(int32)))
	defer r.skip(n)
	return string(r.b[:n])
}

// strings returns a list sorted: the order of a list has no meaning.
func (r *answer) strings() any {
	var all []string
	for range r.int32().(int32) {
		all = append(all, r.string())
	}
	slices.Sort(all)
	return all
}

// clients returns the identities of whoAmI, sorted, without the address, which depends on
// the network.
func (r *answer) clients() any {
	var all []string
	for range r.int32().(int32) {
		scheme, user := r.string(), r.string()
		if scheme == "ip" {
			user = fmt.Sprint("an address: ", strings.Contains(user, "."))
		}
		all = append(all, scheme+" "+user)
	}
	slices.Sort(all)
	return all
}

// reads returns the answers of a multi of reads.
func (r *answer) reads() any {
	const statSize = 68
	var all []string
	for {
		op, done, code := r.int32().(int32), r.b[0] != 0, int32(binary.BigEndian.Uint32(r.b[1:]))
		r.skip(5)
		what := fmt.Sprintf("%d code %d", op, code)
		switch {
		case done:
			return strings.Join(append(all, what), " | ")
		case op == -1:
			what += fmt.Sprint(" again ", r.int32())
		case op == 4:
			what += " " + r.string()
			r.skip(statSize)
		case op == 8:
			what += " " + fmt.Sprint(r.strings())
		}
		all = append(all, what)
	}
}

// read1 sends a request and decodes the answer. It returns a refusal in the form of ask.
func (w *wire) read1(op int32, take func(*answer) any, body ...any) any {
	w.send(op, body...)
	b, err := w.read()
	if err != nil || len(b) < 16 {
		return "hung up"
	}
	if code := int32(binary.BigEndian.Uint32(b[12:])); code != 0 {
		return fmt.Sprint("code ", code)
	}
	rest := &answer{w.s, b[16:]}
	taken := take(rest)
	if len(rest.b) > 0 {
		return fmt.Sprintf("%v and %d bytes more", taken, len(rest.b))
	}
	return taken
}
