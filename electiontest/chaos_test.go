package electiontest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// worker is a service whose work takes a step each second.
type worker struct {
	slow   time.Duration // how long a step goes on after the term
	deaf   bool          // it does not listen to its context
	stale  bool          // it writes with the first token that it ever had
	blind  bool          // it does not check its term before it writes
	beside bool          // its work is not under Run, and does not hold the term
	apart  bool          // each replica has an election of its own, by its chroot
	opts   []election.Option
}

func (w worker) run(ctx context.Context, r *electiontest.Replica) error {
	servers := r.ConnectString()
	if w.apart {
		servers += "/" + r.Name()
	}
	client, err := election.Connect(ctx, servers, r.Options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	candidate, err := election.NewCandidate(client, jobPath, append(w.opts, election.WithID(r.Name()))...)
	if err != nil {
		return err
	}
	var beside chan struct{}
	first := int64(0)
	err = candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
		if first == 0 {
			first = term.Token()
		}
		token := term.Token()
		if w.stale {
			token = first
		}
		if w.beside {
			beside = make(chan struct{})
			end := r.Begin(term)
			go func() {
				defer close(beside)
				defer end()
				w.work(ctx, r, term, token)
			}()
			<-ctx.Done()
			return ctx.Err()
		}
		defer r.Begin(term)()
		w.work(ctx, r, term, token)
		return ctx.Err()
	})
	if beside != nil {
		<-beside
	}
	return err
}

func (w worker) work(ctx context.Context, r *electiontest.Replica, term *election.Term, token int64) {
	late := time.Duration(0)
	for ctx.Err() == nil || late < w.slow || w.deaf && late < time.Hour {
		if w.blind || term.Err() == nil {
			r.Write("the table", token)
		}
		if ctx.Err() != nil {
			late += time.Second
			time.Sleep(time.Second)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// storm plays chaos with several seeds, and returns the failures and the reports.
func storm(t *testing.T, seeds uint64, w worker, opts ...electiontest.ChaosOption) (failures []string, all []electiontest.Report) {
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			j := &judged{T: t}
			all = append(all, electiontest.Chaos(j, seed, w.run, opts...))
			if j.failure != "" {
				failures = append(failures, j.failure)
			}
		})
	}
	return failures, all
}

func TestChaosPassesAServiceThatUsesItsTermsRightly(t *testing.T) {
	for name, w := range map[string]worker{
		"at once":              {},
		"slow to stop":         {slow: 3 * time.Second},
		"with short terms":     {slow: 3 * time.Second, opts: []election.Option{election.WithMaxTerm(30 * time.Second)}},
		"with fast failover":   {opts: []election.Option{election.WithFastFailover(2 * time.Second)}},
		"with strict handover": {opts: []election.Option{election.WithStrictHandover()}},
	} {
		t.Run(name, func(t *testing.T) {
			failures, all := storm(t, 2, w, electiontest.ChaosFor(20*time.Minute), electiontest.ChaosGrace(w.slow+time.Second),
				electiontest.ChaosPatience(time.Minute))
			require.Empty(t, failures)
			for _, r := range all {
				require.GreaterOrEqual(t, r.Lasted, 20*time.Minute)
				require.Greater(t, len(r.Faults), 50)
				require.Greater(t, r.Works, 10, "leadership moves")
				require.Greater(t, r.Writes, 300)
			}
		})
	}
}

func TestChaosCatchesAServiceThat(t *testing.T) {
	for name, c := range map[string]struct {
		worker worker
		grace  time.Duration
		want   string // a regular expression
	}{
		"ignores its context":                    {worker{deaf: true}, 5 * time.Second, "works on 5s after the end of its term"},
		"is slower than its grace":               {worker{slow: 3 * time.Second}, time.Second, "works on 1s after the end of its term"},
		"keeps its first token":                  {worker{stale: true}, time.Second, `to "the table" with token`},
		"writes on without looking at its term":  {worker{slow: time.Minute, blind: true}, time.Hour, `to "the table" with token`},
		"has an election for each replica":       {worker{apart: true}, time.Second, "and both lead|a token goes back"},
		"works outside of Run and does not hold": {worker{slow: 3 * time.Second, beside: true}, time.Hour, "has given leadership up"},
	} {
		t.Run(name, func(t *testing.T) {
			failures, _ := storm(t, 1, c.worker, electiontest.ChaosFor(3*time.Hour), electiontest.ChaosGrace(c.grace))
			require.Len(t, failures, 1)
			require.Regexp(t, c.want, failures[0])
			require.Contains(t, failures[0], "chaos with seed 0")
			require.Contains(t, failures[0], "go test -run '^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$'")
			require.Contains(t, failures[0], "replica", "the log has the faults")
			require.Contains(t, failures[0], "VIOLATION: ", "the log has it; what happens at the same instant may follow")
		})
	}
}

func TestChaosCatchesAServiceThatReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judged{T: t}
		electiontest.Chaos(j, 1, func(ctx context.Context, r *electiontest.Replica) error {
			<-ctx.Done()
			return nil
		}, electiontest.ChaosFor(time.Minute))
		require.Contains(t, j.failure, "has reported no work and no write")
	})
}

