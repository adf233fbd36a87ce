//go:build linux

package nginx_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/examples/activepassive/nginx"
	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

// A write may be repeated only if it has reached no node. A read may always be repeated.
func TestAnswerSaysWhetherARequestMayBeRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		node        func(t *testing.T) (addr string)
		write, read int
	}{
		"nobody listens":                     {closed, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		"the node does not take connections": {full, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		"the node dies over a request":       {dying, http.StatusBadGateway, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, c.node(t))
			for _, r := range []struct {
				method string
				status int
			}{{http.MethodPost, c.write}, {http.MethodPut, c.write}, {http.MethodGet, c.read}} {
				status, again, body := ask(t, r.method, url)
				require.Equal(t, r.status, status, "%s: %s", r.method, body)
				if status == http.StatusServiceUnavailable {
					require.Equal(t, "1", again, r.method)
					require.Contains(t, body, "at the moment")
					continue
				}
				require.Empty(t, again, "%s is not to be repeated", r.method)
				require.Contains(t, body, "may have done it")
			}
		})
	}
}

// If a write's term ended while it was at work, NGINX passes the node's answer on
// unchanged.
func TestDoubtOfANodeReachesTheClient(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "node-1 may have done it", http.StatusBadGateway)
	}))
	t.Cleanup(node.Close)
	status, again, body := ask(t, http.MethodPost, serve(t, node.Listener.Addr().String()))
	require.Equal(t, http.StatusBadGateway, status)
	require.Empty(t, again)
	require.Equal(t, "node-1 may have done it\n", body)
}

func ask(t *testing.T, method, url string) (status int, retryAfter, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(text)
}

// closed returns an address at which nothing listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// dying returns the address of a node that ends a connection when a request has come.
func dying(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// full returns the address of a node that was frozen for so long that the kernel accepts
// no more connections for it.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	at, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
	for { // the kernel's queue holds one or two
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// serve runs NGINX with node as the leader, and returns NGINX's address.
func serve(t *testing.T, node string) (url string) {
	t.Helper()
	zktest.SkipIfShort(t, "NGINX, and a real ZooKeeper")
	listen := closed(t)
	f, err := nginx.Prepare(t.TempDir(), listen)
	require.NoError(t, err)
	for _, setting := range f.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	configure(t, f, register(t, node))

	line := f.Command()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), line[0], line[1:]...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, demo.OwnGroup()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	return "http://" + listen + "/microservice/test/hello"
}

// register makes a registry with one node that leads, and returns the registry's connect
// string.
func register(t *testing.T, node string) (connect string) {
	t.Helper()
	host, port, err := net.SplitHostPort(node)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	in := discovery.NewInstance("bookService", host, n)
	in.Payload.Leader = true
	data, err := json.Marshal(in)
	require.NoError(t, err)
	server := zktest.Shared(t)
	conn, _, err := zk.Connect([]string{server.Addr()}, 4*time.Second, zk.WithLogInfo(false))
	require.NoError(t, err)
	defer conn.Close()
	root := "/answers-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	for _, path := range []string{"", "/service-discovery", "/service-discovery/bookService"} {
		_, err = conn.Create(root+path, nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(t, err)
	}
	_, err = conn.Create(root+"/service-discovery/bookService/"+in.ID, data, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	return server.Addr() + root
}
