package session

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// A candidate asks for its lease to be kept right after it has created its znode. A proof
// would only hold up its reads.
func TestAWriteCountsAsTheFirstProof(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := zksim.New(zksim.Config{})
		t.Cleanup(e.Close)
		s := dial(t, Config{Servers: strings.Split(e.ConnectString(), ","), Timeout: 12 * time.Second, Dialer: dialing(e.Dialer())})
		require.NoError(t, s.Wait(t.Context()))
		before := s.Renew("/", new(notified)) // for an earlier candidate, which leaves
		time.Sleep(100 * time.Millisecond)
		before()
		time.Sleep(800 * time.Millisecond)
		_, err := s.Write(func(c *zk.Conn) error {
			_, err := c.Create("/mine", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
			return err
		})
		require.NoError(t, err)
		require.True(t, s.live())

		wrote := s.Lease(s.Status().ID).End()
		const early = time.Second / 20
		time.Sleep(early)
		release := s.Renew("/mine", new(notified))
		time.Sleep(s.Timeout()/renewShare - early - time.Millisecond)
		synctest.Wait()
		assert.Equal(t, wrote, s.Lease(s.Status().ID).End(), "nothing has been proved since")
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			require.True(t, s.live())
		}

		release()
		time.Sleep(s.Timeout())
		require.False(t, s.live())
		defer s.Renew("/mine", new(notified))()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.True(t, s.live(), "a lease that has run out is proved at once")
	})
}

// A server grants the resumed session less, and its answers are slow. The lease still ends
// long after the write that it rests on, and yet the next proof is due.
func TestAfterAShorterTimeoutTheNextProofIsDueAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const long, short = 40 * time.Second, 4 * time.Second
		e := zksim.New(zksim.Config{})
		t.Cleanup(e.Close)
		var conn net.Conn // only the driver's goroutine dials, and the test waits for it
		s := dial(t, Config{Servers: strings.Split(e.ConnectString(), ","), Timeout: long,
			Dialer: dialing(func(network, address string, timeout time.Duration) (c net.Conn, err error) {
				conn, err = e.Dialer()(network, address, timeout)
				return conn, err
			})})
		require.NoError(t, s.Wait(t.Context()))
		require.Equal(t, long, s.Timeout())
		keep(t, s, "/mine")
		time.Sleep(long)
		require.True(t, s.live())

		e.Grant(short)
		for from, to := range map[string]string{"client": zksim.ServerName(1), zksim.ServerName(1): "client"} {
			e.Delay(from, to, short/16, short/16)
		}
		synctest.Wait()
		conn.Close()
		for range 3 * short / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			require.True(t, s.live(), "with a timeout of %v", s.Timeout())
		}
		require.Equal(t, short, s.Timeout())
	})
}
