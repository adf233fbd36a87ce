package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// failing is a connection whose reads or writes fail.
type failing struct {
	net.Conn
	read, write error
}

func (f failing) Read(b []byte) (int, error) {
	if f.read != nil {
		return 0, f.read
	}
	return f.Conn.Read(b)
}

func (f failing) Write(b []byte) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.Conn.Write(b)
}

// badServer is a server that does not greet, and the error that a client gets for it.
type badServer struct {
	talk    func(c net.Conn)
	fails   failing
	opts    []election.ClientOption
	says    []string // words of the error
	wrapped func(error) bool
}

// badServers returns servers that do not greet, by what they do.
func badServers() map[string]badServer {
	web := httptest.NewTLSServer(nil)
	certificate := web.TLS.Certificates
	web.Close()

	once := func(c net.Conn) { c.Read(make([]byte, 9999)) }
	forever := func(c net.Conn) { io.Copy(io.Discard, c) }
	http := func(c net.Conn) { once(c); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }
	alert := func(c net.Conn) { once(c); c.Write([]byte{0x15, 3, 3, 0, 2, 2, 10}) }
	overTLS := func(config *tls.Config) func(net.Conn) {
		config.Certificates = certificate
		return func(c net.Conn) {
			secure := tls.Server(c, config)
			if secure.Handshake() == nil {
				secure.Read(make([]byte, 9999))
			}
			secure.Close()
		}
	}
	strict := overTLS(&tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12})
	withTLS := []election.ClientOption{election.WithTLS(&tls.Config{InsecureSkipVerify: true})}
	hasTLS := func(err error) bool { return errors.As(err, new(tls.RecordHeaderError)) }
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	any := func(error) bool { return true }

	return map[string]badServer{
		"it closes": {talk: once, wrapped: is(io.EOF),
			says: []string{"in place of a greeting", "no quorum", "lost or rolled back", "maxClientCnxns",
				"speaks TLS"}},
		"it resets": {talk: forever, fails: failing{read: syscall.ECONNRESET}, wrapped: is(syscall.ECONNRESET),
			says: []string{"no quorum"}},
		"broken pipe": {talk: forever, fails: failing{write: syscall.EPIPE}, wrapped: is(syscall.EPIPE),
			says: []string{"no quorum", "broken pipe"}},
		"it is silent": {talk: forever, wrapped: is(os.ErrDeadlineExceeded),
			says: []string{"no greeting in time", "overloaded"}},
		"another kind of server": {talk: http, wrapped: any,
			says: []string{"no ZooKeeper server"}},
		"plain against TLS, an alert": {talk: alert, wrapped: any,
			says: []string{"no ZooKeeper server", "speaks TLS (WithTLS)"}},
		"plain against TLS": {talk: overTLS(&tls.Config{}), wrapped: any,
			says: []string{"speaks TLS (WithTLS)"}},
		"TLS against plain, another server": {talk: http, opts: withTLS, wrapped: hasTLS,
			says: []string{"does not speak TLS", "secureClientPort"}},
		"TLS against plain": {talk: once, opts: withTLS, wrapped: is(io.EOF),
			says: []string{"during the TLS handshake", "does not speak TLS"}},
		"TLS against a silent server": {talk: forever, opts: withTLS, wrapped: is(context.DeadlineExceeded),
			says: []string{"TLS handshake in time", "does not speak TLS"}},
		"no client certificate": {talk: strict, opts: withTLS, wrapped: any,
			says: []string{"most likely for the client's certificate"}},
		"it closes under TLS": {talk: overTLS(&tls.Config{}), opts: withTLS, wrapped: is(io.EOF),
			says: []string{"no quorum", "refuses the client's certificate"}},
	}
}

// The error for a server that does not greet says in plain words what that can mean, and
// wraps the original error.
func TestWhatComesInPlaceOfAGreetingIsExplained(t *testing.T) {
	for name, c := range badServers() {
		t.Run(name, func(t *testing.T) { synctest.Test(t, c.isExplained) })
	}
}

func (c badServer) isExplained(t *testing.T) {
	var talks sync.WaitGroup
	defer talks.Wait()
	dial := func(string, string, time.Duration) (net.Conn, error) {
		ours, theirs := net.Pipe()
		talks.Go(func() {
			defer theirs.Close()
			c.talk(theirs)
		})
		return failing{ours, c.fails.read, c.fails.write}, nil
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	opts := append(slices.Clone(c.opts), election.WithDialer(dial), election.WithClientLogger(quiet))
	_, err := election.Connect(ctx, "zk", opts...)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	for _, words := range c.says {
		assert.ErrorContains(t, err, words)
	}
	assert.True(t, c.wrapped(err), "%v", err)
	time.Sleep(10 * time.Second)
}
