package zksim_test

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

func TestLaggingFollowerNeverShowsASessionItsOwnPast(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 10*time.Second, "zk3:2181", "zk1:2181")
		e.Lag(1, 3*time.Second, 3*time.Second)
		mustCreate(t, a, "/mine", 0)
		require.Len(t, e.TreeAt(1), 1)
		e.Cut("a", "zk3")
		e.Lag(1, 8*time.Second, 8*time.Second)
		_, err := client(t, e, "b", 10*time.Second, "zk2:2181").Create("/other", nil, 0, open)
		require.NoError(t, err)
		await(t, states, zk.StateHasSession)
		require.Equal(t, "zk1:2181", a.Server())
		ok, _, err := a.Exists("/mine")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestFollowerBehindItsClientRefusesIt(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 20*time.Second, "zk3:2181", "zk1:2181")
		e.Lag(1, 5*time.Second, 5*time.Second)
		mustCreate(t, a, "/mine", 0)
		e.Cut("a", "zk3") // noticed after 2T/3; the follower has caught up by then
		for range 40 {
			_ = e.Set("/mine", nil)
			time.Sleep(time.Second / 2)
			if len(states) > 0 {
				break
			}
		}
		await(t, states, zk.StateHasSession)
		ok, _, err := a.Exists("/mine")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

// A lease exists because of this case: the client's pings and reads are answered all the
// while.
func TestCutOffFollowerServesStaleReadsWhileTheLeaderExpiresItsSessions(t *testing.T) {
	const timeout = 4 * time.Second
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", timeout, "zk1:2181")
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		b := client(t, e, "b", timeout, "zk3:2181")
		e.Isolate(1)
		start := time.Now()
		gone := goneAfter(t, b, "/e", start)
		require.Less(t, gone, 7*time.Second)
		ok, _, err := a.Exists("/e")
		require.NoError(t, err)
		require.True(t, ok, "the cut-off follower forgot by itself")
		await(t, states, zk.StateDisconnected)
		require.InDelta(t, 10, time.Since(start).Seconds(), 1.01,
			"syncLimit is five ticks of 2 s, counted from the last ping")
		require.False(t, e.Serving(1))
		e.HealAll()
		await(t, states, zk.StateExpired)
	})
}

func TestWriteOnACutOffFollowerHoldsUpTheSessionsReads(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 30*time.Second, "zk1:2181")
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		e.Isolate(1)
		start := time.Now()
		answers := make(chan error, 2)
		go func() {
			_, err := a.Multi(&zk.CheckVersionRequest{Path: "/e", Version: -1})
			answers <- err
		}()
		time.Sleep(time.Millisecond)
		_, _, err := a.Get("/e")
		require.ErrorIs(t, err, zk.ErrConnectionClosed)
		require.ErrorIs(t, <-answers, zk.ErrConnectionClosed)
		require.Greater(t, time.Since(start), 8*time.Second)
	})
}

func TestLeaderWithoutQuorumStepsDown(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 40*time.Second, "zk3:2181", "zk2:2181")
		require.Equal(t, 3, e.Leader())
		start := time.Now()
		e.Isolate(3)
		await(t, states, zk.StateDisconnected)
		require.InDelta(t, 11, time.Since(start).Seconds(), 2.1)
		await(t, states, zk.StateHasSession)
		require.Equal(t, 2, e.Leader())
		mustCreate(t, a, "/x", 0)
		e.HealAll()
		time.Sleep(time.Second)
		require.True(t, e.Serving(3))
		require.Equal(t, e.TreeAt(2), e.TreeAt(3))
	})
}

func TestOneWayCutsAreNoticedByBothSides(t *testing.T) {
	for _, way := range [][2]string{{"zk1", "zk3"}, {"zk3", "zk1"}} {
		inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
			e.CutOneWay(way[0], way[1])
			time.Sleep(15 * time.Second)
			require.False(t, e.Serving(1))
			require.Equal(t, 3, e.Leader())
			e.HealOneWay(way[0], way[1])
			time.Sleep(time.Second)
			require.True(t, e.Serving(1))
		})
	}
}

