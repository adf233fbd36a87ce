package zksim_test

import (
	"strings"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// Requests and modes of persistent watches on the wire.
const (
	checkWatches, removeWatches, setWatches2, addWatch = 17, 18, 105, 106

	stays, recursive = int32(0), int32(1)

	kidWatch, dataWatch, anyWatch = int32(1), int32(2), int32(3) // Watcher.WatcherType
)

// persistentScenarios get the same answers from 3.8 and 3.9. Where the two differ, zksim
// follows 3.9 (persistent_test.go).
var persistentScenarios = []scenario{
	{"persistent watch stays", func(s *script) {
		s.make("/a")
		s.watched("/a", stays, func() {
			s.set("/a", "x", -1)
			s.set("/a", "y", -1)
			s.create("/a/kid", 0)
			s.set("/a/kid", "x", -1)
			s.remove("/a/kid", -1)
			s.remove("/a", -1)
			s.create("/a", 0)
			s.set("/a", "z", -1)
		})
	}},
	{"persistent watch of nothing", func(s *script) {
		s.watched("/a", stays, func() {
			s.create("/a", 0)
			s.remove("/a", -1)
			s.create("/ab", 0)
		})
	}},
	{"persistent watch hears nothing of an acl", func(s *script) {
		s.make("/a")
		s.watched("/a", stays, func() {
			_, err := s.c.SetACL(s.at("/a"), open, -1)
			s.tell("acl", err)
		})
	}},
	{"persistent watch beneath a path that is gone", func(s *script) {
		s.watched("/none/deep", recursive, func() {
			s.create("/none", 0)
			s.create("/none/deep", 0)
			s.create("/none/deep/kid", 0)
		})
	}},
	{"recursive watch hears of all below", func(s *script) {
		s.make("/a")
		s.watched("", recursive, func() {
			s.set("", "x", -1)
			s.create("/b", 0)
			s.create("/a/kid", 0)
			s.create("/a/kid/deep", 1)
			s.set("/a/kid", "x", -1)
			_, err := s.c.SetACL(s.at("/a/kid"), open, -1)
			s.tell("acl", err)
			s.remove("/a/kid/deep", -1)
			s.remove("/a/kid", -1)
			s.remove("/a", -1)
		})
	}},
	{"recursive watch hears nothing of a sibling", func(s *script) {
		s.make("/a", "/ab")
		s.watched("/a", recursive, func() {
			s.set("/ab", "x", -1)
			s.create("/ab/kid", 0)
			s.create("/abc", 0)
			s.set("", "x", -1)
			s.create("/a/kid", 0)
		})
	}},
	{"recursive watch within a multi", func(s *script) {
		s.make("/a")
		s.watched("", recursive, func() {
			_, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/a/b"), Acl: open},
				&zk.SetDataRequest{Path: s.at("/a"), Version: -1},
				&zk.CreateRequest{Path: s.at("/a/b/c"), Acl: open},
				&zk.DeleteRequest{Path: s.at("/a/b/c"), Version: -1})
			s.tell("multi", err)
			_, err = s.c.Multi(&zk.CreateRequest{Path: s.at("/x"), Acl: open},
				&zk.CheckVersionRequest{Path: s.at("/none")})
			s.tell("failed", err)
		})
	}},
	{"recursive watch hears of a session's end", func(s *script) {
		s.watched("", recursive, func() {
			other := s.wire(0, hello{timeout: 5_000})
			s.tell("create", other.ask(1, s.at("/e"), "x", openACL, int32(1)))
			other.bye()
		})
	}},
	{"recursive and persistent watch of one connection", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("add", w.ask(addWatch, s.dir, recursive))
		s.tell("add", w.ask(addWatch, s.at("/a"), stays))
		s.set("/a", "x", -1)
		s.create("/a/kid", 0)
		s.remove("/a/kid", -1)
		s.remove("/a", -1)
		s.heard(w)
	}},
	{"recursive and standard watches of one connection", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("add", w.ask(addWatch, s.dir, recursive))
		s.tell("exists", w.ask(3, s.at("/a"), true))
		s.tell("children", w.ask(8, s.at("/a"), true))
		for range 2 {
			s.set("/a", "x", -1)
		}
		s.create("/a/kid", 0)
		s.remove("/a/kid", -1)
		s.remove("/a", -1)
		s.heard(w)
	}},
	{"persistent watches of several connections", func(s *script) {
		s.make("/a")
		first, second := s.wire(0, hello{timeout: 5_000}), s.wire(0, hello{timeout: 5_000})
		defer first.bye()
		defer second.bye()
		s.tell("add", first.ask(addWatch, s.at("/a"), stays))
		s.tell("exists", second.ask(3, s.at("/a"), true))
		for range 2 {
			s.set("/a", "x", -1)
		}
		s.heard(first)
		s.heard(second)
	}},
	{"persistent watch asked for twice", func(s *script) {
		s.make("/a")
		for _, mode := range []int32{stays, recursive} {
			w := s.wire(0, hello{timeout: 5_000})
			s.tell("add", w.ask(addWatch, s.at("/a"), mode))
			s.tell("add", w.ask(addWatch, s.at("/a"), mode))
			s.set("/a", "x", -1)
			s.heard(w)
			s.tell("remove", w.ask(removeWatches, s.at("/a"), anyWatch))
			s.set("/a", "x", -1)
			s.heard(w)
			w.bye()
		}
	}},
	{"persistent watch in no mode that there is", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("standard", w.ask(addWatch, s.dir, int32(2)))
		s.tell("negative", w.ask(addWatch, s.dir, int32(-1)))
		s.tell("none", w.ask(addWatch, s.dir))
		s.set("", "x", -1)
		s.heard(w)
	}},
	{"persistent watch waits for the write before it", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		w.send(1, s.at("/a"), "x", openACL, int32(0))
		w.send(addWatch, s.at("/a"), recursive)
		w.send(5, s.at("/a"), "y", int32(-1))
		for range 4 {
			s.tell("next", w.next())
		}
	}},
	{"recursive watch keeps a secret", func(s *script) {
		s.make("/a")
		s.watched("", recursive, func() {
			_, err := s.c.Create(s.at("/secret"), nil, 0, zk.DigestACL(zk.PermAll, "bob", "secret"))
			s.tell("create", err)
			s.set("/a", "x", -1)
			_, err = s.c.Create(s.at("/open"), nil, 0, zk.WorldACL(zk.PermRead|zk.PermDelete))
			s.tell("create", err)
			s.remove("/secret", -1)
			s.remove("/open", -1)
		})
	}},
	{"watches end with their connection", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		s.tell("add", w.ask(addWatch, s.dir, recursive))
		s.tell("add", w.ask(addWatch, s.at("/a"), stays))
		again := s.wire(0, hello{timeout: 5_000, id: w.id, passwd: w.passwd})
		defer again.bye()
		s.set("/a", "x", -1)
		s.heard(again)
	}},
	{"remove watches", func(s *script) {
		s.make("/a", "/b")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("none", w.ask(removeWatches, s.at("/a"), anyWatch))
		s.tell("add", w.ask(addWatch, s.at("/a"), stays), w.ask(addWatch, s.at("/b"), recursive))
		s.tell("elsewhere", w.ask(removeWatches, s.at("/a/kid"), anyWatch), w.ask(removeWatches, s.dir, anyWatch))
		s.tell("remove", w.ask(removeWatches, s.at("/a"), anyWatch), w.ask(removeWatches, s.at("/b"), anyWatch))
		s.tell("again", w.ask(removeWatches, s.at("/a"), anyWatch), w.ask(removeWatches, s.at("/b"), anyWatch))
		s.set("/a", "x", -1)
		s.create("/b/kid", 0)
		s.heard(w)
	}},
	{"remove standard watches", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		watch := func() { s.tell("watch", w.ask(3, s.at("/a"), true), w.ask(8, s.at("/a"), true)) }
		change := func() { s.set("/a", "x", -1); s.create("/a/kid", 0); s.remove("/a/kid", -1); s.heard(w) }
		watch()
		s.tell("data", w.ask(removeWatches, s.at("/a"), dataWatch), w.ask(removeWatches, s.at("/a"), dataWatch))
		change()
		watch()
		s.tell("children", w.ask(removeWatches, s.at("/a"), kidWatch), w.ask(removeWatches, s.at("/a"), kidWatch))
		change()
		watch()
		s.tell("any", w.ask(removeWatches, s.at("/a"), anyWatch), w.ask(removeWatches, s.at("/a"), anyWatch))
		change()
		s.tell("exists", w.ask(3, s.at("/none"), true), w.ask(removeWatches, s.at("/none"), dataWatch))
		s.create("/none", 0)
		s.heard(w)
	}},
	{"remove and check watches of no type that there is", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		for _, kind := range []int32{-1, 0, 9} {
			s.tell("type", kind, w.ask(removeWatches, s.dir, kind), w.ask(checkWatches, s.dir, kind))
		}
		s.tell("short", w.ask(removeWatches, s.dir), w.ask(checkWatches, s.dir))
	}},
	{"check watches", func(s *script) {
		s.make("/a", "/b")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		check := func(path string) {
			s.tell("check "+path, w.ask(checkWatches, s.at(path), dataWatch),
				w.ask(checkWatches, s.at(path), kidWatch), w.ask(checkWatches, s.at(path), anyWatch))
		}
		check("/a")
		s.tell("exists", w.ask(3, s.at("/a"), true))
		check("/a")
		s.tell("children", w.ask(8, s.at("/b"), true))
		check("/b")
		s.tell("add", w.ask(addWatch, s.at("/c"), stays), w.ask(checkWatches, s.at("/c"), anyWatch))
		s.set("/a", "x", -1)
		s.tell("event", w.next())
		check("/a")
	}},
	{"set watches of all kinds again", func(s *script) {
		s.make("/changed", "/same", "/parent", "/stays", "/deep")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.set("/changed", "x", -1)
		since := s.stampOf("/changed") - 1
		s.set("/stays", "x", -1)
		s.set("/deep", "x", -1)
		w.send(setWatches2, since, list{s.at("/changed"), s.at("/same"), s.at("/gone")}, list{s.at("/new")},
			list{s.at("/parent")}, list{s.at("/stays")}, list{s.at("/deep")})
		for range 3 {
			s.tell("next", w.next())
		}
		for range 2 {
			s.set("/same", "x", -1)
			s.set("/stays", "x", -1)
			s.create("/stays/kid", 0)
			s.remove("/stays/kid", -1)
			s.create("/deep/kid", 0)
			s.remove("/deep/kid", -1)
		}
		s.create("/new", 0)
		s.create("/parent/kid", 0)
		s.heard(w)
	}},
	{"set watches of all kinds cut short", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("without the last", w.ask(setWatches2, int64(0), list{}, list{}, list{}, list{s.dir}))
		s.set("", "x", -1)
		s.heard(w)
	}},
}

// list is a vector of strings on the wire.
type list []string

// watched calls happen while another connection watches the path, and records what that
// connection receives.
func (s *script) watched(path string, mode int32, happen func()) {
	w := s.wire(0, hello{timeout: 5_000})
	defer w.bye()
	s.tell("add", w.ask(addWatch, s.at(path), mode))
	happen()
	s.heard(w)
}

// heard records what has come on a connection. It first sends a request: everything that
// is to be recorded comes before its answer.
func (s *script) heard(w *wire) {
	w.send(3, s.dir, false)
	for {
		what := w.next()
		s.tell("heard", what)
		if strings.HasPrefix(what, "answer") || what == "hung up" {
			return
		}
	}
}

// stampOf returns the zxid of a node's last change.
func (s *script) stampOf(path string) int64 {
	_, st, err := s.c.Exists(s.at(path))
	require.NoError(s.t, err)
	return st.Mzxid
}
