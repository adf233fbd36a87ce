package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Stories about host names with several addresses, and about slow greetings.

// nameService gives every name these addresses for the rest of the test. It speaks DNS
// over a pipe.
func nameService(t *testing.T, addresses ...string) {
	var all []netip.Addr
	for _, a := range addresses {
		all = append(all, netip.MustParseAddr(a))
	}
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go resolve(theirs, all)
		return mine, nil
	}}
}

// resolve answers DNS questions by RFC 1035. On a stream, each message is preceded by its
// length.
func resolve(c net.Conn, all []netip.Addr) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		end := 12
		for q[end] != 0 {
			end += 1 + int(q[end])
		}
		end += 5 // the root, the type, the class
		const isA = 1
		var answers []byte
		n := 0
		for _, a := range all {
			if binary.BigEndian.Uint16(q[end-4:]) != isA {
				break
			}
			answers = append(answers, 0xc0, 12, 0, isA, 0, 1, 0, 0, 0, 0, 0, 4)
			answers = append(answers, a.AsSlice()...)
			n++
		}
		m := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, byte(n), 0, 0, 0, 0}, q[12:end]...)
		m = append(m, answers...)
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	}
}

// relay connects clients to a server of the ensemble, over TLS if there is a config. It
// can break their connections.
type relay struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns []net.Conn
}

func newRelay(t *testing.T, to string, config *tls.Config) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l, to: to}
	if config != nil {
		r.Listener = tls.NewListener(l, config)
	}
	t.Cleanup(func() {
		l.Close()
		r.reset()
	})
	go func() {
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
	return r
}

func (r *relay) pass(c net.Conn) {
	defer c.Close()
	plain := net.Dialer{Resolver: new(net.Resolver)} // nameService changes the default resolver
	s, err := plain.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer s.Close()
	r.mu.Lock()
	r.conns = append(r.conns, c, s)
	r.mu.Unlock()
	go func() { _, _ = io.Copy(s, c); s.Close() }()
	_, _ = io.Copy(c, s)
}

func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// certificate returns a server's certificate for one name.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// accepts listens at an address and sends nothing.
func accepts(t *testing.T, address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine has no second loopback address: %v", err)
	}
	t.Cleanup(func() { l.Close() }) // the kernel accepts connections
}

// A name has three addresses: one accepts and sends nothing, one is off, and one is a
// server.
func TestACandidateLeadsBehindANameOfWhichMostAddressesAreDead(t *testing.T) {
	const timeout = 2 * time.Second
	nameService(t, "127.0.0.2", "127.0.0.3", "127.0.0.1")
	cert, pool := certificate(t, "zk.test")
	for name, c := range map[string]struct {
		server *tls.Config
		opts   []election.ClientOption
	}{
		"plain": {},
		"TLS": {&tls.Config{Certificates: []tls.Certificate{cert}},
			[]election.ClientOption{election.WithTLS(&tls.Config{RootCAs: pool})}},
	} {
		t.Run(name, func(t *testing.T) {
			e := zksim.New(zksim.Config{Tick: 500 * time.Millisecond})
			defer e.Close()
			to, err := e.ListenTCP("127.0.0.1:0")
			require.NoError(t, err)
			r := newRelay(t, to, c.server)
			_, port, err := net.SplitHostPort(r.Addr().String())
			require.NoError(t, err)
			accepts(t, net.JoinHostPort("127.0.0.2", port))
			for range 3 { // the first address is random
				leadsBehindAName(t, e, r, net.JoinHostPort("zk.test", port), timeout, c.opts)
			}
		})
	}
}

func leadsBehindAName(t *testing.T, e *zksim.Ensemble, r *relay, name string, timeout time.Duration,
	opts []election.ClientOption) {
	bound := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), timeout+2*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	opts = append([]election.ClientOption{election.WithSessionTimeout(timeout), election.WithClientLogger(quiet)},
		opts...)
	client, err := election.Connect(bound(), name, opts...)
	require.NoError(t, err)
	defer client.Close()
	cand, err := election.NewCandidate(client, path)
	require.NoError(t, err)
	term, err := cand.Await(bound())
	require.NoError(t, err)

	r.reset()
	for _, s := range e.Sessions() {
		e.ExpireSession(s.ID)
	}
	ctx := bound()
	select {
	case <-term.Done():
	case <-ctx.Done():
		require.Fail(t, "the term outlives its session")
	}
	again, err := cand.Await(bound())
	require.NoError(t, err)
	require.Greater(t, again.Token(), term.Token())
}

func TestCandidatesLeadAtServersThatGreetSlowly(t *testing.T) {
	const late = 4 * time.Second
	tell(t, func(s story) {
		s.e.GreetSlowly(1, late, late)
		began := time.Now()
		cand := s.start(s.client("a"))
		_, err := cand.Await(s.Context())
		require.NoError(s, err)
		assert.Less(s, time.Since(began), 12*time.Second)
		assert.EqualValues(s, 2, s.e.Stats().Connections, "one session was made in vain")

		for _, session := range s.e.Sessions() {
			s.e.ExpireSession(session.ID)
		}
		time.Sleep(20 * time.Second)
		assert.True(s, cand.HasLeadership())
		time.Sleep(20 * time.Second)
		assert.Len(s, s.e.Sessions(), 1)
	})
}

// A handshake takes 4 s. It is allowed 3 s at first, and 6 s after a round in which all
// servers were too slow.
func TestAServerThatIsSlowAtTLSIsWaitedForInTheEnd(t *testing.T) {
	tell(t, func(s story) {
		cert, pool := certificate(s.T, "zk1")
		dials := 0
		slowly := func(network, address string, timeout time.Duration) (net.Conn, error) {
			dials++
			to, err := s.e.DialerFor("a")(network, address, timeout)
			if err != nil {
				return nil, err
			}
			mine, theirs := net.Pipe()
			go func() {
				defer to.Close()
				time.Sleep(4 * time.Second)
				c := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{cert}})
				defer c.Close()
				go func() { _, _ = io.Copy(c, to); c.Close() }()
				_, _ = io.Copy(to, c)
			}()
			return mine, nil
		}
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		client, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(slowly),
			election.WithTLS(&tls.Config{RootCAs: pool}), election.WithClientLogger(quiet))
		require.NoError(s, err)
		s.closeLater(client)
		assert.Equal(s, 2, dials)
	})
}