// A write that only the old leader has is lost with it, even if that leader comes back.
func TestUncommittedWriteOfACutOffLeaderIsLost(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 40*time.Second, "zk3:2181")
		e.Isolate(3)
		_, err := a.Create("/never", nil, 0, open)
		require.ErrorIs(t, err, zk.ErrConnectionClosed)
		time.Sleep(time.Second)
		require.Equal(t, 2, e.Leader())
		e.Crash(2)
		e.HealAll()
		time.Sleep(time.Minute)
		require.Equal(t, 1, e.Leader(), "server 1 has agreed to a later epoch")
		e.Restart(2)
		time.Sleep(time.Second)
		for id := 1; id <= 3; id++ {
			require.Len(t, e.TreeAt(id), 1)
		}
	})
}

func TestNothingIsCommittedWithoutAQuorum(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		e.Crash(1)
		a, states := watchedClient(t, e, "a", 10*time.Second)
		mustCreate(t, a, "/two-of-three", 0)
		e.Crash(2)
		await(t, states, zk.StateDisconnected)
		time.Sleep(time.Hour)
		require.Zero(t, e.Leader())
		for len(states) > 0 {
			<-states
		}
		e.Restart(1)
		await(t, states, zk.StateHasSession)
		ok, _, err := a.Exists("/two-of-three")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestReplyLostAfterCommit(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a, states := watchedClient(t, e, "a", 10*time.Second)
		e.LoseReply(func(r zksim.Reply) bool { return r.Client == "a" && r.Op == jute.OpCreate })
		_, err := a.Create("/n-", nil, zk.FlagEphemeralSequential, open)
		require.ErrorIs(t, err, zk.ErrConnectionClosed)
		require.Equal(t, []string{"n-0000000000", "zookeeper"}, e.Children("/"))
		await(t, states, zk.StateHasSession)
		_, st, err := a.Get("/n-0000000000")
		require.NoError(t, err)
		require.Equal(t, a.SessionID(), st.EphemeralOwner)
		mustCreate(t, a, "/n-", zk.FlagEphemeralSequential)
		require.Equal(t, 1, e.Stats().RepliesLost)
	})
}

func TestFrozenServerAnswersAfterTheThaw(t *testing.T) {
	inBubble(t, zksim.Config{}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 30*time.Second)
		e.Freeze(1)
		time.AfterFunc(7*time.Second, func() { e.Thaw(1) })
		start := time.Now()
		mustCreate(t, a, "/x", 0)
		require.Equal(t, 7*time.Second, time.Since(start))
	})
}

func TestFrozenLeaderIsReplaced(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		// Without server 3: the client library waits 20T/3 for a frozen server's first
		// word.
		a, states := watchedClient(t, e, "a", 12*time.Second, "zk1:2181", "zk2:2181")
		e.Freeze(3)
		await(t, states, zk.StateDisconnected)
		await(t, states, zk.StateHasSession)
		mustCreate(t, a, "/x", 0)
		e.Thaw(3)
		time.Sleep(3 * time.Second) // it checks for its quorum every tick
		require.NotEqual(t, 3, e.Leader())
		require.True(t, e.Serving(3))
		require.Equal(t, e.TreeAt(1), e.TreeAt(3))
	})
}

func TestDelaysAddUp(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 10*time.Second, "zk1:2181")
		took := func() time.Duration {
			start := time.Now()
			mustCreate(t, a, "/n", zk.FlagSequence)
			return time.Since(start)
		}
		require.Zero(t, took())
		e.Delay("a", "zk1", 10*time.Millisecond, 0)
		e.Delay("zk1", "a", 20*time.Millisecond, 0)
		require.Equal(t, 30*time.Millisecond, took())
		e.SlowDisk(1, time.Second, time.Second)
		require.Equal(t, 30*time.Millisecond, took(), "two of three suffice")
		e.SlowDisk(2, 2*time.Second, 2*time.Second)
		require.Equal(t, 1030*time.Millisecond, took())
		e.SlowDisk(2, 0, 0)
		time.Sleep(5 * time.Second) // earlier flushes are still on their way
		e.Lag(1, time.Minute/60/4, 0)
		require.Equal(t, 280*time.Millisecond, took())
	})
}

