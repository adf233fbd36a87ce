package electionprom_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionprom"
	"github.com/zkelection/election/electiontest"
)

func TestTheGaugesSayWhoLeadsAndWhoIsNext(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a, b := start(t, zk, "a"), start(t, zk, "b")
		assert.Empty(t, a.values("leader_election_master_status"), "before a candidate takes part")
		x := a.candidate(job)
		y := b.candidate(job)
		rest()
		assert.Equal(t, map[string]float64{job: 1}, a.values("leader_election_master_status"))
		assert.Equal(t, map[string]float64{job: 0}, b.values("leader_election_master_status"))
		assert.Equal(t, map[string]float64{job: 1}, a.values("election_place"))
		assert.Equal(t, map[string]float64{job: 2}, b.values("election_place"))
		assert.Equal(t, map[string]float64{job + " leading": 1}, a.values("election_candidates"))
		assert.Equal(t, map[string]float64{job + " following": 1}, b.values("election_candidates"))
		left := time.Until(leads(t, x).Deadline()).Seconds()
		assert.Equal(t, map[string]float64{job: left}, a.values("election_lease_remaining_seconds"))
		assert.Empty(t, b.values("election_lease_remaining_seconds"), "it does not lead")

		require.NoError(t, x.Shutdown(t.Context()))
		leads(t, y)
		assert.Equal(t, map[string]float64{job: 0}, a.values("leader_election_master_status"), "no series ends")
		assert.Equal(t, map[string]float64{job: 1}, b.values("leader_election_master_status"))
		rest()
		assert.Empty(t, a.values("election_place"))
		assert.Empty(t, a.values("election_candidates"))
	})
}

// The trace hears of a lease's end a moment later. The clock says it at once.
func TestTheStatusIsReadFromTheLeaseAtTheScrape(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		stuck := make(chan struct{})
		a := start(t, zk, "a")
		slow := &election.Trace{TermBegan: func(election.TermBeganInfo) { <-stuck }}
		client := connect(t, zk, "slow", a.trace, slow)
		t.Cleanup(func() { close(stuck) })
		term := leads(t, candidate(t, client, job))
		rest()
		assert.Equal(t, map[string]float64{job: 1}, a.values("leader_election_master_status"))
		zk.Cut("slow")
		time.Sleep(time.Until(term.Deadline()) + 10*time.Second)
		assert.Equal(t, map[string]float64{job: 0}, a.values("leader_election_master_status"))
		assert.Empty(t, a.values("election_lease_remaining_seconds"))
		assert.Zero(t, a.values("election_terms_ended_total")[job+" lease_expired"], "not heard of yet")
	})
}

func TestTermsAreCountedByTheCauseOfTheirEnd(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		var sick atomic.Bool
		x := a.candidate(job, election.WithHealthCheck(time.Second, func(context.Context) error {
			if sick.Load() {
				return errors.New("sick")
			}
			return nil
		}))
		leads(t, x)
		require.NoError(t, x.Resign(t.Context()))
		leads(t, x)
		zk.Cut("a")
		time.Sleep(5 * time.Second)
		zk.Heal("a")
		leads(t, x)
		zk.ExpireSession(zk.Leader(job).SessionID) // while it is connected: its watch fires before the server hangs up
		rest()
		leads(t, x)
		zk.TakeLeadership(job)
		rest()
		sick.Store(true)
		rest()
		sick.Store(false)
		rest()
		leads(t, x)
		require.NoError(t, a.client.Close())

		ended := a.values("election_terms_ended_total")
		for cause, n := range map[string]float64{"resigned": 1, "lease_expired": 1, "node_deleted": 2,
			"unhealthy": 1, "closed": 1, "session_expired": 0, "disconnected": 0, "other": 0} {
			assert.Equal(t, n, ended[job+" "+cause], cause)
		}
		assert.Len(t, ended, 8)
		sum := 0.0
		for _, n := range ended {
			sum += n
		}
		assert.Equal(t, map[string]float64{job: sum}, a.values("election_terms_total"))
		events := a.values("election_session_events_total")
		assert.Equal(t, 1.0, events["expired"])
		assert.Equal(t, events["disconnected"], events["connected"]-1, "the first one, and one after each loss: %v", events)
		assert.GreaterOrEqual(t, events["connected"], 2.0)
		assert.Zero(t, events["given_up"])
	})
}

