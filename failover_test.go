package election_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
	"github.com/zkelection/election/internal/znode"
)

// The tests of WithFastFailover on real servers. They are not parallel: other tests beside them would be the pauses
// that end a term.

// defaultTick is ZooKeeper's own tickTime. The server grants no session timeout of less than 4 s then.
func defaultTick() zktest.Option { return zktest.WithConfig("tickTime", "2000") }

// ordinary is the session timeout of these tests: the library's default.
const ordinary = 10 * time.Second

// env reads a variable that makes a test longer.
func env[T any](t *testing.T, name, otherwise string, parse func(string) (T, error)) T {
	t.Helper()
	v, err := parse(cmp.Or(os.Getenv(name), otherwise))
	require.NoError(t, err, name)
	return v
}

// ELECTION_KILLS=50 kills more leaders.
func TestFastFailover_AKilledLeaderIsReplacedInItsOwnTime(t *testing.T) {
	server := zktest.Start(t, defaultTick())
	by := newAdmin(t, server.Addr())
	kills := env(t, "ELECTION_KILLS", "5", strconv.Atoi)
	for _, within := range []time.Duration{time.Second, 300 * time.Millisecond} {
		t.Run(within.String(), func(t *testing.T) {
			as := membership{connect: server.Addr(), path: newPath(t), timeout: ordinary, within: within, look: time.Millisecond}
			took := killLeaders(t, by, as, kills)
			slices.Sort(took)
			median := took[len(took)/2]
			t.Logf("%d kills: %v at the median, %v to %v", kills, median, took[0], took[len(took)-1])
			require.LessOrEqual(t, median, within*11/10+300*time.Millisecond)
		})
	}
}

// killLeaders kills one leader after another, with two candidates behind it each time, and returns how long the next
// one took to lead.
func killLeaders(t *testing.T, by admin, as membership, kills int) (took []time.Duration) {
	t.Helper()
	var all, alive []*member
	for i := range kills {
		for len(alive) < 3 {
			m := startMember(t, fmt.Sprintf("%d-%d", i, len(alive)), as)
			all, alive = append(all, m), append(alive, m)
		}
		eventually(t, func() bool { return len(by.line(as.path)) == 3 && by.bothBeat(as.path) }, "three in line, two of which beat")
		leader, _ := awaitLeader(t, alive, 0)
		alive = slices.DeleteFunc(alive, func(m *member) bool { return m == leader })

		killed := time.Now()
		require.NoError(t, leader.Kill())
		_, since := awaitLeader(t, alive, killed.UnixNano())
		took = append(took, time.Duration(since-killed.UnixNano()))
		<-leader.Done()
		eventually(t, func() bool { return len(by.line(as.path)) == 2 }, "the end of the killed candidate's znode")
	}
	requireNoOverlap(t, all...)
	return took
}

// bothBeat reports whether the first two in line beat: a candidate beats only once it has read the znode ahead.
func (a admin) bothBeat(path string) bool {
	a.t.Helper()
	line := znode.Sort(a.line(path))
	for _, name := range line[:min(2, len(line))] {
		if _, stat, err := a.Exists(path + "/" + name); err != nil || stat == nil || stat.Version < 2 {
			return false
		}
	}
	return len(line) > 1
}

func TestFastFailover_AStoppedLeaderIsReplacedAndDoesNotLeadAtItsFirstLook(t *testing.T) {
	server := zktest.Start(t, defaultTick())
	by := newAdmin(t, server.Addr())
	as := membership{connect: server.Addr(), path: newPath(t), timeout: ordinary, within: time.Second}
	a := startMember(t, "a", as)
	awaitLeader(t, []*member{a}, 0)
	as.look = time.Millisecond
	b := startMember(t, "b", as)
	eventually(t, func() bool { return by.bothBeat(as.path) }, "two that beat")

	require.NoError(t, a.Pause())
	stopped := time.Now().UnixNano()
	_, since := awaitLeader(t, []*member{b}, 0)
	resumed := time.Now()
	require.NoError(t, a.Resume())
	ctx := testContext(t)
	var first string
	_, err := a.said.Await(ctx, a.Process, 0, "a look after the pause", func(line string) bool {
		words := strings.Fields(line)
		if words[0] != saysGap {
			return false
		}
		at, err := strconv.ParseInt(words[2], 10, 64)
		first = words[3]
		return err == nil && at >= resumed.UnixNano()
	})
	require.NoError(t, err)
	require.Equal(t, "false", first, "it led at its first look")
	t.Logf("replaced %v after it was stopped", time.Duration(since-stopped))

	eventually(t, func() bool { return len(by.line(as.path)) == 2 }, "both, a behind b")
	require.NoError(t, b.Kill())
	awaitLeader(t, []*member{a}, resumed.UnixNano())
	requireNoOverlap(t, a, b)
}

// A term may end if the server, or this machine, stands still for a while, and only then. ELECTION_QUIET=30m takes
// longer.
func TestFastFailover_NoTermIsLostOnAQuietServerBesideTwoHundredWritesASecond(t *testing.T) {
	const within, rate = 500 * time.Millisecond, 200
	length := env(t, "ELECTION_QUIET", "10s", time.ParseDuration)
	server := zktest.Start(t, defaultTick())
	path := newPath(t)
	lead, next := newPeerAt(t, server.Addr(), path, ordinary, election.WithFastFailover(within)),
		newPeerAt(t, server.Addr(), path, ordinary, election.WithFastFailover(within))
	noOverlap(t, lead, next)
	lead.leads()
	next.start()
	newAdmin(t, server.Addr()).make("/data", "")

	w := &writes{client: lead.client, much: within / 4}
	w.run(t, length, time.Second/rate)
	t.Logf("%v: %d writes, the slowest took %v, %d took more than %v", length, w.made, w.slowest, len(w.stalls), w.much)
	require.Greater(t, w.made, int(length/time.Second)*rate/10, "or they tell nothing of when this machine stood still")
	for _, p := range []*peer{lead, next} {
		p.log.note(func() {
			for _, e := range p.log.ended {
				t.Logf("a term ended after %v: %v", e.Lasted, e.Cause)
				require.True(t, w.stalled(e.Ended.Add(-within), e.Ended), "nothing stood still before it ended")
			}
		})
	}
}

// writes are made at a steady rate. A slow one does not hold up the others.
type writes struct {
	client *election.Client
	much   time.Duration // what takes longer is a stall

	mu      sync.Mutex // guards the following
	made    int
	slowest time.Duration
	stalls  [][2]time.Time
}

func (w *writes) run(t *testing.T, length, every time.Duration) {
	tick, end := time.NewTicker(every), time.After(length)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	last := time.Now()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
			began := last.Add(every) // if this process stood still, too
			last = time.Now()
			if last.Before(began) {
				began = last
			}
			all.Go(func() { w.one(t, began) })
		}
	}
}

func (w *writes) one(t *testing.T, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.client.Do(ctx, func(c *zk.Conn) error {
		_, err := c.Set("/data", []byte("x"), -1)
		return err
	})
	if err != nil {
		t.Errorf("a write: %v", err)
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	w.slowest = max(w.slowest, now.Sub(began))
	if now.Sub(began) > w.much {
		w.stalls = append(w.stalls, [2]time.Time{began, now})
	}
}

// stalled reports whether a write took long in that time.
func (w *writes) stalled(from, to time.Time) bool {
	return slices.ContainsFunc(w.stalls, func(s [2]time.Time) bool { return s[0].Before(to) && s[1].After(from) })
}
