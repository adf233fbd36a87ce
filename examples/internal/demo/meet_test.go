package demo

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listenAt makes a free address the meeting point, and calls greet with the first
// connection to it.
func listenAt(t *testing.T, greet func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	t.Setenv(MeetEnv, l.Addr().String())
	go func() {
		conn, err := l.Accept()
		if err == nil {
			greet(conn)
		}
	}()
}

func TestWhatListensAndSaysNothingIsNotWaitedForForEver(t *testing.T) {
	mute := make(chan net.Conn, 1)
	listenAt(t, func(conn net.Conn) { mute <- conn })
	_, err := ask(t.Context(), 50*time.Millisecond)
	require.ErrorContains(t, err, MeetEnv, "what to do about it")
	require.NotErrorIs(t, err, errNobody, "starting a host would not help")
	require.NoError(t, (<-mute).Close())
}

func TestAHostThatHasGreetedMayBeSilentAfterwards(t *testing.T) {
	hung := make(chan error, 1)
	listenAt(t, func(conn net.Conn) {
		defer conn.Close()
		_, _ = conn.Write([]byte(greeting + "127.0.0.1:1\n"))
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		hung <- err
	})
	connect, err := ask(t.Context(), 100*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", connect)
	var timeout net.Error
	require.ErrorAs(t, <-hung, &timeout, "the guest stays connected")
	require.True(t, timeout.Timeout())
}