// A counter that begins at 1 hides its first event from increase().
func TestEveryCounterBeginsAtZero(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a, b := start(t, zk, "a"), start(t, zk, "b")
		assert.Equal(t, map[string]float64{"ok": 0, "failed": 0}, a.values("election_proof_seconds"))
		a.candidate(job)
		b.candidate(job)
		rest()
		for metric, series := range map[string]int{"election_terms_total": 1, "election_terms_ended_total": 8,
			"election_takeover_seconds": 1, "election_overruns_total": 1, "election_guards_total": 4,
			"election_request_failures_total": 1} {
			values := b.values(metric)
			assert.Len(t, values, series, metric)
			for labels, value := range values {
				assert.Zero(t, value, "%s of %s", metric, labels)
			}
		}
	})
}

func TestTakeOversAreMeasuredFromTheFrontOfTheLine(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		strict := election.WithStrictHandover()
		a, b := start(t, zk, "a"), start(t, zk, "b")
		x, y := a.candidate(job, strict), b.candidate(job, strict)
		rest()
		zk.ExpireSession(zk.Leader(job).SessionID)
		_ = x
		leads(t, y)
		rest()
		h := gather(t, b)["election_takeover_seconds"].GetMetric()[0].GetHistogram()
		assert.EqualValues(t, 1, h.GetSampleCount())
		assert.InDelta(t, 3.67, h.GetSampleSum(), .1, "it waits for 1.1 T/3")
	})
}

func TestProofsAreMeasuredByResult(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		a.candidate(job)
		rest()
		proofs := a.values("election_proof_seconds")
		assert.InDelta(t, 72, proofs["ok"], 3)
		assert.Zero(t, proofs["failed"])
		zk.Cut("a")
		rest()
		assert.Positive(t, a.values("election_proof_seconds")["failed"])
	})
}

func TestGuardsAreCountedByResult(t *testing.T) {
	tell(t, func(t *testing.T, zk_ *electiontest.Ensemble) {
		a := start(t, zk_, "a")
		x := a.candidate(job)
		term := leads(t, x)
		_, err := term.Guard(t.Context())
		require.NoError(t, err)
		_, err = term.Guard(t.Context(), &zk.DeleteRequest{Path: "/nobody"})
		require.ErrorIs(t, err, zk.ErrNoNode)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = term.Guard(over)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, x.Resign(t.Context()))
		_, err = term.Guard(t.Context())
		require.ErrorIs(t, err, election.ErrTermOver)
		rest()
		assert.Equal(t, map[string]float64{job + " ok": 1, job + " failed": 1, job + " no_answer": 1, job + " term_over": 1},
			a.values("election_guards_total"))
	})
}

func TestWorkThatOverrunsIsCounted(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		x := a.candidate(job)
		done := make(chan error)
		go func() {
			done <- x.Run(t.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				time.Sleep(time.Hour)
				return nil
			})
		}()
		rest()
		go x.Shutdown(t.Context())
		rest()
		assert.Equal(t, map[string]float64{job: 1}, a.values("election_overruns_total"))
		assert.Equal(t, map[string]float64{job + " stopping": 1}, a.values("election_candidates"))
		assert.Equal(t, map[string]float64{job: 0}, a.values("leader_election_master_status"))
		<-done
		rest()
		assert.Empty(t, a.values("election_candidates"))
	})
}

// The requests of a candidate that joins fail while ZooKeeper does not answer.
func TestRequestsThatFailAreCounted(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		leads(t, a.candidate(job))
		zk.ExpireSession(zk.Leader(job).SessionID)
		zk.Cut("a")
		x, err := election.NewCandidate(a.client, "/other")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Error(t, x.Start(ctx))
		rest()
		failures := a.values("election_request_failures_total")
		assert.Positive(t, failures[job]+failures["/other"], "%v", failures)
	})
}

func TestOneTraceServesSeveralClients(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		x := a.candidate(job)
		y := candidate(t, connect(t, zk, "b", a.trace), job)
		z := candidate(t, connect(t, zk, "c", a.trace), "/other")
		leads(t, z)
		rest()
		assert.Equal(t, map[string]float64{job: 1, "/other": 1}, a.values("leader_election_master_status"))
		assert.Equal(t, map[string]float64{job + " leading": 1, job + " following": 1, "/other leading": 1},
			a.values("election_candidates"))
		assert.Equal(t, map[string]float64{job: 1, "/other": 1}, a.values("election_place"), "the best")
		require.NoError(t, x.Close())
		leads(t, y)
		assert.Equal(t, map[string]float64{job: 1, "/other": 1}, a.values("leader_election_master_status"))
		assert.Equal(t, 3.0, a.values("election_session_events_total")["connected"])
	})
}

