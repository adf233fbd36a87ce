package zksim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// chaos makes a fault, or undoes one.
func chaos(e *zksim.Ensemble, r *rand.Rand, clients []string) {
	const n = 3
	id := 1 + r.IntN(n)
	server, other := zksim.ServerName(id), zksim.ServerName(1+r.IntN(n))
	name := clients[r.IntN(len(clients))]
	ms := time.Duration(r.IntN(400)) * time.Millisecond
	switch r.IntN(18) {
	case 0:
		e.Crash(id)
	case 1, 2, 3:
		e.Restart(id)
	case 4:
		e.Freeze(id)
	case 5, 6, 7:
		e.Thaw(id)
	case 8:
		e.Isolate(id)
	case 9:
		e.CutOneWay(server, other)
	case 10:
		e.Cut(name, server)
	case 11, 12:
		e.HealAll()
	case 13:
		e.Delay(server, other, 0, ms)
	case 14:
		e.Lag(id, 0, ms)
		e.SlowDisk(id, 0, ms)
	case 15:
		e.Unplug(name)
	case 16:
		e.Plug(name)
	case 17:
		e.LoseReply(func(zksim.Reply) bool { return true })
	}
}

// mend ends all faults.
func mend(e *zksim.Ensemble) {
	e.HealAll()
	for id := 1; id <= 3; id++ {
		e.Thaw(id)
		e.Restart(id)
		e.Lag(id, 0, 0)
		e.SlowDisk(id, 0, 0)
		for to := 1; to <= 3; to++ {
			e.Delay(zksim.ServerName(id), zksim.ServerName(to), 0, 0)
		}
	}
}

// worker makes ephemeral nodes, reads, and remembers the highest zxid that it has seen. A
// session must never see an older state than it has seen before.
func worker(t *testing.T, c *zk.Conn, id int, until time.Time) {
	var session, seen int64
	for n := 0; time.Now().Before(until); n++ {
		path := fmt.Sprintf("/w/%d-%d", id, n)
		_, _ = c.Create(path, nil, zk.FlagEphemeral, open)
		_, st, err := c.Children("/w")
		if err == nil {
			if now := c.SessionID(); now != session {
				session, seen = now, 0
			}
			if st.Pzxid < seen && c.SessionID() == session {
				t.Errorf("session %x was shown %x after %x", session, st.Pzxid, seen)
			}
			seen = st.Pzxid
		}
		_ = c.Delete(path, -1)
		time.Sleep(time.Second)
	}
}

// Two oracles decide: the ensemble panics if logs diverge, and all servers must be equal
// in the end.
func TestServersAgreeWhateverHappens(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			inBubble(t, zksim.Config{Servers: 3, Seed: seed}, func(t *testing.T, e *zksim.Ensemble) {
				require.NoError(t, e.Create("/w", nil))
				r := rand.New(rand.NewPCG(seed, 1))
				names := []string{"a", "b", "c"}
				var conns []*zk.Conn
				end := time.Now().Add(10 * time.Minute)
				for i, name := range names {
					c := client(t, e, name, 8*time.Second)
					conns = append(conns, c)
					go worker(t, c, i, end)
				}
				for time.Now().Before(end) {
					chaos(e, r, names)
					time.Sleep(time.Duration(r.IntN(6000)) * time.Millisecond)
				}
				mend(e)
				time.Sleep(5 * time.Minute)
				require.NotZero(t, e.Leader())
				require.Len(t, e.Sessions(), len(names))
				for _, c := range conns {
					c.Close()
				}
				time.Sleep(time.Minute)
				require.Empty(t, e.Sessions())
				require.Empty(t, e.Children("/w"))
				for id := 1; id <= 3; id++ {
					require.True(t, e.Serving(id))
					require.Equal(t, e.TreeAt(1), e.TreeAt(id))
				}
				synctest.Wait()
				t.Logf("%+v", e.Stats())
			})
		})
	}
}
