package electionhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionhttp"
	"github.com/zkelection/election/electiontest"
)

// sick makes the health check of ends fail.
var sick atomic.Bool

// ends are the ways in which a's term, or more, ends while a request is served, and what
// the answer then is.
var ends = map[string]struct {
	end  func(t *testing.T, zk *electiontest.Ensemble, a *process)
	want int
}{
	"lasts":  {func(*testing.T, *electiontest.Ensemble, *process) {}, 200},
	"resign": {func(t *testing.T, _ *electiontest.Ensemble, a *process) { go a.candidate.Resign(context.Background()) }, 200},
	"shutdown": {func(t *testing.T, _ *electiontest.Ensemble, a *process) {
		go a.candidate.Shutdown(context.Background())
	}, 200},
	"close": {func(t *testing.T, _ *electiontest.Ensemble, a *process) { _ = a.candidate.Close() }, 200},
	"unhealthy": {func(t *testing.T, _ *electiontest.Ensemble, a *process) {
		sick.Store(true)
		time.Sleep(time.Second)
	}, 200},
	"client closed": {func(t *testing.T, _ *electiontest.Ensemble, a *process) { _ = a.client.Close() }, 502},
	"shutdown, then the lease ends": {func(t *testing.T, zk *electiontest.Ensemble, a *process) {
		go a.candidate.Shutdown(context.Background())
		zk.Cut("a")
		time.Sleep(election.DefaultSessionTimeout / 2)
	}, 502},
	"shutdown, then work that outlasts the lease": {func(t *testing.T, _ *electiontest.Ensemble, a *process) {
		go a.candidate.Shutdown(context.Background())
		time.Sleep(election.DefaultSessionTimeout / 2) // a lease lasts for a third, and is not renewed
	}, 502},
	"shutdown, then the session ends": {func(t *testing.T, zk *electiontest.Ensemble, a *process) {
		go a.candidate.Shutdown(context.Background())
		synctest.Wait()
		zk.ExpireSession(zk.Leader(path).SessionID)
		time.Sleep(10 * time.Millisecond)
	}, 502},
	"shutdown, then the znode is deleted": {func(t *testing.T, zk *electiontest.Ensemble, a *process) {
		go a.candidate.Shutdown(context.Background())
		synctest.Wait()
		zk.TakeLeadership(path)
		time.Sleep(10 * time.Millisecond)
	}, 502},
	"the lease ends, and is good again": {func(t *testing.T, zk *electiontest.Ensemble, a *process) {
		zk.Cut("a")
		time.Sleep(election.DefaultSessionTimeout / 2)
		zk.Heal("a")
		time.Sleep(time.Second)
		require.Equal(t, "a", zk.Leader(path).ID)
	}, 502},
	"client is being closed": {func(t *testing.T, zk *electiontest.Ensemble, a *process) {
		zk.Cut("a")
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			a.client.Close()
		}()
		t.Cleanup(func() { <-closed })
		time.Sleep(time.Second / 2)
	}, 502},
	"znode deleted": {func(t *testing.T, zk *electiontest.Ensemble, _ *process) {
		zk.TakeLeadership(path)
		time.Sleep(10 * time.Millisecond)
	}, 502},
}

// A term that its own process gives up is held by the request, so the answer is good: but
// only as long as that is certain.
func TestAnswerOfATermThatWasGivenUpGoesOutWhileNobodyElseCanLead(t *testing.T) {
	for name, test := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sick.Store(false)
				zk := electiontest.New(t)
				a := join(t, zk, "a", election.WithHealthCheck(time.Second, func(context.Context) error {
					if sick.Load() {
						return errors.New("sick")
					}
					return nil
				}))
				b := join(t, zk, "b")
				a.leads(t)
				answer := post(electionhttp.RequireLeader(a.candidate, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					test.end(t, zk, a)
					synctest.Wait()
					if test.want == http.StatusOK {
						require.False(t, b.candidate.HasLeadership())
					}
					fmt.Fprint(w, "done")
				})))
				require.Equal(t, test.want, answer.Code, answer.Body)
				zk.Heal("a")
				time.Sleep(time.Minute)
			})
		})
	}
}