func TestDialsFailAsTheNetworkSays(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		dial := func(name, addr string) (time.Duration, error) {
			start := time.Now()
			c, err := e.DialerFor(name)("tcp", addr, time.Second)
			if err == nil {
				_ = c.Close()
			}
			return time.Since(start), err
		}
		e.Crash(1)
		e.CutOneWay("zk2", "a")
		took, err := dial("a", "zk1:2181")
		require.ErrorContains(t, err, "refused")
		require.Zero(t, took)
		took, err = dial("a", "zk2:2181")
		require.ErrorContains(t, err, "timeout")
		require.Equal(t, time.Second, took)
		_, err = dial("b", "zk2:2181")
		require.NoError(t, err)
		_, err = dial("a", "zk9:2181")
		require.ErrorContains(t, err, "no server")
		e.Close()
		_, err = dial("a", "zk3:2181")
		require.ErrorContains(t, err, "refused")
	})
}

// zk3 turns to a new leader, which dies before it hands over its log. zk3 must not go
// back to the old leader: together they would commit what the new leader's other
// followers, with a later epoch, do not know.
func TestServerThatTurnedToANewLeaderDoesNotHelpTheOldOne(t *testing.T) {
	inBubble(t, zksim.Config{Servers: 5, Tick: 10 * time.Second}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", 100*time.Second, "zk5:2181")
		mustCreate(t, a, "/before", 0)
		require.Equal(t, 5, e.Leader())
		others := []string{"zk2", "zk3", "zk4"}
		for i, name := range others {
			e.Cut("zk5", name) // the leader does not notice that they turn to another
			e.Crash(i + 2)
			e.Restart(i + 2)
		}
		e.Delay("zk4", "zk3", time.Second, time.Second)
		time.Sleep(700 * time.Millisecond) // zk4 is elected, zk2 has its log, zk3 has not
		e.Crash(4)
		e.Crash(3)
		e.Restart(3)
		e.Heal("zk5", "zk3")
		time.Sleep(time.Second)

		acknowledged := make(chan bool, 1)
		go func() {
			_, err := a.Create("/lost", nil, 0, open)
			acknowledged <- err == nil
		}()
		time.Sleep(time.Second)
		e.Crash(5)
		e.Restart(4)
		time.Sleep(2 * time.Minute)
		mustCreate(t, client(t, e, "b", 100*time.Second, "zk1:2181", "zk2:2181", "zk3:2181"), "/after", 0)
		e.HealAll()
		e.Restart(5)
		time.Sleep(5 * time.Minute)
		_, found := e.Get("/lost")
		require.Equal(t, <-acknowledged, found, "what was acknowledged is there, and nothing else")
	})
}

// A client that sends while it is cut off, and stays cut off when all else is healed, is
// dead to the ensemble: nothing of it arrives.
func TestWhoIsExceptedFromHealAllStaysCutOff(t *testing.T) {
	const timeout = 4 * time.Second
	inBubble(t, zksim.Config{Servers: 3}, func(t *testing.T, e *zksim.Ensemble) {
		a := client(t, e, "a", timeout, "zk1:2181")
		mustCreate(t, a, "/e", zk.FlagEphemeral)
		b := client(t, e, "b", timeout, "zk1:2181")
		mustCreate(t, b, "/f", zk.FlagEphemeral)
		c := client(t, e, "c", timeout, "zk3:2181")
		e.Unplug("a")
		e.Unplug("b")
		time.Sleep(timeout / 2) // pings are under way by now
		e.HealAll("a")
		goneAfter(t, c, "/e", time.Now())
		ok, _, err := c.Exists("/f")
		require.NoError(t, err)
		require.True(t, ok, "the other one was healed")
	})
}
