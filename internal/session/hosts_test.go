package session

import (
	"slices"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

var _ zk.HostProvider = (*hosts)(nil)

// round calls Next until it says that everything has been tried, and returns what it
// offered before that.
func round(t *testing.T, h *hosts) (offered []string) {
	for range 100 {
		server, again := h.Next()
		if again {
			return offered
		}
		offered = append(offered, server)
	}
	require.Fail(t, "it never said that all servers have been tried: the driver would never pause")
	return nil
}

func TestHostsOffersEveryServerBeforeItAsksForAPause(t *testing.T) {
	servers := []string{"a:1", "b:2", "c:3"}
	h := new(hosts)
	require.NoError(t, h.Init(servers))
	require.Equal(t, 3, h.Len())
	for i := range 5 {
		offered := round(t, h)
		if i > 0 { // the call that asked for a pause has offered one
			require.Len(t, offered, 2)
			continue
		}
		slices.Sort(offered)
		require.Equal(t, servers, offered)
	}
}

func TestHostsReconnectsWithoutAPauseAfterASuccess(t *testing.T) {
	for _, servers := range [][]string{{"a:1"}, {"a:1", "b:2"}} {
		h := new(hosts)
		require.NoError(t, h.Init(servers))
		for range 3 {
			h.Connected()
			offered := round(t, h)
			require.Len(t, offered, len(servers)+1, "one of them to hear that the session has expired")
			slices.Sort(offered)
			require.Equal(t, servers, slices.Compact(offered))
		}
	}
}

func TestHostsKeepsToTheNames(t *testing.T) {
	h := new(hosts)
	require.NoError(t, h.Init([]string{"no.such.host.invalid:2181"}))
	for range 3 {
		server, _ := h.Next()
		require.Equal(t, "no.such.host.invalid:2181", server)
	}
}

func TestHostsLeavesTheCallersSliceAlone(t *testing.T) {
	servers := []string{"a:1", "b:2", "c:3", "d:4", "e:5"}
	mine := slices.Clone(servers)
	require.NoError(t, new(hosts).Init(mine))
	require.Equal(t, servers, mine)
}
