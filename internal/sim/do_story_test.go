package sim

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Stories about the user's own requests on a client's session.

func TestDoReadsAndWritesOnTheSession(t *testing.T) {
	tell(t, func(s story) {
		for name, c := range map[string]*election.Client{
			"a": s.client("a"), "adopted": s.adopt(s.e.DialerFor("adopted")),
		} {
			require.NoError(s, c.Do(s.Context(), func(conn *zk.Conn) error {
				_, err := conn.Create("/"+name, []byte("x"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
				return err
			}))
			node, ok := s.e.Get("/" + name)
			require.True(s, ok)
			assert.NotZero(s, node.Stat.EphemeralOwner)
			err := c.Do(s.Context(), func(conn *zk.Conn) error { return conn.Delete("/"+name, 7) })
			assert.Equal(s, zk.ErrBadVersion, err, "f's own error comes back as it is")
			own := errors.New("own")
			assert.Equal(s, own, c.Do(s.Context(), func(*zk.Conn) error { return own }))
			elsewhere := &net.OpError{Op: "dial", Err: errors.New("refused")}
			assert.Equal(s, error(elsewhere), c.Do(s.Context(), func(*zk.Conn) error { return elsewhere }))
		}
	})
}

func TestDoDoesNotAddTheChroot(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create("/app", nil))
		c, err := election.Connect(s.Context(), s.e.ConnectString()+"/app", election.WithDialer(s.e.Dialer()),
			election.WithClientLogger(quiet))
		require.NoError(s, err)
		s.closeLater(c)
		require.NoError(s, c.Do(s.Context(), func(conn *zk.Conn) error {
			_, err := conn.Create("/app/mine", nil, 0, zk.WorldACL(zk.PermAll))
			return err
		}))
		_, ok := s.e.Get("/app/mine")
		assert.True(s, ok)
	})
}

func TestDoNamesBadArguments(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		var none context.Context
		assert.ErrorContains(s, c.Do(none, func(*zk.Conn) error { return nil }), "ctx is nil")
		assert.ErrorContains(s, c.Do(s.Context(), nil), "f is nil")
		assert.ErrorIs(s, new(election.Client).Do(s.Context(), func(*zk.Conn) error { return nil }), election.ErrClosed)
	})
}

func TestDoReturnsWithItsContextAndWithTheClient(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		release := make(chan struct{})
		waits := func(*zk.Conn) error { <-release; return nil }
		ctx, cancel := timeoutContext(time.Second)
		defer cancel()
		began := time.Now()
		err := c.Do(ctx, waits)
		assert.ErrorIs(s, err, context.DeadlineExceeded)
		assert.ErrorContains(s, err, "may still run")
		assert.Equal(s, time.Second, time.Since(began))
		err = c.Do(ctx, func(*zk.Conn) error { panic("called") })
		assert.ErrorIs(s, err, context.DeadlineExceeded)
		assert.ErrorContains(s, err, "f was not called")

		returned := make(chan error)
		go func() { returned <- c.Do(s.Context(), waits) }()
		time.Sleep(time.Second)
		began = time.Now()
		require.NoError(s, c.Close(), "does not wait for f")
		assert.LessOrEqual(s, time.Since(began), time.Second)
		assert.ErrorIs(s, <-returned, election.ErrClosed)
		assert.ErrorIs(s, c.Do(s.Context(), waits), election.ErrClosed)
		close(release)
	})
}

func TestDoSaysWhatHappenedToTheConnection(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		read := func(conn *zk.Conn) error { _, _, err := conn.Get("/"); return err }
		began := make(chan struct{})
		var err error
		var call sync.WaitGroup
		s.e.Freeze(1)
		call.Go(func() {
			err = c.Do(s.Context(), func(conn *zk.Conn) error { close(began); return read(conn) })
		})
		<-began
		time.Sleep(time.Second)
		s.e.Crash(1)
		call.Wait()
		assert.ErrorIs(s, err, election.ErrDisconnected)
		assert.True(s, errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer))
	})
}

