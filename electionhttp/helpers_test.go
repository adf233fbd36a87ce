package electionhttp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const path = "/writer"

// process is one process of a service: a client and its candidate, and a Follower.
type process struct {
	name      string
	client    *election.Client
	candidate *election.Candidate
	follower  *election.Follower
}

// address is where a process serves, in the network of a test.
func address(name string) string { return name + ":80" }

// join starts a process. It is in line when join returns, behind those that were started
// before it.
func join(t *testing.T, zk *electiontest.Ensemble, name string, opts ...election.Option) *process {
	t.Helper()
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() }) // a client that is cut off cannot end its session
	opts = append([]election.Option{election.WithID(name), election.WithMetadata(map[string]string{"address": address(name)})}, opts...)
	candidate, err := election.NewCandidate(client, path, opts...)
	require.NoError(t, err)
	require.NoError(t, candidate.Start(t.Context()))
	return &process{name, client, candidate, client.Follow(path)}
}

// leads waits until p leads.
func (p *process) leads(t *testing.T) *election.Term {
	t.Helper()
	term, err := p.candidate.Await(t.Context())
	require.NoError(t, err)
	return term
}

// serve passes one request to h.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(h http.Handler) *httptest.ResponseRecorder {
	return serve(h, httptest.NewRequest(http.MethodGet, "/", nil))
}

func post(h http.Handler) *httptest.ResponseRecorder {
	return serve(h, httptest.NewRequest(http.MethodPost, "/", nil))
}

func hex(token int64) string { return fmt.Sprintf("%#x", token) }

// network is one of pipes, which obeys virtual time. A machine in it can be killed or
// frozen.
type network struct {
	mu    sync.Mutex // guards the following
	hosts map[string]*host
}

// host is one machine's end of the network. It is a net.Listener.
type host struct {
	addr    string
	calls   chan net.Conn
	dead    chan struct{}
	frozen  chan struct{}
	mu      sync.Mutex // guards the following
	conns   []net.Conn
	stopped bool
}

func newNetwork() *network { return &network{hosts: map[string]*host{}} }

func (n *network) listen(addr string) *host {
	h := &host{addr: addr, calls: make(chan net.Conn), dead: make(chan struct{}), frozen: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[addr] = h
	return h
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[addr]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	if h == nil {
		return nil, refused
	}
	here, there := net.Pipe()
	select {
	case h.calls <- h.conn(there):
		return h.conn(here), nil
	case <-h.dead:
		return nil, refused
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
}

// transport is for clients in the network. It is closed with the test.
func (n *network) transport(t *testing.T) *http.Transport {
	tr := &http.Transport{DialContext: n.dial, MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (h *host) conn(c net.Conn) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c)
	return &conn{Conn: c, dead: h.dead, frozen: h.frozen, closed: make(chan struct{})}
}

func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.calls:
		return c, nil
	case <-h.dead:
		return nil, net.ErrClosed
	}
}

func (h *host) Addr() net.Addr { return pipeAddr(h.addr) }

func (h *host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		close(h.dead)
	}
	h.stopped = true
	return nil
}

// kill closes the listener and all connections, as the end of a process does.
func (h *host) kill() {
	_ = h.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// freeze keeps all connections open, and nothing passes any more.
func (h *host) freeze() { close(h.frozen) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// conn is one end of a connection. What is written to a frozen machine, or by it, arrives
// nowhere.
type conn struct {
	net.Conn
	dead, frozen chan struct{} // the machine's
	once         sync.Once
	closed       chan struct{}
}

func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.frozen:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(b)
	}
}

// Read fails like that of a socket if the other machine has died.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.dead:
		if err != nil {
			err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
	default:
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// RemoteAddr is a host and port, as that of a request is.
func (c *conn) RemoteAddr() net.Addr { return pipeAddr("192.0.2.1:1234") }

// start serves h at addr until the test ends.
func (n *network) start(t *testing.T, addr string, h http.Handler) *host {
	l := n.listen(addr)
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // returns when it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close()
		l.kill()
		<-ended
	})
	return l
}
