package zktest_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// secureSession dials addr over TLS and waits until it has a session.
func secureSession(t *testing.T, addr string, cfg *tls.Config) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(quiet{}),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			return tls.DialWithDialer(&net.Dialer{Timeout: timeout}, network, address, cfg)
		}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	waitState(t, events, zk.StateHasSession)
	return conn
}

func TestSecurePortServes(t *testing.T) {
	for name, mutual := range map[string]bool{"server's certificate": false, "both certificates": true} {
		t.Run(name, func(t *testing.T) {
			id, client, err := zktest.NewTLS(mutual)
			require.NoError(t, err)
			s := zktest.Start(t, zktest.WithTLS(id))
			conn := secureSession(t, zktest.NewProxy(t, s.SecureAddr()).Addr(), client)
			_, err = conn.Create("/secure", nil, 0, openACL)
			require.NoError(t, err)
			plain, _ := session(t, s.Addr())
			exists, _, err := plain.Exists("/secure")
			require.NoError(t, err)
			require.True(t, exists)
		})
	}
}

func TestMutualTLSRefusesAStranger(t *testing.T) {
	id, client, err := zktest.NewTLS(true)
	require.NoError(t, err)
	s := zktest.Start(t, zktest.WithTLS(id))
	stranger := client.Clone()
	stranger.Certificates = nil
	conn, err := tls.Dial("tcp", s.SecureAddr(), stranger)
	if err == nil { // in TLS 1.3 the client hears of it with the first read
		defer conn.Close()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(limit)))
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorContains(t, err, "remote error: tls: ", "the server's alert: of a bad certificate, or of a failed handshake")
}