func TestAPanicUnderDoIsItsCallers(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		assert.PanicsWithValue(s, "mine", func() { _ = c.Do(s.Context(), func(*zk.Conn) error { panic("mine") }) })

		ended := make(chan bool)
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_ = c.Do(s.Context(), func(*zk.Conn) error { runtime.Goexit(); return nil })
			returned = true
		}()
		assert.False(s, <-ended, "Goexit of f ends the caller, as t.FailNow must")

		ctx, cancel := timeoutContext(time.Second)
		defer cancel()
		err := c.Do(ctx, func(*zk.Conn) error { time.Sleep(2 * time.Second); panic("late") })
		assert.ErrorIs(s, err, context.DeadlineExceeded)
		time.Sleep(time.Minute) // nobody is there to take the panic
		require.NoError(s, c.Do(s.Context(), func(*zk.Conn) error { return nil }))
	})
}

// slowUp delays each request of a client's on its way, as a slow network or server does.
type slowUp struct {
	net.Conn
	each *atomic.Int64
}

func (c slowUp) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(c.each.Load()))
	return c.Conn.Write(b)
}

// The driver sends requests in their order. Ten thousand writes of a millisecond each would
// hold a proof up for ten seconds, three times as long as a lease lasts.
func TestTenThousandWritesOfTheUsersEndNoTerm(t *testing.T) {
	for name, write := range map[string]func(story, *election.Client, *election.Term) error{
		"Do": func(s story, c *election.Client, _ *election.Term) error {
			return c.Do(s.Context(), func(conn *zk.Conn) error { _, err := conn.Set("/data", nil, -1); return err })
		},
		"Guard": func(s story, _ *election.Client, term *election.Term) error {
			_, err := term.Guard(s.Context(), &zk.SetDataRequest{Path: "/data", Version: -1})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				require.NoError(s, s.e.Create("/data", nil))
				var each atomic.Int64
				dial := func(network, address string, timeout time.Duration) (net.Conn, error) {
					conn, err := s.e.DialerFor("a")(network, address, timeout)
					return slowUp{conn, &each}, err
				}
				c := s.client("a", election.WithDialer(dial))
				term, err := s.candidate(c).Await(s.Context())
				require.NoError(s, err)

				each.Store(int64(time.Millisecond))
				var writes sync.WaitGroup
				var failed atomic.Int64
				for range 10_000 {
					writes.Go(func() {
						if write(s, c, term) != nil {
							failed.Add(1)
						}
					})
				}
				writes.Wait()
				assert.Zero(s, failed.Load())
				require.NoError(s, term.Err())
				node, _ := s.e.Get("/data")
				assert.EqualValues(s, 10_000, node.Stat.Version)
			})
		})
	}
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		term, err := s.candidate(c).Await(s.Context())
		require.NoError(s, err)
		s.e.Freeze(1)
		ctx, cancel := timeoutContext(time.Second)
		defer cancel()
		began := time.Now()
		var calls sync.WaitGroup
		var unsent, uncalled atomic.Int64
		for range 200 {
			calls.Go(func() {
				_, err := term.Guard(ctx)
				assert.ErrorIs(s, err, context.DeadlineExceeded)
				if strings.Contains(err.Error(), "nothing was sent") {
					unsent.Add(1)
				}
			})
			calls.Go(func() {
				err := c.Do(ctx, func(conn *zk.Conn) error { _, err := conn.Sync("/"); return err })
				assert.ErrorIs(s, err, context.DeadlineExceeded)
				if strings.Contains(err.Error(), "f was not called") {
					uncalled.Add(1)
				}
			})
		}
		calls.Wait()
		assert.LessOrEqual(s, time.Since(began), 1100*time.Millisecond)
		assert.EqualValues(s, 200-64, unsent.Load())
		assert.EqualValues(s, 200-64, uncalled.Load())
		s.e.Thaw(1)
		time.Sleep(time.Minute)
		require.NoError(s, c.Do(s.Context(), func(*zk.Conn) error { return nil }), "all turns are free again")
	})
}
