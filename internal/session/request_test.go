package session

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// pipes returns a dialer to a server in memory that calls talk for each client, with the
// client's connect request.
func pipes(talk func(c net.Conn, request []byte)) zk.Dialer {
	return func(string, string, time.Duration) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if b, err := readFrame(theirs); err == nil {
				talk(theirs, b)
			}
		}()
		return mine, nil
	}
}

// dialing turns a dialer into a Config.Dialer.
func dialing(d zk.Dialer) func(context.Context) zk.Dialer {
	return func(context.Context) zk.Dialer { return d }
}

// requests keeps the connect requests, without their length words.
type requests struct {
	mu  sync.Mutex
	all [][]byte
}

func (r *requests) add(b []byte) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, b)
	return len(r.all)
}

func (r *requests) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func (r *requests) timeouts() (all []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.all {
		all = append(all, time.Duration(binary.BigEndian.Uint32(b[requestTimeout-4:]))*time.Millisecond)
	}
	return all
}

func sessionOf(request []byte) int64 {
	return int64(binary.BigEndian.Uint64(request[requestSession-4:]))
}

func TestEveryHandshakeAsksForTheUsersTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const asked = 20 * time.Second
		grants := []time.Duration{asked, 3 * time.Second, 3 * time.Second, 4 * time.Second}
		var asks requests
		server := pipes(func(c net.Conn, request []byte) {
			n := asks.add(request)
			c.Write(granting(grants[min(n, len(grants))-1], 7))
			time.Sleep(time.Second)
		})
		s := dial(t, Config{Servers: []string{"a:1"}, Timeout: asked, Dialer: dialing(server)})
		defer s.Close()
		time.Sleep(30 * time.Second)
		all := asks.timeouts()
		require.Greater(t, len(all), 5)
		for i, got := range all {
			require.Equal(t, asked, got, "handshake %d", i+1)
		}
		require.Equal(t, 3*time.Second, s.Timeout(), "the shortest that was granted counts")
	})
}
