package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 5*time.Millisecond, what)
}

func dial(t *testing.T, cfg Config) *Session {
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Timeout == 0 {
		cfg.Timeout = 3 * time.Second
	}
	s, err := Dial(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// stand dials, and waits for the session.
func stand(t *testing.T, addr string) *Session {
	s := dial(t, Config{Servers: []string{addr}})
	require.NoError(t, s.Wait(within(t)))
	return s
}

// silent starts a server that accepts, sends a few bytes, and then nothing more.
func silent(t *testing.T, says ...byte) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.Map
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			c.Write(says)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	return l.Addr().String()
}

// inOrder offers its servers in order.
type inOrder struct{ hosts }

func (h *inOrder) Init(servers []string) error {
	h.servers = servers
	return nil
}

func TestAServerThatNeverAnswersIsGivenUpForTheNext(t *testing.T) {
	// The second one stops after the length of its greeting.
	servers := []string{silent(t), silent(t, 0, 0, 0, 37), zktest.Shared(t).Addr()}
	s := dial(t, Config{Servers: servers, Timeout: 6 * time.Second, Provider: new(inOrder)})
	// The driver itself would wait for 20/3 of the timeout, longer than this test does.
	require.NoError(t, s.Wait(within(t)))
}

func TestWaitTellsWhyNoServerCouldBeReached(t *testing.T) {
	s := dial(t, Config{Servers: []string{"127.0.0.1:1"}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := s.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "refused")
	var op *net.OpError
	require.ErrorAs(t, err, &op)
}

func TestWaitTellsThatAServerKeptSilent(t *testing.T) {
	s := dial(t, Config{Servers: []string{silent(t)}})
	eventually(t, "it gives the server up", func() bool { return s.LastError() != nil })
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user went home"))
	err := s.Wait(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.ErrorContains(t, err, "the user went home")
}

func TestWaitEndsWhenTheSessionIsClosed(t *testing.T) {
	s := dial(t, Config{Servers: []string{silent(t)}})
	s.Close()
	require.ErrorIs(t, s.Wait(t.Context()), ErrClosed)
}

// closing requires Close to end within 10 s: its own limits, and time for a busy machine.
func closing(t *testing.T, s *Session) (ended bool) {
	t.Helper()
	done := make(chan bool, 1)
	go func() { done <- s.Close() }()
	select {
	case ended = <-done:
	case <-time.After(10 * time.Second):
		require.Fail(t, "Close hangs")
	}
	require.True(t, s.Close(), "a second Close does no harm")
	return ended
}

func TestCloseIsBounded(t *testing.T) {
	addr, mute := zktest.Shared(t).Addr(), silent(t)
	servers := map[string]string{"before a server answers": mute, "while none can be reached": "127.0.0.1:1"}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			closing(t, dial(t, Config{Servers: []string{server}}))
		})
	}
	t.Run("with the session up", func(t *testing.T) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		require.True(t, closing(t, stand(t, addr)))
	})
	t.Run("with a server that has fallen silent, and calls under way", func(t *testing.T) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		p, err := zktest.ListenProxy(addr)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Close()) }()
		s := stand(t, p.Addr())
		p.Blackhole()
		s.Go(func() { s.Conn().Get("/") })
		require.False(t, closing(t, s))
	})
}

