package interop

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
	"github.com/zkelection/election/internal/znode"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests of the kinds mostly wait for sessions to expire. So all kinds may run at
	// the same time, on any machine.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(strconv.Itoa(len(kinds))); err != nil {
			panic(err)
		}
	}
	os.Exit(Main(func() int { return zktest.Main(m) }))
}

const (
	// timeout is the timeout of all sessions. It is much longer than the least that the
	// server grants, because the processes share a small machine with everything else. A
	// client that hears nothing for two thirds of it gives its connection up, and an
	// election that is disturbed by that proves nothing.
	timeout = 4 * time.Second
	// patience bounds every wait. It does not check how fast anything is, only that
	// nothing hangs.
	patience = 30 * time.Second
)

// seed decides the random choices of a run. Repeat a failed run with -seed.
var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random choices")

// stage has a ZooKeeper, a log of what all processes write, and connections of the test
// itself.
type stage struct {
	*testing.T
	server string
	log    *Log
	conn   *zk.Conn
	client *election.Client
	rng    *rand.Rand
}

func newStage(t *testing.T) *stage {
	zktest.SkipIfShort(t, "Java, Python, their clients of ZooKeeper, and a real ZooKeeper")
	t.Helper()
	require.NoError(t, Require())
	s := &stage{T: t, server: zktest.Shared(t).Addr(), log: NewLog(), rng: rand.New(rand.NewPCG(*seed, 0))}
	t.Logf("repeat with -seed %d", *seed)
	var err error
	s.conn, _, err = zk.Connect([]string{s.server}, 10*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	t.Cleanup(s.conn.Close)
	s.client, err = election.Connect(s.ctx(), s.server, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.client.Close()) })
	return s
}

// ctx ends after patience, or with the test.
func (s *stage) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

// launch starts a process and ends it with the test.
func (s *stage) launch(program Program) *Process {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	p, err := Launch(ctx, program, s.server, timeout, s.log)
	require.NoError(s, err)
	s.Cleanup(func() {
		if s.Failed() {
			p.Dump()
		}
		require.NoError(s, p.Close())
		if s.Failed() {
			s.Logf("%s complained:\n%s", program, p.Complaints())
		}
	})
	return p
}

// stand starts a participant and returns when its znode is the last in line.
func (s *stage) stand(p *Process, id, path string, linger time.Duration) {
	s.Helper()
	require.NoError(s, p.Start(id, path, linger))
	s.awaitLine(path, func(line []string) bool { return len(line) > 0 && line[len(line)-1] == id }, id+" at the end")
}

// leave lets a participant leave and returns when it has left.
func (s *stage) leave(p *Process, id string) {
	s.Helper()
	mark := s.log.Len()
	require.NoError(s, p.Leave(id))
	s.await(mark, id, "closed", "error")
}

func (s *stage) await(mark int, who string, whats ...string) Event {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	e, err := s.log.Await(ctx, mark, who, whats...)
	require.NoError(s, err)
	return e
}

// ask sends a question and returns the answer's text.
func (s *stage) ask(p *Process, answer string, words ...string) string {
	s.Helper()
	mark := s.log.Len()
	require.NoError(s, p.Send(words...))
	e := s.await(mark, words[1], answer, "error")
	require.Equal(s, answer, e.What, "%v", e)
	return e.Text
}

// child is a participant's znode, as the test itself reads it.
type child struct {
	id, name string
	stat     *zk.Stat
}

// line reads the participants at path, in order, and leaves a watch on the children of
// path.
func (s *stage) line(path string) ([]child, <-chan zk.Event) {
	s.Helper()
	names, _, watch, err := s.conn.ChildrenW(path)
	require.NoError(s, err)
	var all []child
	for _, name := range znode.Sort(names) {
		data, stat, err := s.conn.Get(path + "/" + name)
		if err == nil {
			all = append(all, child{string(data), name, stat})
		}
	}
	return all, watch
}

func ids(line []child) []string {
	all := make([]string, len(line))
	for i, c := range line {
		all[i] = c.id
	}
	return all
}

// awaitLine waits until wanted returns true for the IDs in line.
func (s *stage) awaitLine(path string, wanted func(ids []string) bool, what string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for {
		line, watch := s.line(path)
		if wanted(ids(line)) {
			return
		}
		select {
		case <-watch:
		case <-ctx.Done():
			events, _ := s.log.Since(max(0, s.log.Len()-30))
			require.FailNow(s, "the line is "+strings.Join(ids(line), " "), "not: %s\n%v", what, events)
		}
	}
}

// node finds a participant's znode.
func (s *stage) node(path, id string) (name string, stat *zk.Stat) {
	s.Helper()
	line, _ := s.line(path)
	for _, c := range line {
		if c.id == id {
			return path + "/" + c.name, c.stat
		}
	}
	require.FailNow(s, "no znode of "+id, "at %s: %v", path, ids(line))
	return "", nil
}

// makePath creates path from persistent znodes, because LeaderElectionSupport does not
// create its path.
func (s *stage) makePath(path string) {
	s.Helper()
	for _, p := range append(znode.Parents(path), path) {
		if _, err := s.conn.Create(p, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
			require.ErrorIs(s, err, zk.ErrNodeExists, p)
		}
	}
}

// path creates the path of an election that only this test uses.
func (s *stage) path(format string, args ...any) string {
	name := strings.NewReplacer("/", "-", " ", "-").Replace(s.Name())
	path := fmt.Sprintf("/interop/%s-%d/"+format, append([]any{name, Now()}, args...)...)
	s.makePath(path)
	return path
}

// watched waits until a participant has a watch on a znode.
func (s *stage) watched(node, who string) {
	s.Helper()
	s.watching(node, who, true)
}

// unwatched waits until a participant has no watch on a znode.
func (s *stage) unwatched(node, who string) {
	s.Helper()
	s.watching(node, who, false)
}

// watching asks the server again and again, because there is no event to wait for.
func (s *stage) watching(node, who string, want bool) {
	s.Helper()
	_, stat := s.node(node[:strings.LastIndexByte(node, '/')], who)
	require.Eventually(s, func() bool {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		answer, err := zktest.FourLetterAt(ctx, s.server, "wchp")
		return err == nil && watches(answer, node, stat.EphemeralOwner) == want
	}, patience, 10*time.Millisecond, "%s watches %s: not %v", who, node, want)
}

// watches reads the answer to wchp. It has a line for each znode, each followed by one
// line for each session that watches it. Lines of sessions begin with a tab.
func watches(answer, node string, session int64) bool {
	_, rest, _ := strings.Cut("\n"+answer, "\n"+node+"\n")
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "\t") {
			break
		}
		if strings.TrimSpace(line) == fmt.Sprintf("%#x", session) {
			return true
		}
	}
	return false
}
