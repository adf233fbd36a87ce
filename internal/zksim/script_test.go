package zksim_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// script is one scenario on its way: it asks through real clients and writes down the answers, in
// a form that two runs on any two servers share. Zxids count from the scenario's own directory, so
// that even what a failed write consumes is compared; sessions are called by the order of opening.
type script struct {
	t       *testing.T
	site    site
	c       *zk.Conn // the first session
	dir     string
	base    int64
	names   map[int64]string
	answers []string
}

var open = zk.WorldACL(zk.PermAll)

// play runs a scenario at a site.
func play(t *testing.T, sc scenario, at site) []string {
	s := &script{t: t, site: at, dir: sc.dir(), names: make(map[int64]string)}
	s.c = s.session()
	s.begin()
	sc.run(s)
	s.back()
	return s.answers
}

// begin makes the scenario's own directory, or writes to the one that the site was prepared with: its zxid is the base.
func (s *script) begin() {
	if _, prepared := counters()[s.dir]; !prepared {
		_, err := s.c.Create(s.dir, nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(s.t, err)
		_, st, err := s.c.Exists(s.dir)
		require.NoError(s.t, err)
		s.base = st.Czxid
		return
	}
	st, err := s.c.Set(s.dir, nil, 0)
	require.NoError(s.t, err)
	s.base = st.Mzxid
}

// back waits until the first session is connected again, for a scenario may have cost it its connection. A session that
// is closed without one expires some time later, among another scenario's transactions.
func (s *script) back() {
	var err error
	for range 100 {
		if _, _, err = s.c.Exists("/"); err == nil {
			return
		}
	}
	require.NoError(s.t, err)
}

// everywhere waits until what was answered is true on all servers. A follower answers as soon as it has applied a
// transaction itself, and the leader, which may be later, checks writes by the ACLs that it has applied: a change that
// is on its way still bears the old ones there (PrepRequestProcessor.pRequest2Txn, setACL).
func (s *script) everywhere() {
	if s.site.settle != nil {
		s.site.settle(s.t)
	}
}

// session opens one more.
func (s *script) session() *zk.Conn {
	return s.sessionThrough(&gate{dial: s.site.dial}, 10*time.Second)
}

// sessionThrough opens one whose connection the scenario can break.
func (s *script) sessionThrough(g *gate, timeout time.Duration) *zk.Conn {
	c := s.site.client(s.t, g, timeout)
	s.names[c.SessionID()] = fmt.Sprintf("session %d", len(s.names)+1)
	return c
}

func (s *script) at(path string) string { return s.dir + path }

// tell writes an answer down.
func (s *script) tell(what string, parts ...any) {
	line := what + ":"
	for _, p := range parts {
		line += " " + s.text(p)
	}
	s.answers = append(s.answers, strings.ReplaceAll(line, s.dir, "~"))
}

func (s *script) text(p any) string {
	switch p := p.(type) {
	case nil:
		return "ok"
	case error:
		if errors.Is(p, zk.ErrConnectionClosed) {
			return "connection lost"
		}
		return p.Error()
	case *zk.Stat:
		return s.stat(p)
	case []string:
		return fmt.Sprint(slices.Sorted(slices.Values(p)))
	case []byte:
		return fmt.Sprintf("%q", p)
	case zk.Event:
		return fmt.Sprintf("%v %s", p.Type, p.Path)
	case []zk.MultiResponse:
		return s.multi(p)
	}
	return fmt.Sprint(p)
}

func (s *script) stat(st *zk.Stat) string {
	if st == nil || *st == (zk.Stat{}) {
		return "no stat"
	}
	owner := "nobody"
	if st.EphemeralOwner != 0 {
		owner = s.names[st.EphemeralOwner]
	}
	return fmt.Sprintf("c%s m%s p%s v%d cv%d av%d len%d kids%d touched:%v %s", s.since(st.Czxid), s.since(st.Mzxid), s.since(st.Pzxid),
		st.Version, st.Cversion, st.Aversion, st.DataLength, st.NumChildren, st.Mtime >= st.Ctime, owner)
}

func (s *script) since(zxid int64) string {
	if zxid < s.base {
		return "before"
	}
	return fmt.Sprint("+", zxid-s.base)
}

func (s *script) multi(res []zk.MultiResponse) string {
	var parts []string
	for _, r := range res {
		switch {
		case r.Error != nil:
			parts = append(parts, r.Error.Error())
		case r.Stat != nil:
			parts = append(parts, s.stat(r.Stat))
		default:
			parts = append(parts, "ok"+r.String)
		}
	}
	return "[" + strings.Join(parts, " | ") + "]"
}

// event waits for a watch; told that none is due, it says whether one came all the same, which
// needs a reply of the same session to have come after.
func (s *script) event(w <-chan zk.Event) any {
	select {
	case ev := <-w:
		return ev
	case <-time.After(20 * time.Second):
		return "no event"
	}
}

func (s *script) eventSoFar(w <-chan zk.Event) any {
	select {
	case ev := <-w:
		return ev
	default:
		return "no event"
	}
}

// make creates nodes without writing that down.
func (s *script) make(paths ...string) {
	for _, p := range paths {
		_, err := s.c.Create(s.at(p), []byte("v"), 0, zk.WorldACL(zk.PermAll))
		require.NoError(s.t, err)
	}
}

func (s *script) create(path string, flags int32) {
	p, err := s.c.Create(s.at(path), []byte("data"), flags, zk.WorldACL(zk.PermAll))
	s.tell(fmt.Sprintf("create %s %d", path, flags), p, err)
}

func (s *script) look(path string) {
	_, st, err := s.c.Exists(s.at(path))
	s.tell("exists "+path, st, err)
}

func (s *script) remove(path string, version int32) {
	s.tell(fmt.Sprintf("delete %s at %d", path, version), s.c.Delete(s.at(path), version))
}

func (s *script) set(path, data string, version int32) {
	st, err := s.c.Set(s.at(path), []byte(data), version)
	s.tell(fmt.Sprintf("set %s at %d", path, version), st, err)
}

func (s *script) list(path string) {
	kids, st, err := s.c.Children(s.at(path))
	s.tell("children "+path, kids, st, err)
}