// The service keeps its terms, and begins work of the first one again and again.
func TestChaosCatchesWorkThatBeginsWithAnOldTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judged{T: t}
		var first *election.Term
		electiontest.Chaos(j, 1, func(ctx context.Context, r *electiontest.Replica) error {
			client, err := election.Connect(ctx, r.ConnectString(), r.Options()...)
			if err != nil {
				return err
			}
			defer client.Close()
			candidate, err := election.NewCandidate(client, jobPath)
			if err != nil {
				return err
			}
			return candidate.Run(ctx, func(ctx context.Context, term *election.Term) error {
				r.Begin(term)()
				if first == nil {
					first = term
				} else if term.Token() > first.Token() {
					r.Begin(first)()
				}
				<-ctx.Done()
				return ctx.Err()
			})
		})
		require.Contains(t, j.failure, "a token goes back: ")
		require.Contains(t, j.failure, "begins work with token")
	})
}

func TestChaosCatchesWorkWithoutATerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judged{T: t}
		electiontest.Chaos(j, 1, func(ctx context.Context, r *electiontest.Replica) error {
			r.Begin(nil)()
			<-ctx.Done()
			return nil
		})
		require.Contains(t, j.failure, "begins work without a term: it does not lead")
		require.Contains(t, j.failure, "after 0 faults")
	})
}

// Handlers hold the term of whoever leads, while others make it resign.
func TestChaosPassesWorkThatHoldsItsTerm(t *testing.T) {
	handle := func(r *electiontest.Replica, term *election.Term) {
		release, err := term.Hold()
		if err != nil { // this replica does not lead
			return
		}
		defer release()
		defer r.Begin(term)()
		time.Sleep(2 * time.Second)
	}
	synctest.Test(t, func(t *testing.T) {
		report := electiontest.Chaos(t, 3, func(ctx context.Context, r *electiontest.Replica) error {
			client, err := election.Connect(ctx, r.ConnectString(), r.Options()...)
			if err != nil {
				return err
			}
			defer client.Close()
			candidate, err := election.NewCandidate(client, jobPath)
			if err != nil {
				return err
			}
			if err := candidate.Start(ctx); err != nil {
				return err
			}
			var handlers sync.WaitGroup
			for request := 1; ctx.Err() == nil; request++ {
				handlers.Go(func() { handle(r, candidate.Term()) })
				if request%20 == 0 {
					handlers.Go(func() { _ = candidate.Resign(ctx) })
				}
				time.Sleep(700 * time.Millisecond)
			}
			handlers.Wait()
			return candidate.Close()
		}, electiontest.ChaosGrace(2*time.Second))
		require.Greater(t, report.Works, 500)
	})
}

func TestChaosCatchesAServiceThatStopsToTakePart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judged{T: t}
		electiontest.Chaos(j, 1, func(ctx context.Context, r *electiontest.Replica) error {
			client, err := election.Connect(ctx, r.ConnectString(), r.Options()...)
			if err != nil {
				return err
			}
			defer client.Close()
			candidate, err := election.NewCandidate(client, jobPath)
			if err != nil {
				return err
			}
			term, err := candidate.Await(ctx)
			if err != nil {
				return err
			}
			end := r.Begin(term)
			<-term.Done()
			end()
			_ = candidate.Close() // it should await the next term
			<-ctx.Done()
			return nil
		}, electiontest.ChaosFor(10*time.Hour), electiontest.ChaosPatience(time.Minute))
		require.Contains(t, j.failure, "nobody works 1m0s after the last fault")
	})
}

func TestChaosPanicsIfAReplicaDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		defer close(hung)
		defer func() {
			require.Contains(t, recover(), "a replica has not returned 2h0m0s after the end of its context")
		}()
		electiontest.Chaos(t, 1, func(ctx context.Context, r *electiontest.Replica) error {
			r.Write("the table", 1)
			<-hung
			return nil
		}, electiontest.ChaosFor(time.Minute))
	})
}

// The faults, their times and their targets are those of the seed, whatever the service
// does meanwhile.
func TestChaosRepeatsItsFaultsFromTheSeed(t *testing.T) {
	faults := func(seed uint64, w worker) (all []string) {
		synctest.Test(t, func(t *testing.T) {
			all = electiontest.Chaos(&judged{T: t}, seed, w.run, electiontest.ChaosFor(10*time.Minute), electiontest.ChaosGrace(time.Hour)).Faults
		})
		return all
	}
	first := faults(7, worker{})
	require.Greater(t, len(first), 50)
	require.Equal(t, first, faults(7, worker{}))
	require.Equal(t, first, faults(7, worker{slow: 2 * time.Second}))
	require.NotEqual(t, first, faults(8, worker{}))
}

func TestChaosRefusesWhatItCannotPlay(t *testing.T) {
	run := func(ctx context.Context, r *electiontest.Replica) error { return nil }
	for want, play := range map[string]func(tb testing.TB){
		"not in a synctest bubble": func(tb testing.TB) { electiontest.Chaos(tb, 1, run) },
		"the service is nil":       func(tb testing.TB) { electiontest.Chaos(tb, 1, nil) },
		"ChaosFor: -1s":            func(tb testing.TB) { electiontest.Chaos(tb, 1, run, electiontest.ChaosFor(-time.Second)) },
		"ChaosReplicas: 0":         func(tb testing.TB) { electiontest.Chaos(tb, 1, run, electiontest.ChaosReplicas(0)) },
		"ChaosServers: 10":         func(tb testing.TB) { electiontest.Chaos(tb, 1, run, electiontest.ChaosServers(10)) },
		"ChaosGrace: -1s":          func(tb testing.TB) { electiontest.Chaos(tb, 1, run, electiontest.ChaosGrace(-time.Second)) },
		"ChaosPatience: -1s":       func(tb testing.TB) { electiontest.Chaos(tb, 1, run, electiontest.ChaosPatience(-time.Second)) },
	} {
		require.Contains(t, refusal(t, play), want)
	}
}
