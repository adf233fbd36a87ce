package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStreamIsNeverSilentForAsLongAsABalancerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{board: &board{view: view{Node: "node-1", State: "unknown"}, changed: make(chan struct{})}, leaving: make(chan struct{})}
		page := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			n.events(page, httptest.NewRequest(http.MethodGet, "/events", nil))
		}()
		<-time.After(55 * time.Second) // of virtual time; NGINX's proxy_read_timeout is 60 s
		n.board.set(func(v *view) { v.State = "vacant" })
		synctest.Wait()
		close(n.leaving)
		<-ended
		events := strings.Split(strings.TrimSpace(page.Body.String()), "\n\n")
		require.Len(t, events, 2+3, "%q", events)
		require.Contains(t, events[0], `"state":"unknown"`)
		require.Equal(t, []string{": alive", ": alive", ": alive"}, events[1:4])
		require.Contains(t, events[4], `"state":"vacant"`)
	})
}
