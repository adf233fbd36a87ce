package sim

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// metered counts what goes through a connection.
type metered struct {
	net.Conn
	packets, bytes *atomic.Int64
}

func (m metered) Write(b []byte) (int, error) {
	m.packets.Add(1)
	m.bytes.Add(int64(len(b)))
	return m.Conn.Write(b)
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.bytes.Add(int64(n))
	return n, err
}

// What README says of the traffic of idle candidates is this test's log.
//
// However many candidates a client has, it sends two requests a second at most in case a
// watch was lost, and after a reconnect each candidate looks at once.
func TestManyIdleCandidatesCostTwoRequestsASecond(t *testing.T) {
	for _, n := range []int{1, 100, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			tell(t, func(s story) {
				var packets, bytes atomic.Int64
				dial := &plug{dial: func(network, address string, timeout time.Duration) (net.Conn, error) {
					conn, err := s.e.DialerFor("b")(network, address, timeout)
					return metered{conn, &packets, &bytes}, err
				}}
				a, b := s.client("a"), s.client("b", election.WithDialer(dial.Dial))
				for i := range n {
					for _, c := range []*election.Client{a, b} {
						x, err := election.NewCandidate(c, fmt.Sprintf("/job%04d", i))
						require.NoError(s, err)
						require.NoError(s, x.Start(s.Context()))
					}
				}
				time.Sleep(time.Minute)

				var looks, others atomic.Int64
				var mu sync.Mutex
				seen := map[string]bool{}
				defer s.e.OnReply(func(r zksim.Reply) bool {
					switch {
					case r.Client != "b":
					case r.Op == jute.OpExists:
						looks.Add(1)
						mu.Lock()
						seen[r.Path] = true
						mu.Unlock()
					default:
						others.Add(1)
					}
					return false
				})()
				packets.Store(0)
				bytes.Store(0)
				for range 30 {
					before := looks.Load()
					time.Sleep(20 * time.Second)
					assert.LessOrEqual(s, looks.Load()-before, int64(2*20+2))
				}
				assert.Greater(s, looks.Load(), int64(0))
				s.Logf("%d candidates, a minute: %d looks, %d other requests, %d packets sent, %d bytes both ways",
					n, looks.Load()/10, others.Load()/10, packets.Load()/10, bytes.Load()/10)

				mu.Lock()
				clear(seen)
				mu.Unlock()
				dial.pull()
				time.Sleep(100 * time.Millisecond)
				dial.putBack()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				assert.Len(s, seen, 2*n, "every candidate looks at its znode, and at the one ahead")
			})
		})
	}
}