func TestCallObeysItsContext(t *testing.T) {
	s := stand(t, zktest.Shared(t).Addr())
	block := make(chan struct{})
	hang := func() (int, error) { <-block; return 1, nil }
	ctx, cancel := context.WithCancelCause(t.Context())
	context.AfterFunc(ctx, func() {})
	go cancel(errors.New("enough"))
	_, err := Call(ctx, s, hang)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "enough")
	_, err = Call(ctx, s, func() (int, error) { panic("not to be called") })
	require.ErrorIs(t, err, context.Canceled)
	v, err := Call(t.Context(), s, func() (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
	go func() { s.Close() }()
	_, err = Call(t.Context(), s, hang)
	require.ErrorIs(t, err, ErrClosed)
	close(block)
	_, err = Call(t.Context(), s, hang)
	require.ErrorIs(t, err, ErrClosed)
}

func TestEveryReconnectLooksTheNameUpAgain(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	_, port, err := net.SplitHostPort(p.Addr())
	require.NoError(t, err)
	var asked atomic.Int64
	name := net.JoinHostPort("moving.example", port)
	s := dial(t, Config{Servers: []string{name}, Dialer: func(ctx context.Context) zk.Dialer {
		return func(network, address string, timeout time.Duration) (net.Conn, error) {
			if address != name {
				return nil, fmt.Errorf("asked for %s", address)
			}
			asked.Add(1)
			return DialTCP(ctx)(network, p.Addr(), timeout) // as a resolver would
		}
	}})
	require.NoError(t, s.Wait(within(t)))
	for i := range 5 {
		p.CloseConnections()
		eventually(t, "it dials by name again", func() bool { return asked.Load() >= int64(i+2) })
		eventually(t, "and is back", func() bool { return s.Status().Connected })
	}
}

func TestFlapsLeaveOneConnectionAndOneSession(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	s := stand(t, p.Addr())
	id := s.Status().ID
	for i := range 10 {
		p.CloseConnections()
		eventually(t, "it reconnects", func() bool {
			return p.Stats().Connections >= int64(i+2) && s.Status().Connected
		})
	}
	require.Equal(t, id, s.Status().ID)
	require.Len(t, p.Sessions(), 1)
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	require.Len(t, s.wire.conns, 1, "connections that were given up are closed and forgotten")
}

// notified is a LeaseListener that keeps what it is notified of.
type notified struct {
	good atomic.Int64
	lost atomic.Pointer[error]
}

func (w *notified) LeaseGood()           { w.good.Add(1) }
func (w *notified) LeaseShortened()      {}
func (w *notified) TargetLost(err error) { w.lost.Store(&err) }

// keep makes an ephemeral znode and renews the lease with it.
func keep(t *testing.T, s *Session, path string) *notified {
	_, err := s.Conn().Create(path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	w := new(notified)
	t.Cleanup(s.Renew(path, w))
	return w
}

func (s *Session) live() bool {
	l := s.Lease(s.Status().ID)
	return l != nil && l.Live(time.Now())
}

func TestOneProofServesAllRenewalsAndChangesNothing(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	s := dial(t, Config{Servers: []string{p.Addr()}, Timeout: 9 * time.Second}) // long enough that no answer is slow
	require.NoError(t, s.Wait(within(t)))
	const renewals = 50
	paths := make([]string, renewals)
	for i := range paths {
		paths[i] = fmt.Sprintf("/one-proof-%02d", i)
		keep(t, s, paths[i])
	}
	eventually(t, "the lease is good", s.live)
	p.ResetStats()
	began := time.Now()
	eventually(t, "it is renewed", func() bool { return p.Stats().Requests[jute.OpMulti].Frames >= 4 })
	stats, took := p.Stats(), time.Since(began)
	require.LessOrEqual(t, stats.Requests[jute.OpMulti].Frames, int64(took/(s.Timeout()/renewShare))+2)
	require.Equal(t, stats.ToServer.Frames-stats.Requests[jute.OpPing].Frames, stats.Requests[jute.OpMulti].Frames)
	require.Zero(t, stats.Notifications.Frames)
	for _, path := range paths {
		_, stat, err := s.Conn().Exists(path)
		require.NoError(t, err)
		require.Equal(t, stat.Czxid, stat.Mzxid, "a proof is a check, not a change")
	}
}

func TestTheLeaseIsKeptOnlyWhileSomebodyNeedsIt(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	s := stand(t, p.Addr())
	_, err := s.Conn().Create("/released", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	release := s.Renew("/released", new(notified))
	eventually(t, "the lease is good", s.live)
	release()
	release()
	eventually(t, "it runs out", func() bool { return !s.live() })
	require.True(t, s.Status().Connected)
}

func TestTheLeaseSurvivesTheLossOfATarget(t *testing.T) {
	s := stand(t, zktest.Shared(t).Addr())
	gone, other := keep(t, s, "/target-gone"), keep(t, s, "/target-there")
	eventually(t, "the lease is good", s.live)
	require.NoError(t, s.Conn().Delete("/target-gone", -1))
	eventually(t, "its listener is notified, or the other target serves", func() bool {
		// Either of the two may be the target of the proofs. This write takes the other
		// one's part.
		_, err := s.Write(func(c *zk.Conn) error {
			_, err := c.Multi(&zk.CheckVersionRequest{Path: "/target-there", Version: -1})
			return err
		})
		require.NoError(t, err)
		return gone.lost.Load() != nil
	})
	require.ErrorIs(t, *gone.lost.Load(), zk.ErrNoNode)
	require.Nil(t, other.lost.Load())
	require.True(t, s.live())
}

func TestTheLeaseIsThatOfTheTimeoutThatWasGranted(t *testing.T) {
	s := dial(t, Config{Servers: []string{zktest.Shared(t).Addr()}, Timeout: 100 * time.Millisecond})
	require.NoError(t, s.Wait(within(t)))
	require.Equal(t, time.Second, s.Timeout(), "two ticks are the server's minimum")
	require.Equal(t, time.Second, s.Status().Timeout)
}

func TestTheLeaseEndsByItselfWhenNobodyAnswers(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	s := stand(t, p.Addr())
	keep(t, s, "/cut-off")
	eventually(t, "the lease is good", s.live)
	p.Blackhole()
	eventually(t, "the lease ends", func() bool { return !s.live() })
	p.Heal()
	eventually(t, "and is proved again", s.live)
}

func TestAnExpiredSessionsLeaseIsNobodysElse(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	s := stand(t, p.Addr())
	keep(t, s, "/expiring")
	eventually(t, "the lease is good", s.live)
	old := s.Status().ID
	require.NoError(t, p.ExpireSession(within(t)))
	eventually(t, "there is a new session", func() bool { st := s.Status(); return st.Connected && st.ID != old })
	require.Nil(t, s.Lease(old))
	require.False(t, s.live(), "nothing of the new session has been proved")
}

// tearing is a connection on which one write of the credentials fails, once for all
// connections that share torn.
type tearing struct {
	net.Conn
	torn *atomic.Bool
}

func (c tearing) Write(b []byte) (int, error) {
	if len(b) > 12 && opOf(b) == jute.OpAuth && c.torn.CompareAndSwap(false, true) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// When a write fails, the driver answers the request twice: at once, and again when it
// gives the connection up. There is room for only one answer, so it used to hang for good
// with its locks held. It could then neither reconnect nor be closed.
func TestAWriteThatFailsDoesNotHangTheDriver(t *testing.T) {
	p := zktest.NewProxy(t, zktest.Shared(t).Addr())
	torn := new(atomic.Bool)
	torn.Store(true)
	s := dial(t, Config{Servers: []string{p.Addr()}, Dialer: func(ctx context.Context) zk.Dialer {
		return func(network, address string, timeout time.Duration) (net.Conn, error) {
			conn, err := DialTCP(ctx)(network, address, timeout)
			return tearing{conn, torn}, err
		}
	}})
	require.NoError(t, s.Wait(within(t)))
	require.NoError(t, s.AddAuth(within(t), "digest", []byte("a:b")))
	torn.Store(false)
	p.CloseConnections()
	eventually(t, "the write fails", torn.Load)
	eventually(t, "it reconnects", func() bool { return p.Stats().Connections >= 3 && s.Status().Connected })
	closing(t, s)
}
