package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// orders are all in which three pods can be stopped. The first pod leads, so 210 stops the
// leader last, and 012 stops in each step the one that leads then.
var orders = [][]int{{2, 1, 0}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}, {0, 2, 1}, {0, 1, 2}}

// The Deployment of the manifests is updated twice, whichever pods are stopped first.
func TestARollingUpdateTakesOneHandOver(t *testing.T) {
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.order = order
				c.launch(1)
				require.Equal(t, "writer-1-a", c.leader())

				for revision := 1; revision <= 2; revision++ {
					require.True(t, c.rollOut(revision, revision+1, time.Hour))
					require.Equal(t, revision, c.handOvers(), "terms: %v", c.terms)
					require.Equal(t, 3, c.fewest, "available pods")
					require.Contains(t, c.leader(), fmt.Sprintf("writer-%d-", revision+1))
				}
				c.end()
			})
		})
	}
}

// Without a revision, leadership goes to the next in line, which may be the next to be
// stopped.
func TestWithoutARevisionEachOldPodMayLeadInTurn(t *testing.T) {
	want := map[string]int{"[2 1 0]": 1, "[1 2 0]": 1, "[2 0 1]": 2, "[1 0 2]": 2, "[0 2 1]": 2, "[0 1 2]": 3}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.order, c.handsOver = order, false
				c.launch(1)
				require.True(t, c.rollOut(1, 2, time.Hour))
				require.Equal(t, want[fmt.Sprint(order)], c.handOvers(), "terms: %v", c.terms)
				c.end()
			})
		})
	}
}

// With maxUnavailable: 1 and no surge, the first pod is stopped before there is a new one
// that could lead.
func TestWithoutASurgeAnUpdateMayTakeTwoHandOvers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.manifest.Spec.Strategy.RollingUpdate.MaxSurge, c.manifest.Spec.Strategy.RollingUpdate.MaxUnavailable = 0, 1
		c.order = []int{0, 1, 2}
		c.launch(1)
		require.True(t, c.rollOut(1, 2, time.Hour))
		require.Equal(t, 2, c.handOvers(), "terms: %v", c.terms)
		require.Equal(t, 2, c.fewest, "available pods")
		c.end()
	})
}

// The new pod waits for leadership, and the leader is stopped only when the new pod is
// ready.
func TestAnUpdateNeverEndsIfReadinessIsLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.launch(1)
		c.isReady = func(p *pod) bool { return p.name == c.leader() }
		c.probe()
		require.Equal(t, 1, c.available(), "pods that the Service sends requests to")
		require.False(t, c.rollOut(1, 2, 20*time.Minute))
		require.Equal(t, "writer-1-a", c.leader())
		require.Equal(t, []int{3, 1}, []int{c.count(1), c.count(2)}, "pods of the old and the new revision")
		c.end()
	})
}

// A leader that is stopped in the middle of an update does not know which revision is the
// new one.
func TestANewLeaderThatIsStoppedDuringAnUpdateHandsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.order = []int{0, 1, 2}
		c.launch(1)
		require.False(t, c.rollOut(1, 2, 12*time.Second))
		require.Equal(t, "writer-2-d", c.leader())
		drained := c.pods[slices.IndexFunc(c.pods, func(p *pod) bool { return p.name == "writer-2-d" })]
		require.NotZero(t, c.count(1), "old pods that are left")
		c.stop(drained)
		require.True(t, c.rollOut(1, 2, time.Hour))
		require.Equal(t, 3, c.handOvers(), "terms: %v", c.terms)
		c.end()
	})
}

// An outage of ZooKeeper restarts no pod and takes none out of service. It holds a rolling
// update up, since a new pod is not ready.
func TestProbesWhileZooKeeperIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.launch(1)
		c.zk.Cut("writer-1-a")
		time.Sleep(time.Minute)
		require.Equal(t, "writer-1-b", c.leader())
		requireProbes(t, c.pods[0], "200 live", "200 ready")

		c.zk.Cut("writer-1-d")
		c.start(1)
		time.Sleep(time.Minute)
		requireProbes(t, c.pods[3], "200 live", "503 not ready: has not joined the line yet")
		c.zk.Heal("writer-1-a")
		c.zk.Heal("writer-1-d")
		time.Sleep(time.Minute)
		requireProbes(t, c.pods[3], "200 live", "200 ready")
		c.end()
	})
}

func requireProbes(t *testing.T, p *pod, live, ready string) {
	t.Helper()
	for path, want := range map[string]string{"/livez": live, "/readyz": ready} {
		status, text := p.network.get(t, path)
		require.Equal(t, want, fmt.Sprintf("%d %s", status, text), "%s of %s", path, p.name)
	}
}

// A session is not enough: a pod that has one and is not in line could not take over.
func TestAPodIsReadyOnceItHasJoined(t *testing.T) {
	zk := electiontest.New(t)
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer("a")))
	require.NoError(t, err)
	defer client.Close()
	var joined atomic.Bool
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
		answer := httptest.NewRecorder()
		ready(client, &joined).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		require.Equal(t, want, answer.Code)
		joined.Store(true)
	}
}
