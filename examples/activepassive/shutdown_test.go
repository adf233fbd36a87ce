package main

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/activepassive/internal/cluster"
)

func TestGracefulShutdownOfTheLeaderLosesNoReadUnderLoad(t *testing.T) {
	s := startSystemWith(t, cluster.Config{ZooKeeper: ownRoot(t), Nodes: 3, Session: patient, Linger: linger})
	leader := s.node(s.must(http.MethodPost, hello).body)
	l := s.load()
	enough := func(what string, n int, want func(answer) bool) {
		s.await(limit, what, func() error {
			if have := l.count(want); have < n {
				return fmt.Errorf("%d of %d", have, n)
			}
			return nil
		})
	}
	enough("load", 300, answer.ok)
	began := time.Now()
	require.NoError(t, leader.Terminate())
	require.NoError(t, leader.Wait(s.ctx), "a graceful end is no error")
	left := time.Since(began)
	enough("writes under the new leader", 30, func(a answer) bool {
		return a.ok() && a.method == http.MethodPost && a.sent.After(began) && a.body != leader.ID
	})
	l.stop()
	s.settle("end", func() error { return s.out(leader) })
	report(t, l.answers, began, left)
}

const (
	// patient is a session timeout that is long enough for a busy machine, because no
	// session may expire here.
	patient = 10 * time.Second
	// handOver is how long writes may be refused while the leader drains, hands over, and
	// NGINX learns of the next one. That takes a fraction of a second. To wait for the
	// end of the leader's session would take at least eleven twelfths of the timeout.
	handOver = patient / 2
)

// report checks the answers that the load got.
func report(t *testing.T, all []answer, began time.Time, left time.Duration) {
	slices.SortFunc(all, func(a, b answer) int { return a.sent.Compare(b.sent) })
	var reads, refused int
	var writes []answer
	for _, a := range all {
		after := a.sent.Sub(began)
		require.NoError(t, a.err, "%s, sent %v after the signal", a.method, after)
		switch {
		case a.method == http.MethodGet:
			reads++
			require.Equal(t, http.StatusOK, a.status, "a read was lost %v after the signal: %s", after, a.body)
		case a.ok():
			writes = append(writes, a)
		default:
			refused++
			require.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
			require.True(t, a.done.After(began), "a write was refused before the signal: %s", a.body)
			require.Less(t, after, handOver, "a write is refused that long after the signal: %s", a.body)
		}
	}
	gap := oneNodeATerm(t, writes)
	perSecond := float64(len(all)-1) / all[len(all)-1].sent.Sub(all[0].sent).Seconds()
	t.Logf("%.0f requests/s; reads %d, lost 0; writes answered %d, refused %d (nobody to write for %v); the leader had left after %v",
		perSecond, reads, len(writes), refused, gap.Round(time.Millisecond), left.Round(time.Millisecond))
	require.GreaterOrEqual(t, perSecond, float64(often), "the load")
}

// oneNodeATerm checks what the fencing tokens promise. A token belongs to one node. After
// a write was answered with a token, no write that is sent later is answered with a
// smaller one. It returns the time between the last answer of the first term and the
// first answer of the second.
func oneNodeATerm(t *testing.T, writes []answer) time.Duration {
	t.Helper()
	node := map[string]string{}
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for _, a := range writes {
		require.NotEmpty(t, a.token, "an answered write has a token")
		if other, ok := node[a.token]; ok {
			require.Equal(t, other, a.body, "two nodes answered under token %s", a.token)
		} else {
			node[a.token], first[a.token] = a.body, a.done
		}
		last[a.token] = a.done
		for _, b := range writes {
			if a.done.Before(b.sent) {
				require.LessOrEqual(t, number(t, a.token), number(t, b.token), "%+v was answered before %+v was sent", a, b)
			}
		}
	}
	require.Len(t, node, 2, "one term before, one after: %v", node)
	return first[writes[len(writes)-1].token].Sub(last[writes[0].token])
}
