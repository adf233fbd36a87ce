package zksim_test

import (
	"github.com/go-zookeeper/zk"
)

// starts are values of a directory's child counter around its wrap. No client could reach
// them in a test's time, so both sites are prepared: the real one by its first snapshot
// (zktest.WithCounters), and zksim by SetCversion.
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

// wraps are played from each of the starts. After each write they wait until the leader
// has applied it, too. At the wrap, the name of the next child depends on that: while the
// change record of the last write is pending, its counter is used
// (PrepRequestProcessor.getRecordForPath). Afterwards the znode's counter is used, which
// never goes back (DataTree.createNode).
var wraps = []scenario{
	{"sequence from ", func(s *script) {
		for range 4 {
			s.create("/n-", zk.FlagSequence)
			s.lookSettled()
		}
		s.create("/plain", 0)
		s.everywhere()
		s.create("/n-", zk.FlagEphemeralSequential)
		s.list("")
	}},
	{"plain creates from ", func(s *script) {
		for _, name := range []string{"/a", "/b", "/c"} {
			s.create(name, 0)
			s.lookSettled()
		}
		s.create("/n-", zk.FlagSequence)
		s.look("/n-2147483647")
	}},
	{"multi from ", func(s *script) {
		seq := &zk.CreateRequest{Path: s.at("/n-"), Acl: open, Flags: zk.FlagEphemeralSequential}
		res, err := s.c.Multi(seq, seq, seq, &zk.CheckVersionRequest{Path: s.at("/none")})
		s.tell("failed", res, err)
		s.lookSettled()
		for range 2 {
			res, err = s.c.Multi(seq, seq, seq)
			s.tell("multi", res, err)
			s.lookSettled()
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
			s.lookSettled()
		}
	}},
}

// lookSettled records the directory once all servers agree.
func (s *script) lookSettled() {
	s.everywhere()
	s.look("")
}

func wrapScenarios() (all []scenario) {
	for _, at := range starts {
		for _, sc := range wraps {
			all = append(all, scenario{sc.name + at.name, sc.run})
		}
	}
	return all
}

// counters returns the counters that a site must be prepared with, by path.
func counters() map[string]int32 {
	all := make(map[string]int32)
	for _, at := range starts {
		for _, sc := range wraps {
			all[scenario{name: sc.name + at.name}.dir()] = at.counter
		}
	}
	return all
}
