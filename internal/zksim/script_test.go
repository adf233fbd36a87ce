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

// script plays one scenario. It sends requests through real clients and records the
// answers, in a form that does not depend on the server or the run. Zxids count from the
// scenario's own directory, so that zxids used up by failed writes are compared, too.
// Sessions are numbered in the order in which they are opened.
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

// begin makes the scenario's own directory, or writes to the prepared one. The zxid of
// that write is the base of all others.
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

// back waits until the first session is connected again, because a scenario may have
// broken its connection. A session that is closed without a connection expires later,
// among another scenario's transactions.
func (s *script) back() {
	var err error
	for range 100 {
		if _, _, err = s.c.Exists("/"); err == nil {
			return
		}
	}
	require.NoError(s.t, err)
}

// everywhere waits until all servers have applied what was answered. A follower answers
// as soon as it has applied a transaction itself. The leader may be later, and it checks
// writes by the ACLs that it has applied: a pending change still carries the old ones
// (PrepRequestProcessor.pRequest2Txn, setACL).
func (s *script) everywhere() {
	if s.site.settle != nil {
		s.site.settle(s.t)
	}
}

// session opens another session.
func (s *script) session() *zk.Conn {
	return s.sessionThrough(&gate{dial: s.site.dial}, 10*time.Second)
}

// sessionThrough opens a session whose connection the scenario can break.
func (s *script) sessionThrough(g *gate, timeout time.Duration) *zk.Conn {
	c := s.site.client(s.t, g, timeout)
	s.names[c.SessionID()] = fmt.Sprintf("session %d", len(s.names)+1)
	return c
}

func (s *script) at(path string) string { return s.dir + path }

// tell records an answer.
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
	return fmt.Sprintf("c%s m%s p%s v%d cv%d av%d len%d kids%d touched:%v %s", s.since(st.Czxid), s.since(st.Mzxid),
		s.since(st.Pzxid), st.Version, st.Cversion, st.Aversion, st.DataLength, st.NumChildren, st.Mtime >= st.Ctime,
		owner)
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

// event waits for a watch's event. If none is due, it records whether one came
// nevertheless. The caller must have had a later reply in the same session then.
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

// make creates nodes without recording that.
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
