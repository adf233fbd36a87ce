package electiongocron_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	electiongocron "github.com/zkelection/election/contrib/gocron"
	"github.com/zkelection/election/electiontest"
)

const path = "/nightly-job"

// replica is a candidate and a scheduler whose one job is due every minute.
type replica struct {
	candidate *election.Candidate
	scheduler gocron.Scheduler
	client    *election.Client
}

// takePart starts a candidate, without a scheduler.
func takePart(t *testing.T, zk *electiontest.Ensemble, name string) *replica {
	t.Helper()
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	candidate, err := election.NewCandidate(client, path, election.WithID(name))
	require.NoError(t, err)
	require.NoError(t, candidate.Start(t.Context()))
	return &replica{candidate: candidate, client: client}
}

// schedule starts a scheduler with task as its job.
func (r *replica) schedule(t *testing.T, task gocron.Task, job []gocron.JobOption, opts ...gocron.SchedulerOption) {
	t.Helper()
	var err error
	r.scheduler, err = gocron.NewScheduler(append(opts, gocron.WithStopTimeout(time.Hour))...)
	require.NoError(t, err)
	_, err = r.scheduler.NewJob(gocron.DurationJob(time.Minute), task, job...)
	require.NoError(t, err)
	r.scheduler.Start()
}

// stop ends a replica as the package says.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	if r.scheduler != nil {
		require.NoError(t, r.scheduler.Shutdown())
	}
	require.NoError(t, r.candidate.Shutdown(context.Background()))
	require.NoError(t, r.client.Close())
}

// journal counts what ran where.
type journal struct {
	mu   sync.Mutex
	runs map[string]int
}

func (j *journal) add(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.runs == nil {
		j.runs = map[string]int{}
	}
	j.runs[what]++
}

// during lets d pass, and returns what was added meanwhile.
func (j *journal) during(d time.Duration) map[string]int {
	time.Sleep(d)
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	runs := j.runs
	j.runs = nil
	return runs
}

// withElector is the option of a scheduler whose jobs run only while r leads.
func (r *replica) withElector(t *testing.T) gocron.SchedulerOption {
	t.Helper()
	elector, err := electiongocron.NewElector(r.candidate)
	require.NoError(t, err)
	return gocron.WithDistributedElector(elector)
}

func (r *replica) withLocker(t *testing.T) gocron.SchedulerOption {
	t.Helper()
	locker, err := electiongocron.NewLocker(r.candidate)
	require.NoError(t, err)
	return gocron.WithDistributedLocker(locker)
}

// Two schedulers have the same job, and one runs it: first a's, and when a has left, b's.
func TestOnlyTheLeaderRunsJobs(t *testing.T) {
	for name, option := range map[string]func(*replica, *testing.T) gocron.SchedulerOption{
		"Elector": (*replica).withElector, "Locker": (*replica).withLocker} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zk, runs := electiontest.New(t), journal{}
				a, b := takePart(t, zk, "a"), takePart(t, zk, "b")
				for name, r := range map[string]*replica{"a": a, "b": b} {
					r.schedule(t, gocron.NewTask(func() { runs.add(name) }), nil, option(r, t))
				}
				require.Equal(t, map[string]int{"a": 10}, runs.during(10*time.Minute+time.Second))

				a.stop(t)
				require.Equal(t, map[string]int{"b": 10}, runs.during(10*time.Minute))
				b.stop(t)
			})
		})
	}
}

// What each of them does to a job that is running when its replica resigns.
func TestAJobHoldsTheTerm(t *testing.T) {
	for name, holds := range map[string]bool{"NewTask": true, "Locker": true, "Elector": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zk, runs := electiontest.New(t), journal{}
				a, b := takePart(t, zk, "a"), takePart(t, zk, "b")
				work := func() {
					runs.add("begun")
					time.Sleep(30 * time.Second)
					runs.add("done")
				}
				option, task := a.withElector(t), gocron.NewTask(work)
				switch name {
				case "Locker":
					option = a.withLocker(t)
				case "NewTask":
					task = electiongocron.NewTask(a.candidate, func(context.Context, *election.Term) error { work(); return nil })
				}
				a.schedule(t, task, nil, option)
				require.Equal(t, map[string]int{"begun": 1}, runs.during(time.Minute+time.Second))

				began := time.Now()
				resigned := make(chan error, 1)
				go func() { resigned <- a.candidate.Resign(context.Background()) }()
				_, err := b.candidate.Await(t.Context())
				require.NoError(t, err)
				require.Equal(t, holds, time.Since(began) > 28*time.Second, "b leads %v later", time.Since(began))
				require.NoError(t, <-resigned)
				runs.during(29 * time.Second) // the job has returned: gocron does not sleep while it waits, so no time would pass
				b.stop(t)
				a.stop(t)
			})
		})
	}
}

