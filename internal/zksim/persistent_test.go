package zksim_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

// The types of watches that 3.9 added (Watcher.WatcherType).
const persistentWatch, recursiveWatch = int32(4), int32(5)

// newerScenarios get other answers from 3.8, where a connection has only one mode for
// each path.
var newerScenarios = []scenario{
	{"newer: standard and persistent watch of one path", func(s *script) {
		s.make("/a")
		for _, mode := range []int32{stays, recursive} {
			w := s.wire(0, hello{timeout: 5_000})
			s.tell("watch", w.ask(3, s.at("/a"), true), w.ask(8, s.at("/a"), true), w.ask(addWatch, s.at("/a"), mode))
			s.changed("/a")
			s.heard(w)
			s.tell("watch", w.ask(3, s.at("/a"), true), w.ask(8, s.at("/a"), true))
			s.changed("/a")
			s.changed("/a")
			s.heard(w)
			w.bye()
		}
	}},
	{"newer: persistent and recursive watch of one path", func(s *script) {
		s.make("/a")
		for _, first := range []int32{stays, recursive} {
			w := s.wire(0, hello{timeout: 5_000})
			s.tell("add", w.ask(addWatch, s.at("/a"), first), w.ask(addWatch, s.at("/a"), 1-first))
			s.changed("/a")
			s.heard(w)
			w.bye()
		}
	}},
	{"newer: remove watches by type", func(s *script) {
		s.make("/a")
		for _, kind := range []int32{kidWatch, dataWatch, anyWatch, persistentWatch, recursiveWatch} {
			w := s.wire(0, hello{timeout: 5_000})
			s.tell("watch", w.ask(3, s.at("/a"), true), w.ask(8, s.at("/a"), true), w.ask(addWatch, s.at("/a"), stays),
				w.ask(addWatch, s.at("/a"), recursive))
			s.tell("remove", kind, w.ask(removeWatches, s.at("/a"), kind), w.ask(removeWatches, s.at("/a"), kind))
			s.checked(w, "/a")
			s.changed("/a")
			s.changed("/a")
			s.heard(w)
			w.bye()
		}
	}},
	{"newer: check watches by type", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.checked(w, "/a")
		for _, mode := range []int32{stays, recursive} {
			s.tell("add", mode, w.ask(addWatch, s.at("/a"), mode))
			s.checked(w, "/a")
			s.tell("remove", w.ask(removeWatches, s.at("/a"), dataWatch), w.ask(removeWatches, s.at("/a"), kidWatch))
			s.tell("remove", w.ask(removeWatches, s.at("/a"), anyWatch))
		}
		other := s.wire(0, hello{timeout: 5_000})
		defer other.bye()
		s.tell("another's", other.ask(addWatch, s.at("/a"), stays))
		s.checked(w, "/a")
	}},
	{"newer: persistent watches set again beside others", func(s *script) {
		s.make("/a")
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		s.tell("set", w.ask(setWatches2, s.stampOf("/a"), list{s.at("/a")}, list{}, list{s.at("/a")},
			list{s.at("/a")}, list{s.at("/a")}))
		s.changed("/a")
		s.changed("/a")
		s.heard(w)
	}},
	{"newer: check stands in a multi only", func(s *script) {
		w := s.wire(0, hello{timeout: 5_000})
		s.tell("check", w.ask(13, s.dir, int32(-1)))
		s.tell("then", w.next())
		s.wire(0, hello{timeout: 5_000, id: w.id, passwd: w.passwd}).bye()
	}},
}

// changed changes the data and the children of a node.
func (s *script) changed(path string) {
	s.set(path, "x", -1)
	s.create(path+"/kid", 0)
	s.remove(path+"/kid", -1)
}

// checked returns which types of watches a connection has on a path.
func (s *script) checked(w *wire, path string) {
	for _, kind := range []int32{kidWatch, dataWatch, anyWatch, persistentWatch, recursiveWatch} {
		s.tell("check "+path, kind, w.ask(checkWatches, s.at(path), kind))
	}
}

// newerAnswers is what ZooKeeper 3.9.3 answers.
const newerAnswers = "testdata/answers-3.9.json"

func TestNewerAnswersAreThoseOfARealZooKeeper(t *testing.T) {
	want := recordedIn(t, newerAnswers)
	require.Len(t, want, len(newerScenarios))
	for _, n := range []int{1, 3} {
		for _, sc := range newerScenarios {
			t.Run(zksim.ServerName(n)+"/"+sc.name, func(t *testing.T) {
				require.Equal(t, want[sc.name], simulated(t, sc, n))
			})
		}
	}
}

var version = regexp.MustCompile(`version: (\d+)\.(\d+)\.(\d+)`)

// atLeast compares the server's version with one.
func atLeast(t *testing.T, addr string, least ...int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	text, err := zktest.FourLetterAt(ctx, addr, "srvr")
	require.NoError(t, err)
	found := version.FindStringSubmatch(text)
	require.NotNil(t, found, text)
	for i, want := range least {
		if n, _ := strconv.Atoi(found[i+1]); n != want {
			return n > want
		}
	}
	return true
}

// If the server is older than 3.9.3, the test logs that, and the answers recorded from a
// newer one must do (TestNewerAnswersAreThoseOfARealZooKeeper).
func TestRealNewerZooKeeperAnswersAsZksimDoes(t *testing.T) {
	addr := zktest.Start(t, realOptions...).Addr()
	if !atLeast(t, addr, 3, 9, 3) {
		t.Log("this ZooKeeper is older than 3.9.3")
		return
	}
	got := make(map[string][]string)
	for _, sc := range newerScenarios {
		t.Run(sc.name, func(t *testing.T) {
			got[sc.name] = play(t, sc, realSite(addr))
			require.Equal(t, got[sc.name], simulated(t, sc, 1), "the original's answers, and zksim's")
		})
	}
	if *record {
		b, err := json.MarshalIndent(got, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(newerAnswers, append(b, '\n'), 0o644))
	}
	require.Equal(t, recordedIn(t, newerAnswers), got)
}

// PathParentIterator ends with the root.
func TestRecursiveWatchOfTheRootHearsOfEverything(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		at := site{servers: []string{e.ConnectString()}, dial: e.Dialer()}
		s := &script{t: t, site: at, c: client(t, e, "a", 10*time.Second), names: make(map[int64]string)}
		w := s.wire(0, hello{timeout: 5_000})
		defer w.bye()
		require.Contains(t, w.ask(addWatch, "/", recursive), "code 0")
		for _, p := range []string{"/a", "/a/b", "/a/b/c"} {
			mustCreate(t, s.c, p, 0)
			require.Equal(t, "EventNodeCreated "+p+", code 0", w.next())
		}
		_, err := s.c.Set("/", nil, -1)
		require.NoError(t, err)
		require.Equal(t, "EventNodeDataChanged /, code 0", w.next())
	})
}

// A server drops the watches of a connection with the connection.
func TestNoWatchOutlivesItsConnection(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		at := site{servers: []string{e.ConnectString()}, dial: e.Dialer()}
		s := &script{t: t, site: at, c: client(t, e, "a", 10*time.Second), names: make(map[int64]string)}
		w := s.wire(0, hello{timeout: 5_000})
		require.Contains(t, w.ask(addWatch, "/", recursive), "code 0")
		require.Contains(t, w.ask(addWatch, "/a", stays), "code 0")
		require.Contains(t, w.ask(8, "/", true), "code 0")
		require.Equal(t, 4, e.Stats().Watches)
		w.bye()
		require.Zero(t, e.Stats().Watches)
	})
}
