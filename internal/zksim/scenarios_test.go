package zksim_test

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
)

// scenario is one conversation with a server. testdata has the answers of the original.
type scenario struct {
	name string
	run  func(s *script)
}

func (sc scenario) dir() string { return "/" + strings.ReplaceAll(sc.name, " ", "-") }

// scenarios returns all scenarios.
func scenarios() []scenario {
	return slices.Concat(basicScenarios, lineScenarios, wrapScenarios(), reconnectScenarios, wireScenarios,
		persistentScenarios, queryScenarios)
}

var basicScenarios = []scenario{
	{"create persistent", func(s *script) { s.create("/a", 0); s.look("/a"); s.look("") }},
	{"create existing", func(s *script) { s.make("/a"); s.create("/a", 0); s.look("/a"); s.look("") }},
	{"create without parent", func(s *script) { s.create("/a/b", 0); s.create("/c", 0); s.look("/c") }},
	{"create under ephemeral", func(s *script) { s.create("/e", 1); s.create("/e/x", 0); s.look("/e") }},
	{"create ephemeral", func(s *script) { s.create("/e", 1); s.look("/e"); s.look("") }},
	{"create sequence", func(s *script) {
		s.create("/n-", 2)
		s.create("/n-", 2)
		s.create("/m-", 2)
		s.look("")
		s.list("")
	}},
	{"create ephemeral sequence", func(s *script) { s.create("/n-", 3); s.look("/n-0000000000") }},
	{"sequence without a stem", func(s *script) { s.create("/", 2); s.create("/", 3); s.list("") }},
	{"sequence after deletes", func(s *script) {
		s.create("/n-", 2)
		s.remove("/n-0000000000", -1)
		s.create("/n-", 2)
		s.look("")
	}},
	{"sequence counts plain creates", func(s *script) { s.make("/a", "/b"); s.create("/n-", 2); s.look("") }},
	{"sequence and failed creates", func(s *script) {
		s.make("/a")
		s.create("/a", 0)
		s.create("/a/b/c", 0)
		s.create("/n-", 2)
		s.look("/n-0000000001")
	}},
	{"sequence name is taken", func(s *script) {
		s.make("/n-0000000001")
		s.create("/n-", 2)
		s.create("/n-", 2)
		s.look("")
	}},
	{"container", func(s *script) {
		p, err := s.c.CreateContainer(s.at("/c"), []byte("d"), zk.FlagContainer, open)
		s.tell("container", p, err)
		s.look("/c")
		s.create("/c/kid", 1)
		s.look("/c")
		p, err = s.c.CreateContainer(s.at("/c"), nil, zk.FlagContainer, open)
		s.tell("again", p, err)
		s.swept("/c", "/c/kid") // otherwise its removal would fall among the next scenario's transactions
	}},
	{"container flag on a plain create", func(s *script) { s.create("/c", zk.FlagContainer); s.look("/c") }},
	{"ttl", func(s *script) {
		p, err := s.c.CreateTTL(s.at("/t"), nil, zk.FlagTTL, open, 1e9)
		s.tell("ttl", p, err)
		s.look("/t")
		s.create("/after", 0)
		s.look("/after")
	}},
	{"null and empty data", func(s *script) {
		_, err := s.c.Create(s.at("/null"), nil, 0, open)
		s.tell("null", err)
		_, err = s.c.Create(s.at("/empty"), []byte{}, 0, open)
		s.tell("empty", err)
		for _, p := range []string{"/null", "/empty"} {
			d, st, err := s.c.Get(s.at(p))
			s.tell(p, d == nil, len(d), st, err)
		}
	}},
	{"delete", func(s *script) {
		s.make("/a", "/a/b")
		s.remove("/a/b", -1)
		s.look("/a")
		s.remove("/a", 0)
		s.look("")
	}},
	{"delete refused", func(s *script) {
		s.make("/a", "/a/b")
		s.remove("/a", -1)
		s.remove("/a/b", 7)
		s.remove("/a", 7)
		s.remove("/none", -1)
		s.remove("/none/none", -1)
		s.create("/z", 0)
		s.look("/z")
	}},
	{"delete what nobody may", func(s *script) {
		for _, p := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/none"} {
			s.tell(p, s.c.Delete(p, -1))
		}
	}},
	{"delete and make anew", func(s *script) {
		s.make("/a")
		s.set("/a", "x", 0)
		s.remove("/a", 1)
		s.create("/a", 0)
		s.look("/a")
	}},
	{"set", func(s *script) {
		s.make("/a")
		s.set("/a", "long", 0)
		s.set("/a", "x", 1)
		s.set("/a", "", -1)
		s.look("/a")
		s.look("")
	}},
	{"set refused", func(s *script) {
		s.make("/a")
		s.set("/a", "x", 3)
		s.set("/none", "x", -1)
		s.set("/none", "x", 0)
		s.look("/a")
	}},
	{"config is read only", func(s *script) {
		_, err := s.c.Set("/zookeeper/config", nil, -1)
		s.tell("set", err)
	}},
	{"reads of nothing", func(s *script) {
		s.look("/none")
		_, st, err := s.c.Get(s.at("/none"))
		s.tell("get", st, err)
		s.list("/none")
		acl, _, err := s.c.GetACL(s.at("/none"))
		s.tell("acl", acl, err)
		s.create("/a", 0)
		s.look("/a")
	}},
	{"children", func(s *script) {
		s.make("/a", "/b", "/c", "/c/d")
		s.remove("/b", -1)
		s.list("")
		s.list("/c")
		s.list("/a")
		s.set("/c", "x", -1)
		s.list("")
	}},
	{"sync", func(s *script) {
		p, err := s.c.Sync(s.dir)
		s.tell("sync", p, err)
		p, err = s.c.Sync("/none")
		s.tell("sync nothing", p, err)
		s.create("/a", 0)
		s.look("/a")
	}},
	{"acl of an open node", func(s *script) {
		acl, st, err := s.c.GetACL(s.dir)
		s.tell("acl", acl, st, err)
		acl, _, err = s.c.GetACL("/zookeeper/config")
		s.tell("config", acl, err)
	}},
	{"acl versions", func(s *script) {
		s.make("/a")
		ro := zk.WorldACL(zk.PermRead | zk.PermAdmin)
		for _, v := range []int32{3, 0, 0, 1, -1} {
			st, err := s.c.SetACL(s.at("/a"), ro, v)
			s.tell("set acl", v, st, err)
		}
		s.everywhere()
		s.set("/a", "x", -1)
		s.look("/a")
		_, err := s.c.SetACL(s.at("/none"), ro, -1)
		s.tell("none", err)
	}},
	{"acl refused", func(s *script) {
		for _, acl := range [][]zk.ACL{nil, {}, {{Perms: 31, Scheme: "auth"}}, {{Perms: 31, Scheme: "none", ID: "x"}},
			{{Perms: 31, Scheme: "digest", ID: "nocolon"}}, {{Perms: 31, Scheme: "world", ID: "me"}},
			{{Perms: 31, Scheme: "ip", ID: "x"}}} {
			_, err := s.c.Create(s.at("/a"), nil, 0, acl)
			s.tell("create", acl, err)
			_, err = s.c.SetACL(s.dir, acl, -1)
			s.tell("set", acl, err)
		}
		_, err := s.c.Create(s.at("/none/a"), nil, 0, nil)
		s.tell("before the parent is looked for", err)
	}},
	{"acl named twice", func(s *script) {
		_, err := s.c.Create(s.at("/a"), nil, 0, append(zk.WorldACL(1), zk.WorldACL(1)...))
		s.tell("create", err)
		acl, st, err := s.c.GetACL(s.at("/a"))
		s.tell("acl", acl, st, err)
	}},
	{"auth", func(s *script) {
		s.tell("auth", s.c.AddAuth("digest", []byte("me:secret")))
		_, err := s.c.Create(s.at("/mine"), []byte("d"), 0, append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...))
		s.tell("create", err)
		s.make("/open")
		acl, _, err := s.c.GetACL(s.at("/mine"))
		s.tell("acl", acl, err)
		_, err = s.c.Create(s.at("/mine/kid"), nil, 0, zk.DigestACL(zk.PermAll, "me", "secret"))
		s.tell("kid", err)
		other := s.session()
		acl, _, err = other.GetACL(s.at("/mine"))
		s.tell("other reads the acl", acl, err)
		_, _, err = other.Get(s.at("/mine"))
		s.tell("other reads", err)
		_, err = other.Set(s.at("/mine"), nil, -1)
		s.tell("other writes", err)
		_, err = other.Create(s.at("/mine/x"), nil, 0, open)
		s.tell("other creates", err)
		s.tell("other deletes the kid", other.Delete(s.at("/mine/kid"), -1))
		s.tell("other deletes nothing", other.Delete(s.at("/mine/none"), -1))
		_, err = other.SetACL(s.at("/mine"), open, -1)
		s.tell("other sets the acl", err)
		_, _, err = other.Get(s.at("/mine/kid"))
		s.tell("other reads the kid", err)
		_, _, err = other.Children(s.at("/mine/kid"))
		s.tell("other lists the kid", err)
		_, _, err = other.GetACL(s.at("/mine/kid"))
		s.tell("other reads the kid's acl", err)
		res, err := other.Multi(&zk.CheckVersionRequest{Path: s.at("/mine/kid"), Version: -1})
		s.tell("other checks the kid", res, err)
		s.tell("other deletes mine, whose parent is open", other.Delete(s.at("/mine"), -1))
		s.tell("other proves itself", other.AddAuth("digest", []byte("me:secret")))
		_, _, err = other.Get(s.at("/mine/kid"))
		s.tell("other reads the kid", err)
	}},
	{"auth of an unknown scheme", func(s *script) {
		s.tell("auth", s.c.AddAuth("none", []byte("x")))
	}},
	{"multi", func(s *script) {
		s.make("/a", "/gone")
		res, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/b"), Acl: open},
			&zk.SetDataRequest{Path: s.at("/a"), Data: []byte("x"), Version: 0},
			&zk.CheckVersionRequest{Path: s.at("/a"), Version: 1}, &zk.DeleteRequest{Path: s.at("/gone"), Version: -1})
		s.tell("multi", res, err)
		s.look("/b")
		s.look("/a")
		s.look("/gone")
		s.look("")
	}},
	{"multi of nothing", func(s *script) {
		res, err := s.c.Multi()
		s.tell("multi", res, err)
		s.create("/a", 0)
		s.look("/a")
	}},
	{"multi of one check", func(s *script) {
		s.make("/a")
		for _, v := range []int32{0, -1, 5} {
			res, err := s.c.Multi(&zk.CheckVersionRequest{Path: s.at("/a"), Version: v})
			s.tell("check", v, res, err)
		}
		res, err := s.c.Multi(&zk.CheckVersionRequest{Path: s.at("/none"), Version: -1})
		s.tell("check none", res, err)
		s.look("/a")
		s.create("/z", 0)
		s.look("/z")
	}},
	{"multi fails", func(s *script) {
		s.make("/a", "/a/b")
		ok := &zk.SetDataRequest{Path: s.at("/a"), Data: []byte("no"), Version: -1}
		for _, bad := range []any{&zk.CreateRequest{Path: s.at("/a"), Acl: open},
			&zk.DeleteRequest{Path: s.at("/a"), Version: -1},
			&zk.SetDataRequest{Path: s.at("/a"), Version: 9}, &zk.CheckVersionRequest{Path: s.at("/none")},
			&zk.CreateRequest{Path: s.at("/x/y"), Acl: open}, &zk.CreateRequest{Path: s.at("/x")}} {
			for _, ops := range [][]any{{bad}, {bad, ok, ok}, {ok, bad, ok}, {ok, ok, bad}} {
				res, err := s.c.Multi(ops...)
				s.tell("multi", res, err)
			}
		}
		s.look("/a")
		s.create("/z", 0)
		s.look("/z")
	}},
	{"multi builds on itself", func(s *script) {
		res, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/a"), Acl: open},
			&zk.CreateRequest{Path: s.at("/a/b"), Acl: open},
			&zk.SetDataRequest{Path: s.at("/a/b"), Data: []byte("x"), Version: 0},
			&zk.CheckVersionRequest{Path: s.at("/a/b"), Version: 1},
			&zk.DeleteRequest{Path: s.at("/a/b"), Version: 1},
			&zk.CreateRequest{Path: s.at("/a/b"), Acl: open, Flags: 1})
		s.tell("multi", res, err)
		s.look("/a")
		s.look("/a/b")
	}},
	{"multi sequence", func(s *script) {
		seq := &zk.CreateRequest{Path: s.at("/n-"), Acl: open, Flags: zk.FlagEphemeralSequential}
		res, err := s.c.Multi(seq, seq)
		s.tell("multi", res, err)
		res, err = s.c.Multi(seq, seq, &zk.CheckVersionRequest{Path: s.at("/none")})
		s.tell("failed", res, err)
		s.create("/n-", 3)
		s.look("")
		s.list("")
	}},
	{"multi with a container flag", func(s *script) {
		res, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/c"), Acl: open, Flags: zk.FlagContainer})
		s.tell("multi", res, err)
		s.look("/c")
	}},
	{"multi with a wrong flag", func(s *script) {
		res, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/c"), Acl: open, Flags: 99})
		s.tell("wrong", res, err)
		res, err = s.c.Multi(&zk.CreateRequest{Path: s.at("/c"), Acl: open, Flags: zk.FlagTTL})
		s.tell("ttl", res, err)
	}},
	{"multi with wrong paths", func(s *script) {
		for _, p := range []string{"", "x", "x/y", s.at("/"), s.at("//x"), s.at("/../x"), s.at("/a\x01"),
			s.at("/a\x00b"), "/"} {
			for _, op := range []any{&zk.CreateRequest{Path: p, Acl: open}, &zk.DeleteRequest{Path: p, Version: -1},
				&zk.SetDataRequest{Path: p, Version: 5}, &zk.CheckVersionRequest{Path: p, Version: 5}} {
				res, err := s.c.Multi(op)
				s.tell("multi", res, err)
			}
		}
	}},
	{"watch data", func(s *script) {
		s.make("/a")
		_, _, w, _ := s.c.GetW(s.at("/a"))
		s.set("/a", "x", -1)
		s.tell("event", s.event(w))
		_, _, w, _ = s.c.GetW(s.at("/a"))
		s.remove("/a", -1)
		s.tell("event", s.event(w))
		_, _, _, err := s.c.GetW(s.at("/a"))
		s.tell("none", err)
	}},
	{"watch existence", func(s *script) {
		_, _, w, err := s.c.ExistsW(s.at("/a"))
		s.tell("watch", err)
		s.create("/a", 0)
		s.tell("event", s.event(w))
		_, _, w, _ = s.c.ExistsW(s.at("/a"))
		s.set("/a", "x", -1)
		s.tell("event", s.event(w))
		_, _, w, _ = s.c.ExistsW(s.at("/a"))
		s.remove("/a", -1)
		s.tell("event", s.event(w))
	}},
	{"watch children", func(s *script) {
		_, _, w, _ := s.c.ChildrenW(s.dir)
		s.create("/a", 0)
		s.tell("event", s.event(w))
		_, _, w, _ = s.c.ChildrenW(s.dir)
		s.set("/a", "x", -1)
		s.tell("a child's data", s.eventSoFar(w))
		s.create("/a/deep", 0)
		s.tell("a child's child", s.eventSoFar(w))
		s.remove("/a/deep", -1)
		s.remove("/a", -1)
		s.tell("event", s.event(w))
		s.make("/b")
		_, _, w, _ = s.c.ChildrenW(s.at("/b"))
		s.remove("/b", -1)
		s.tell("event", s.event(w))
	}},
	{"watches fire once", func(s *script) {
		s.make("/a")
		_, _, w, _ := s.c.GetW(s.at("/a"))
		_, _, w2, _ := s.c.GetW(s.at("/a"))
		s.set("/a", "x", -1)
		s.tell("both", s.event(w), s.event(w2))
		s.set("/a", "y", -1)
		s.tell("again", s.eventSoFar(w))
	}},
	{"data and child watch of a node that goes", func(s *script) {
		s.make("/a")
		_, _, d, _ := s.c.GetW(s.at("/a"))
		_, _, k, _ := s.c.ChildrenW(s.at("/a"))
		_, _, p, _ := s.c.ChildrenW(s.dir)
		s.remove("/a", -1)
		s.tell("events", s.event(d), s.event(k), s.event(p))
	}},
	{"watch comes before the read that shows the change", func(s *script) {
		s.make("/a")
		other := s.session()
		_, _, w, _ := other.GetW(s.at("/a"))
		s.set("/a", "x", -1)
		_, _ = other.Sync(s.dir)
		d, _, err := other.Get(s.at("/a"))
		s.tell("read", d, err)
		s.tell("event", s.eventSoFar(w))
	}},
	{"check and acl fire no watch", func(s *script) {
		s.make("/a")
		_, _, w, _ := s.c.GetW(s.at("/a"))
		_, _ = s.c.Multi(&zk.CheckVersionRequest{Path: s.at("/a"), Version: 0})
		_, _ = s.c.SetACL(s.at("/a"), open, -1)
		s.look("/a")
		s.tell("event", s.eventSoFar(w))
	}},
	{"multi fires watches", func(s *script) {
		s.make("/a")
		_, _, d, _ := s.c.GetW(s.at("/a"))
		_, _, x, _ := s.c.ExistsW(s.at("/b"))
		_, _, k, _ := s.c.ChildrenW(s.dir)
		set := &zk.SetDataRequest{Path: s.at("/a"), Version: -1}
		_, _ = s.c.Multi(set, &zk.CheckVersionRequest{Path: s.at("/none")})
		s.tell("failed", s.eventSoFar(d))
		_, _ = s.c.Multi(set, &zk.CreateRequest{Path: s.at("/b"), Acl: open})
		s.tell("done", s.event(d), s.event(x), s.event(k))
	}},
	{"watch of what may not be read", func(s *script) {
		s.tell("auth", s.c.AddAuth("digest", []byte("me:secret")))
		other := s.session()
		_, _, w, err := other.ExistsW(s.at("/mine"))
		s.tell("watch", err)
		_, err = s.c.Create(s.at("/mine"), nil, 0, zk.AuthACL(zk.PermAll))
		s.tell("create", err)
		_, _ = other.Sync(s.dir)
		s.tell("event", s.eventSoFar(w))
	}},
	// Refused since 3.8.4 and 3.9.2: see zksim.Config.OpenExists.
	{"existence of what may not be read", func(s *script) {
		s.tell("auth", s.c.AddAuth("digest", []byte("me:secret")))
		_, err := s.c.Create(s.at("/mine"), nil, 0, zk.AuthACL(zk.PermAll))
		s.tell("create", err)
		other := s.session()
		s.everywhere()
		for _, p := range []string{"/mine", "/none"} {
			found, _, err := other.Exists(s.at(p))
			s.tell(p, found, err)
		}
		_, err = other.Create(s.at("/mine/kid"), nil, 0, open)
		s.tell("below", err)
		_, err = other.Create(s.at("/none/kid"), nil, 0, open)
		s.tell("below none", err)
		_, err = s.c.Create(s.at("/mine/kid"), nil, 0, open)
		s.tell("create", err)
		s.everywhere()
		_, err = other.Create(s.at("/mine/kid"), nil, 0, open)
		s.tell("below, what is there", err)
	}},
	{"close removes ephemerals", func(s *script) {
		other := s.session()
		for range 3 {
			_, _ = other.Create(s.at("/n-"), nil, 3, open)
		}
		_, _, w, err := s.c.ExistsW(s.at("/n-0000000001"))
		s.tell("watch", err)
		_, st, _ := s.c.Exists(s.at("/n-0000000001"))
		s.tell("stat", st)
		other.Close()
		s.tell("event", s.event(w))
		s.list("")
	}},
	{"others may delete an ephemeral", func(s *script) {
		s.create("/e", 1)
		other := s.session()
		s.tell("delete", other.Delete(s.at("/e"), -1))
		s.create("/e", 1)
		s.look("/e")
	}},
	{"ephemeral of another session", func(s *script) {
		other := s.session()
		_, err := other.Create(s.at("/e"), nil, 1, open)
		s.tell("create", err)
		_, _ = s.c.Sync(s.dir)
		s.look("/e")
		s.create("/e", 1)
	}},
	{"too large", func(s *script) {
		_, err := s.c.Create(s.at("/big"), bytes.Repeat([]byte("x"), 1_200_000), 0, open)
		s.tell("create", err)
	}},
	{"rather large", func(s *script) {
		_, err := s.c.Create(s.at("/big"), bytes.Repeat([]byte("x"), 1_000_000), 0, open)
		s.tell("create", err)
		s.look("/big")
	}},
	{"unicode", func(s *script) { s.create("/größe-選挙", 0); s.list("") }},
	{"root", func(s *script) {
		_, err := s.c.Create("/", nil, 0, open)
		s.tell("create", err)
		_, st, err := s.c.Get("/")
		s.tell("owner", st.EphemeralOwner, st.Czxid, err)
	}},
}