// A job learns of the term's end, and has its token. gocron ends it when it shuts down.
func TestTheContextOfATaskEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := takePart(t, zk, "a")
		tokens, ended := make(chan int64, 1), make(chan error, 1)
		a.schedule(t, electiongocron.NewTask(a.candidate, func(ctx context.Context, term *election.Term) error {
			tokens <- term.Token()
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ctx.Err()
		}), nil, a.withElector(t))
		first := <-tokens
		require.Equal(t, zk.Leader(path).Token, first)
		require.NoError(t, a.candidate.Resign(t.Context()))
		require.ErrorIs(t, <-ended, election.ErrResigned)

		require.Greater(t, <-tokens, first, "the next run is in the next term")
		a.stop(t)
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

// Without an Elector, a task fails where its replica does not lead. With one, the run is
// left out.
func TestATaskFailsWhereNobodyLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, runs := electiontest.New(t), journal{}
		a, b := takePart(t, zk, "a"), takePart(t, zk, "b")
		var failed error
		listens := []gocron.JobOption{gocron.WithEventListeners(gocron.AfterJobRunsWithError(func(_ uuid.UUID, _ string, err error) {
			failed = err
			runs.add("failed")
		}))}
		task := electiongocron.NewTask(b.candidate, func(context.Context, *election.Term) error { return nil })
		b.schedule(t, task, listens)
		require.Equal(t, map[string]int{"failed": 1}, runs.during(time.Minute+time.Second))
		require.ErrorIs(t, failed, election.ErrTermOver)
		require.NoError(t, b.scheduler.Shutdown())

		b.schedule(t, task, listens, b.withElector(t))
		require.Empty(t, runs.during(time.Minute+time.Second))
		b.stop(t)
		a.stop(t)
	})
}

// A job's own error stays the job's.
func TestATaskReturnsTheErrorOfItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := takePart(t, zk, "a")
		mine, failed := errors.New("the report is incomplete"), make(chan error, 1)
		a.schedule(t, electiongocron.NewTask(a.candidate, func(context.Context, *election.Term) error { return mine }),
			[]gocron.JobOption{gocron.WithEventListeners(gocron.AfterJobRunsWithError(func(_ uuid.UUID, _ string, err error) { failed <- err }))},
			a.withElector(t))
		require.Equal(t, mine, <-failed)
		a.stop(t)
	})
}

// gocron asks only one of the two.
func TestWithAnElectorNoLockerIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, runs := electiontest.New(t), journal{}
		a := takePart(t, zk, "a")
		a.schedule(t, gocron.NewTask(func() { runs.add("run") }), nil, a.withElector(t), gocron.WithDistributedLocker(asked{&runs}))
		require.Equal(t, map[string]int{"run": 1}, runs.during(time.Minute+time.Second))
		a.stop(t)
	})
}

type asked struct{ *journal }

func (a asked) Lock(context.Context, string) (gocron.Lock, error) {
	a.add("locker asked")
	return nil, errors.New("locked")
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	const want = "electiongocron: candidate is nil"
	_, err := electiongocron.NewElector(nil)
	require.EqualError(t, err, want)
	_, err = electiongocron.NewLocker(nil)
	require.EqualError(t, err, want)

	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := takePart(t, zk, "a")
		failed := make(chan error, 1)
		listens := []gocron.JobOption{gocron.WithEventListeners(gocron.AfterJobRunsWithError(func(_ uuid.UUID, _ string, err error) { failed <- err }))}
		a.schedule(t, electiongocron.NewTask(nil, func(context.Context, *election.Term) error { return nil }), listens)
		require.EqualError(t, <-failed, want)
		require.NoError(t, a.scheduler.Shutdown())
		a.schedule(t, electiongocron.NewTask(a.candidate, nil), listens)
		require.EqualError(t, <-failed, "electiongocron: NewTask: work is nil")
		a.stop(t)
	})
}

// A context that has ended leaves a run out, too.
func TestCancelledChecksReturnTheContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		a := takePart(t, zk, "a")
		_, err := a.candidate.Await(t.Context())
		require.NoError(t, err)
		elector, err := electiongocron.NewElector(a.candidate)
		require.NoError(t, err)
		locker, err := electiongocron.NewLocker(a.candidate)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, elector.IsLeader(ctx))
		cancel()
		require.ErrorIs(t, elector.IsLeader(ctx), context.Canceled)
		_, err = locker.Lock(ctx, "job")
		require.ErrorIs(t, err, context.Canceled)
		a.stop(t)
	})
}