func TestACandidateThatTakesPartAgainIsSeenAgain(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		x, err := election.NewCandidate(a.client, job)
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, x.Run(t.Context(), func(context.Context, *election.Term) error {
				rest()
				assert.Equal(t, map[string]float64{job + " leading": 1}, a.values("election_candidates"))
				return nil
			}))
			rest()
			assert.Empty(t, a.values("election_candidates"), "between two calls of Run it takes no part")
			assert.Equal(t, map[string]float64{job: 0}, a.values("leader_election_master_status"))
		}
	})
}

func TestElectionsOfOneNameShareTheirSeries(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a", electionprom.WithName(func(path string) string { return "shards\xff" }))
		x, y := a.candidate("/shards/1"), a.candidate("/shards/2")
		leads(t, x)
		leads(t, y)
		rest()
		const name = "shards\uFFFD"
		assert.Equal(t, map[string]float64{name: 1}, a.values("leader_election_master_status"))
		assert.Equal(t, map[string]float64{name + " leading": 2}, a.values("election_candidates"))
		assert.Equal(t, map[string]float64{name: 2}, a.values("election_terms_total"))
		require.NoError(t, x.Close())
		rest()
		assert.Equal(t, map[string]float64{name: 1}, a.values("leader_election_master_status"))
		require.NoError(t, y.Close())
		rest()
		assert.Equal(t, map[string]float64{name: 0}, a.values("leader_election_master_status"))
	})
}

// The number of series depends on the paths alone, whatever happens and however often.
func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		count := func() (n int) {
			for name, f := range gather(t, a) {
				if name == "election_candidates" {
					continue // by state: seven at most
				}
				for _, m := range f.GetMetric() {
					n++
					if h := m.GetHistogram(); h != nil {
						n += len(h.GetBucket()) + 2 // +Inf, sum
					}
				}
			}
			return n
		}
		x := a.candidate(job)
		leads(t, x)
		rest()
		first := count()
		for i := range 50 {
			y := candidate(t, a.client, job, election.WithID(fmt.Sprint("y", i)))
			require.NoError(t, x.Resign(t.Context()))
			_, err := leads(t, y).Guard(t.Context())
			require.NoError(t, err)
			require.NoError(t, y.Close())
			leads(t, x)
			zk.ExpireSession(zk.Leader(job).SessionID)
			rest()
			leads(t, x)
		}
		assert.Equal(t, first, count())
		leads(t, a.candidate("/other"))
		rest()
		assert.Less(t, count()-first, 40)
		assert.Less(t, first-(count()-first), 45, "of the session")
	})
}

func TestWrongArgumentsAreNamedAllAtOnce(t *testing.T) {
	_, err := electionprom.New(nil, nil, electionprom.WithName(nil))
	require.Error(t, err)
	for _, what := range []string{"electionprom: New", "reg is nil", "option 0 is nil", "WithName: name is nil"} {
		assert.ErrorContains(t, err, what)
	}
}

func TestASecondRegistrationIsAnErrorThatSaysWhatToDo(t *testing.T) {
	reg := prometheus.NewRegistry()
	_, err := electionprom.New(reg)
	require.NoError(t, err)
	_, err = electionprom.New(reg)
	require.ErrorAs(t, err, new(prometheus.AlreadyRegisteredError))
	require.ErrorContains(t, err, "WrapRegistererWith")
	assert.NotEmpty(t, gather(t, reg), "the first one goes on")

	both := prometheus.NewRegistry()
	for _, cluster := range []string{"a", "b"} {
		_, err := electionprom.New(prometheus.WrapRegistererWith(prometheus.Labels{"cluster": cluster}, both))
		require.NoError(t, err)
	}

	kubernetes := prometheus.NewRegistry()
	kubernetes.MustRegister(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "leader_election_master_status",
		Help: "Of client-go."}, []string{"name"}))
	_, err = electionprom.New(kubernetes)
	require.ErrorContains(t, err, "leader_election_master_status")
	assert.Empty(t, gather(t, kubernetes), "nothing is registered")
	_, err = electionprom.New(prometheus.WrapRegistererWithPrefix("zookeeper_", kubernetes))
	require.NoError(t, err)
}

// Reading the metrics while everything changes is for the race detector.
func TestMetricsMayBeReadAtAnyTime(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		a := start(t, zk, "a")
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					_, err := a.Gather()
					assert.NoError(t, err)
				}
			}
		}()
		all := slices.Repeat([]*election.Candidate{nil}, 3)
		for i := range all {
			all[i] = a.candidate(job)
		}
		for range 20 {
			for _, x := range all {
				if x.HasLeadership() {
					require.NoError(t, x.Resign(t.Context()))
				}
			}
			time.Sleep(time.Second)
		}
		close(stop)
		<-done
	})
}
