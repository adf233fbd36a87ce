// Package recipes has the code of docs/recipes.md: how an election goes together with what
// services are often made of. It is meant to be copied, and its tests run it.
package recipes

import (
	"context"
	"fmt"
	"log"

	"github.com/robfig/cron/v3"

	"github.com/zkelection/election"
)

// newCron has one job, which runs where the leader is. Each replica has the same.
func newCron(candidate *election.Candidate, writeReport func(ctx context.Context, token int64) error) (*cron.Cron, error) {
	jobs := cron.New(cron.WithChain(cron.Recover(cron.DefaultLogger), whileLeading(candidate)))
	_, err := jobs.AddFunc("@every 1s", inTerm(candidate, func(ctx context.Context, term *election.Term) error {
		return writeReport(ctx, term.Token())
	}))
	return jobs, err
}

// whileLeading leaves the runs of a job out while another replica leads. A run counts as
// work of the term until it returns.
func whileLeading(candidate *election.Candidate) cron.JobWrapper {
	return func(job cron.Job) cron.Job {
		return cron.FuncJob(func() {
			release, err := candidate.Term().Hold()
			if err != nil {
				return // another replica leads
			}
			defer release()
			job.Run()
		})
	}
}

// inTerm makes a job of a function that gets the term, and a context that ends with it.
func inTerm(candidate *election.Candidate, work func(ctx context.Context, term *election.Term) error) cron.FuncJob {
	return func() {
		term := candidate.Term()
		release, err := term.Hold()
		if err != nil {
			return // another replica leads
		}
		defer release()
		if err := work(term.Context(), term); err != nil {
			log.Println(err)
		}
	}
}

// startable is what controllers and the like have in common. It is controller-runtime's
// manager.Runnable.
type startable interface {
	Start(ctx context.Context) error
}

// whenLeading is a runnable for a controller-runtime manager that has no leader election of
// its own. Each term it starts what makes returns, and stops it when the term ends.
type whenLeading struct {
	candidate *election.Candidate
	makes     func() (startable, error) // a new one each time: a controller can be started once
}

// Start takes part in the election until ctx ends.
func (w whenLeading) Start(ctx context.Context) error {
	err := w.candidate.Run(ctx, func(ctx context.Context, _ *election.Term) error {
		controller, err := w.makes()
		if err != nil {
			return err
		}
		if err := controller.Start(ctx); err != nil {
			return err
		}
		if ctx.Err() == nil {
			return fmt.Errorf("%T has returned while this replica leads", controller)
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return nil // the manager stops
	}
	return err
}

// NeedLeaderElection is of manager.LeaderElectionRunnable: the manager starts w at once.
func (whenLeading) NeedLeaderElection() bool { return false }
