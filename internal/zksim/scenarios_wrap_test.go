package zksim_test

import (
	"github.com/go-zookeeper/zk"
)

// starts are what the counter of a directory's children may stand at around its wrap. No client could bring a real server
// there in a test's time, so both sites are prepared: the real one by its first snapshot (zktest.WithCounters), zksim
// by SetCversion.
var starts = []struct {
	name    string
	counter int32
}{
	{"two below the full counter", 1<<31 - 3},
	{"one below the full counter", 1<<31 - 2},
	{"the full counter", 1<<31 - 1},
	{"the least counter", -1 << 31},
	{"two below zero", -2},
}

// wraps are played from each of the starts.
var wraps = []scenario{
	{"sequence from ", func(s *script) {
		for range 4 {
			s.create("/n-", zk.FlagSequence)
			s.look("")
		}
		s.create("/plain", 0)
		s.create("/n-", zk.FlagEphemeralSequential)
		s.list("")
	}},
	{"plain creates from ", func(s *script) {
		for _, name := range []string{"/a", "/b", "/c"} {
			s.create(name, 0)
			s.look("")
		}
		s.create("/n-", zk.FlagSequence)
		s.look("/n-2147483647")
	}},
	{"multi from ", func(s *script) {
		seq := &zk.CreateRequest{Path: s.at("/n-"), Acl: open, Flags: zk.FlagEphemeralSequential}
		res, err := s.c.Multi(seq, seq, seq, &zk.CheckVersionRequest{Path: s.at("/none")})
		s.tell("failed", res, err)
		s.look("")
		for range 2 {
			res, err = s.c.Multi(seq, seq, seq)
			s.tell("multi", res, err)
			s.look("")
		}
		s.create("/n-", zk.FlagEphemeralSequential)
		s.list("")
	}},
	{"creates and deletes from ", func(s *script) {
		for range 4 {
			p, err := s.c.Create(s.at("/n-"), nil, zk.FlagSequence, open)
			s.tell("create", p, err)
			if err == nil {
				s.tell("delete", s.c.Delete(p, -1))
			}
			s.look("")
		}
	}},
}

func wrapScenarios() (all []scenario) {
	for _, at := range starts {
		for _, sc := range wraps {
			all = append(all, scenario{sc.name + at.name, sc.run})
		}
	}
	return all
}

// counters are what a site has to be prepared with, by path.
func counters() map[string]int32 {
	all := make(map[string]int32)
	for _, at := range starts {
		for _, sc := range wraps {
			all[scenario{name: sc.name + at.name}.dir()] = at.counter
		}
	}
	return all
}
