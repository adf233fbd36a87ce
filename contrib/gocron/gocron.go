// Package electiongocron lets only the leader of an election run the jobs of a [gocron]
// scheduler.
//
// Each replica has the same scheduler with the same jobs, and its own candidate:
//
//	elector, err := electiongocron.NewElector(candidate)
//	scheduler, err := gocron.NewScheduler(gocron.WithDistributedElector(elector))
//	scheduler.NewJob(gocron.CronJob("0 3 * * *", false),
//		electiongocron.NewTask(candidate, func(ctx context.Context, term *election.Term) error {
//			return writeReport(ctx, term.Token())
//		}))
//
// The candidate has to take part: call [election.Candidate.Start] before the scheduler
// starts.
//
// # What counts as work of the term
//
// gocron asks an [Elector] before each run and tells it nothing afterwards. So an Elector
// cannot hold the term, and a job may still run when the next replica leads. Two things
// hold the term while a job runs, by [election.Term.Hold]:
//
//   - [NewTask] makes a job of a function that gets the term and a context that ends with
//     it. Use it together with an Elector, which leaves runs out without an error.
//   - [Locker] is for jobs that stay as they are. They learn of the term's end only by
//     themselves.
//
// Once a scheduler has an Elector, gocron asks no Locker.
//
// # When a process stops
//
// Shut the scheduler down first, which waits for its jobs, then the candidate, which waits
// for the holds that are left, and close the client last.
//
// # What is not promised
//
// A run that is due while nobody leads is left out by all replicas, and nobody makes up
// for it. If the leader changes close to the time of a run, clocks that differ may have it
// run twice, one replica after the other. Keep in your data what has been done.
package electiongocron

import (
	"context"
	"errors"

	"github.com/go-co-op/gocron/v2"

	"github.com/zkelection/election"
)

// errNoCandidate says which argument is missing.
var errNoCandidate = errors.New("electiongocron: candidate is nil")

// Elector is a [gocron.Elector]: jobs run only while the candidate leads. [NewElector]
// makes one. It is safe for concurrent use.
type Elector struct{ candidate *election.Candidate }

var _ gocron.Elector = (*Elector)(nil)

// NewElector returns an Elector for [gocron.WithDistributedElector]. It returns an error if
// candidate is nil.
func NewElector(candidate *election.Candidate) (*Elector, error) {
	if candidate == nil {
		return nil, errNoCandidate
	}
	return &Elector{candidate}, nil
}

// IsLeader returns nil if the candidate leads, and otherwise [election.ErrTermOver], upon
// which gocron leaves the run out. It asks nobody and returns at once: what it compares is
// the lease with the clock. If ctx has ended, it returns ctx's error.
func (e *Elector) IsLeader(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !e.candidate.HasLeadership():
		return election.ErrTermOver
	}
	return nil
}

// Locker is a [gocron.Locker]: jobs run only while the candidate leads, and hold the term
// as long as they run. All jobs have the same lock, whatever their names are. [NewLocker]
// makes one. It is safe for concurrent use.
type Locker struct{ candidate *election.Candidate }

var _ gocron.Locker = (*Locker)(nil)

// NewLocker returns a Locker for [gocron.WithDistributedLocker] and
// [gocron.WithDistributedJobLocker]. It returns an error if candidate is nil.
func NewLocker(candidate *election.Candidate) (*Locker, error) {
	if candidate == nil {
		return nil, errNoCandidate
	}
	return &Locker{candidate}, nil
}

// Lock holds the term, until Unlock of what it returns. If the candidate does not lead, it
// returns [election.ErrTermOver], upon which gocron leaves the run out and calls the
// listeners of [gocron.AfterLockError]. It returns at once. If ctx has ended, it returns
// ctx's error. The key is not used.
func (l *Locker) Lock(ctx context.Context, _ string) (gocron.Lock, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	release, err := l.candidate.Term().Hold()
	if err != nil {
		return nil, err
	}
	return lock(release), nil
}

// lock is the release of a hold.
type lock func()

func (l lock) Unlock(context.Context) error {
	l()
	return nil
}

// NewTask returns a task for [gocron.Scheduler.NewJob] that runs work as work of the term:
// if the term ends by itself, nobody else leads before work has returned.
//
// work's context ends with the term, or with the context that gocron gives the job, which
// it cancels when it shuts down. work must return soon after that. Its error is the error
// of the job.
//
// If the candidate does not lead, work is not called, and the job fails with
// [election.ErrTermOver]. With an [Elector] that happens only if the term ends right before
// the run. If candidate or work is nil, every run fails with an error that says so.
func NewTask(candidate *election.Candidate, work func(ctx context.Context, term *election.Term) error) gocron.Task {
	return gocron.NewTask(func(ctx context.Context) error {
		switch {
		case candidate == nil:
			return errNoCandidate
		case work == nil:
			return errors.New("electiongocron: NewTask: work is nil")
		}
		term := candidate.Term()
		release, err := term.Hold()
		if err != nil {
			return err
		}
		defer release()

		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(term.Context(), func() { cancel(term.Err()) })()
		return work(ctx, term)
	})
}
