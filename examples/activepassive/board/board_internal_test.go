package board

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
)

func TestStreamIsNeverSilentForAsLongAsABalancerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := still(Config{NodeID: "node-1"})
		page := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/events", nil))
		}()
		<-time.After(55 * time.Second) // of virtual time; NGINX's proxy_read_timeout is 60 s
		b.set(func(v *view) { v.State = "vacant" })
		synctest.Wait()
		b.Leave()
		<-ended
		events := strings.Split(strings.TrimSpace(page.Body.String()), "\n\n")
		require.Len(t, events, 2+3, "%q", events)
		require.Contains(t, events[0], `"state":"unknown"`)
		require.Equal(t, []string{": alive", ": alive", ": alive"}, events[1:4])
		require.Contains(t, events[4], `"state":"vacant"`)
	})
}

func TestLeaderIsSilentUntilItAnswersOrAnotherLeads(t *testing.T) {
	b := still(Config{NodeID: "node-2"})
	seen := func(change func(*view)) bool {
		b.set(change)
		return b.look().Silent
	}
	require.False(t, seen(func(v *view) { v.State, v.Leader, v.Token = "led", "node-1", "0x1" }))
	other := node{Name: "node-2", key: "b"}
	require.False(t, seen(func(v *view) { v.Nodes = []node{{Name: "node-1", Writes: true, key: "a"}, other} }))
	require.False(t, seen(func(v *view) {
		v.Nodes = []node{{Name: "node-1", Writes: true, key: "a"}, {Name: "node-2", Silent: true}}
	}),
		"another node is silent")
	require.True(t, seen(func(v *view) { v.Nodes = []node{{Name: "node-1", Writes: true, Silent: true, key: "a"}, other} }))
	require.True(t, seen(func(v *view) { v.Nodes = []node{other} }), "its registration has ended before its leadership")
	require.False(t, seen(func(v *view) { v.Nodes = []node{{Name: "node-1", key: "c"}, other} }), "it is back in time")
	require.True(t, seen(func(v *view) { v.Nodes = []node{{Writes: true, Silent: true, key: "a"}, other} }), "it never said its name")
	b.set(func(v *view) { v.lead(election.Participant{}, election.ErrNoLeader, nil) })
	require.False(t, b.look().Silent)
}

func TestTermThatBeganBeforeWeLookedBeganWithItsClaim(t *testing.T) {
	b := still(Config{NodeID: "node-2"})
	claimed := time.UnixMilli(1763712000000)
	claim := func(zxid int64) []discovery.Entry {
		return []discovery.Entry{{Key: "/s/a", Modified: zxid, Written: claimed, Value: `{"address":"h","port":1,"payload":{"leader":true}}`}}
	}
	lead := func(token int64) {
		b.set(func(v *view) { v.lead(election.Participant{ID: "node-1", Token: token}, nil, nil) })
	}
	b.set(func(v *view) { v.register(claim(6)) })
	lead(7)
	require.Nil(t, b.look().Since, "the claim is of an earlier leader")
	b.set(func(v *view) { v.register(claim(8)) })
	require.Equal(t, claimed, *b.look().Since)
	lead(9)
	require.WithinDuration(t, time.Now(), *b.look().Since, time.Minute, "we saw that begin")
}

func TestNodesHaveTheNamesOfTheElection(t *testing.T) {
	b := still(Config{NodeID: "node-2"})
	entries := []discovery.Entry{
		{Key: "/s/a", Value: `{"address":"10.0.0.2","port":80}`},
		{Key: "/s/b", Value: `{"address":"10.0.0.1","port":80}`},
		{Key: "/s/c", Value: "junk"},
	}
	b.set(func(v *view) { v.register(entries) })
	line := []stander{{ID: "node-1", addr: "10.0.0.1:80"}, {ID: "node-2", addr: "10.0.0.2:80"}}
	want := []node{{Addr: "10.0.0.1:80", Name: "node-1", key: "/s/b"}, {Addr: "10.0.0.2:80", Name: "node-2", key: "/s/a"}}
	b.set(func(v *view) { v.lead(election.Participant{ID: "node-1", Token: 1}, nil, line) })
	require.Equal(t, want, b.look().Nodes)
	b.set(func(v *view) { v.lead(election.Participant{ID: "node-1", Token: 1}, nil, line[:1]) })
	b.set(func(v *view) { v.register(entries) })
	require.Equal(t, want, b.look().Nodes, "a node keeps its name when it has left the line")
}
