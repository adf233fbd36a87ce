package zksim_test

import (
	"github.com/go-zookeeper/zk"
)

// lineScenarios test what an election uses: sequence numbers, containers, transactions,
// and their stats.
var lineScenarios = []scenario{
	{"sequence starts again in a parent made anew", func(s *script) {
		s.make("/p")
		s.create("/p/n-", 2)
		s.create("/p/n-", 2)
		s.remove("/p/n-0000000000", -1)
		s.remove("/p/n-0000000001", -1)
		s.create("/p/n-", 2)
		s.remove("/p/n-0000000002", -1)
		s.remove("/p", -1)
		s.make("/p")
		s.create("/p/n-", 2)
		s.look("/p")
	}},
	{"sequence counts for all stems and sessions", func(s *script) {
		other := s.session()
		for _, stem := range []string{"/a-", "/b-", "/a-"} {
			p, err := other.Create(s.at(stem), nil, 3, open)
			s.tell("other", p, err)
			s.create(stem, 3)
		}
		_, _ = s.c.Sync(s.dir)
		s.list("")
	}},
	{"sequence goes on after its session has closed", func(s *script) {
		other := s.session()
		for range 3 {
			_, _ = other.Create(s.at("/n-"), nil, 3, open)
		}
		other.Close()
		s.create("/n-", 3)
		s.look("")
	}},
	{"sequence is not moved by writes of other kinds", func(s *script) {
		s.make("/a")
		s.set("/a", "x", -1)
		s.set("", "x", -1)
		_, err := s.c.SetACL(s.dir, open, -1)
		s.tell("acl", err)
		_, err = s.c.Multi(&zk.CheckVersionRequest{Path: s.at("/a"), Version: -1})
		s.tell("check", err)
		s.create("/n-", 2)
		s.look("")
	}},
	{"sequence with digits in its stem", func(s *script) {
		s.create("/9", 2)
		s.create("/n--", 2)
		s.create("/2147483648-", 3)
		s.list("")
	}},
	{"container is removed with its last child", func(s *script) {
		_, err := s.c.CreateContainer(s.at("/c"), nil, zk.FlagContainer, open)
		s.tell("container", err)
		s.create("/c/n-", 3)
		s.create("/c/n-", 3)
		s.remove("/c/n-0000000000", -1)
		s.swept("/c", "/c/n-0000000001")
		s.look("/c")
		s.look("")
	}},
	{"container that is made again counts from zero", func(s *script) {
		for range 2 {
			_, err := s.c.CreateContainer(s.at("/c"), nil, zk.FlagContainer, open)
			s.tell("container", err)
			s.create("/c/n-", 3)
			s.swept("/c", "/c/n-0000000000")
		}
	}},
	{"container in a container", func(s *script) {
		for _, p := range []string{"/c", "/c/d"} {
			_, err := s.c.CreateContainer(s.at(p), nil, zk.FlagContainer, open)
			s.tell("container", err)
		}
		s.create("/c/d/kid", 0)
		_, _, outer, _ := s.c.ExistsW(s.at("/c"))
		s.swept("/c/d", "/c/d/kid")
		s.tell("outer", s.event(outer))
		s.look("")
	}},
	{"container that never had a child stays", func(s *script) {
		for _, p := range []string{"/never", "/once"} {
			_, err := s.c.CreateContainer(s.at(p), nil, zk.FlagContainer, open)
			s.tell("container", err)
		}
		s.create("/once/kid", 0)
		s.swept("/once", "/once/kid") // and the sweep that removed it left the other
		s.look("/never")
		s.remove("/never", 0)
	}},
	{"multi changes one node twice", func(s *script) {
		s.make("/a")
		set := func(v int32) any {
			return &zk.SetDataRequest{Path: s.at("/a"), Data: []byte("xy"), Version: v}
		}
		res, err := s.c.Multi(set(0), set(1), set(2))
		s.tell("multi", res, err)
		res, err = s.c.Multi(set(3), set(3))
		s.tell("stale", res, err)
		s.look("/a")
	}},
	{"multi deletes and makes anew", func(s *script) {
		s.create("/e", 1)
		_, _, w, _ := s.c.GetW(s.at("/e"))
		res, err := s.c.Multi(&zk.DeleteRequest{Path: s.at("/e"), Version: 0},
			&zk.CreateRequest{Path: s.at("/e"), Acl: open})
		s.tell("multi", res, err)
		s.tell("event", s.event(w))
		s.look("/e")
		s.look("")
	}},
	{"multi under an ephemeral", func(s *script) {
		s.create("/e", 1)
		res, err := s.c.Multi(&zk.CreateRequest{Path: s.at("/a"), Acl: open},
			&zk.CreateRequest{Path: s.at("/e/kid"), Acl: open})
		s.tell("multi", res, err)
		res, err = s.c.Multi(&zk.CreateRequest{Path: s.at("/x"), Acl: open, Flags: 1},
			&zk.CreateRequest{Path: s.at("/x/y"), Acl: open})
		s.tell("its own", res, err)
		s.list("")
		s.look("")
	}},
	{"multi refused by an acl", func(s *script) {
		s.make("/a")
		_, err := s.c.SetACL(s.at("/a"), zk.WorldACL(zk.PermRead), -1)
		s.tell("acl", err)
		s.everywhere()
		for _, bad := range []any{&zk.SetDataRequest{Path: s.at("/a"), Version: -1},
			&zk.CreateRequest{Path: s.at("/a/b"), Acl: open},
			&zk.DeleteRequest{Path: s.at("/a/b"), Version: -1}} {
			res, err := s.c.Multi(&zk.SetDataRequest{Path: s.dir, Version: -1}, bad)
			s.tell("multi", res, err)
		}
		s.look("")
	}},
	{"stat of a parent through its children's lives", func(s *script) {
		s.make("/p")
		s.create("/p/a", 0)
		s.look("/p")
		s.create("/p/b", 1)
		s.look("/p")
		s.set("/p/a", "longer", 0)
		s.look("/p")
		s.create("/p/a/deep", 0)
		s.look("/p")
		s.remove("/p/b", -1)
		s.look("/p")
		s.remove("/p/a/deep", -1)
		s.remove("/p/a", 1)
		s.look("/p")
		s.list("/p")
	}},
	{"stat in every answer", func(s *script) {
		s.create("/a", 1)
		set, err := s.c.Set(s.at("/a"), []byte("four"), 0)
		s.tell("set", set, err)
		acl, err := s.c.SetACL(s.at("/a"), open, 0)
		s.tell("acl", acl, err)
		_, get, err := s.c.Get(s.at("/a"))
		s.tell("get", get, *get == *acl, err)
		_, kids, err := s.c.Children(s.at("/a"))
		s.tell("children", *kids == *get, err)
		_, is, err := s.c.Exists(s.at("/a"))
		s.tell("exists", *is == *get, err)
	}},
}

// swept deletes a container's last child and waits until the server removes the
// container.
func (s *script) swept(container, last string) {
	_, _, w, err := s.c.GetW(s.at(container))
	s.tell("watch "+container, err)
	s.remove(last, -1)
	s.tell("swept "+container, s.event(w))
}
