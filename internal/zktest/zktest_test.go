package zktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// limit bounds a test's wait for one thing; none should come near it.
const limit = 60 * time.Second

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// session dials addr and waits until it has a session.
func session(t *testing.T, addr string) (*zk.Conn, <-chan zk.Event) {
	t.Helper()
	events := make(chan zk.Event, 1000)
	conn, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(quiet{}),
		zk.WithEventCallback(func(e zk.Event) {
			select {
			case events <- e:
			default:
			}
		}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	waitState(t, events, zk.StateHasSession)
	return conn, events
}

func waitState(t *testing.T, events <-chan zk.Event, want zk.State) {
	t.Helper()
	ctx := timeout(t)
	for {
		select {
		case e := <-events:
			if e.Type == zk.EventSession && e.State == want {
				return
			}
		case <-ctx.Done():
			require.FailNow(t, "no session event", "%v", want)
		}
	}
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	s := zktest.Start(t)
	ctx := timeout(t)
	addr := s.Addr()
	conn, events := session(t, addr)
	_, err := conn.Create("/kept", []byte("x"), 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)

	require.NoError(t, s.Stop(ctx))
	_, err = s.FourLetter(ctx, "srvr")
	require.Error(t, err)
	require.NoError(t, s.Restart(ctx))
	require.Equal(t, addr, s.Addr())
	waitState(t, events, zk.StateHasSession)
	data, _, err := conn.Get("/kept")
	require.NoError(t, err)
	require.Equal(t, "x", string(data))

	require.NoError(t, s.Kill(ctx))
	require.NoError(t, s.Restart(ctx))
	mode, err := s.Mode(ctx)
	require.NoError(t, err)
	require.Equal(t, "leader", mode)
	waitState(t, events, zk.StateHasSession)
	_, _, err = conn.Get("/kept")
	require.NoError(t, err)
}

func TestPausedServerDoesNotAnswer(t *testing.T) {
	s := zktest.Start(t)
	ctx := timeout(t)
	require.NoError(t, s.Pause(ctx))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := s.FourLetter(short, "ruok")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.Unpause(ctx))
	answer, err := s.FourLetter(ctx, "ruok")
	require.NoError(t, err)
	require.Equal(t, "imok", answer)
}

func TestSharedIsOneServer(t *testing.T) {
	require.Equal(t, zktest.Shared(t).Addr(), zktest.Shared(t).Addr())
	conn, _ := session(t, zktest.Shared(t).Addr())
	_, err := conn.Create("/shared", nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
}
