//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPausedLeaderRefusesWritesWhenItGoesOnAndIsRegisteredAgain(t *testing.T) {
	s := startSystem(t, ownRoot(t), brief)
	leader := s.node(s.must(http.MethodPost, hello).body)
	require.NoError(t, leader.Pause())
	resume := func() { require.NoError(t, leader.Resume()) }
	t.Cleanup(resume) // otherwise it could not be stopped in good order
	paused := time.Now()
	s.settle("new writer", func() error { return s.out(leader) })

	// The kernel accepts requests for a frozen process. The process finds them when it
	// goes on, before it has heard anything from ZooKeeper.
	t.Logf("a new writer settled after %v", time.Since(paused).Round(time.Millisecond))
	var waiting []net.Conn
	for range 8 {
		conn, err := net.Dial("tcp", leader.Addr)
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", hello, leader.Addr)
		require.NoError(t, err)
		waiting = append(waiting, conn)
	}
	resume()
	for _, conn := range waiting {
		require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
	s.settle("return of "+leader.ID, func() error {
		up, err := s.NGINX.Upstreams()
		if err == nil && !slices.Contains(up["read_nodes"], leader.Addr) {
			err = fmt.Errorf("read_nodes are %v", up["read_nodes"])
		}
		return err
	})
	require.NotEqual(t, leader.ID, s.must(http.MethodPost, hello).body, "it is at the back of the line")
}
