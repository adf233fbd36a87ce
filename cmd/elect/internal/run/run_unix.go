//go:build unix

package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/keeper"
)

// KeepIfAsked turns this process into a keeper, and does not return, if elect run has
// started it to be one.
func KeepIfAsked() {
	if len(os.Args) > 1 && os.Args[1] == keeper.Name {
		os.Exit(keeper.Main(os.Args[2:]))
	}
}

// Run runs the command while leading. Its error has the exit code.
func (c *Command) Run(env *cli.Env) error {
	if err := c.check(); err != nil {
		return err
	}
	adopter, err := keeper.Adopt()
	if err != nil {
		return fmt.Errorf("this process cannot become the reaper of its descendants: %w", err)
	}
	client, err := env.Connect()
	if err != nil {
		return err
	}
	defer client.Close()

	candidate, err := election.NewCandidate(client, c.Path, c.options()...)
	if err != nil {
		return cli.Usagef("%s", strings.TrimPrefix(err.Error(), "election: NewCandidate: "))
	}
	r := &runner{Command: c, env: env, client: client, adopter: adopter, interrupts: make(chan os.Signal, 2)}
	signal.Notify(r.interrupts, syscall.SIGINT)
	defer signal.Stop(r.interrupts)
	return r.run(candidate)
}

// check finds what can be found before this process stands in line.
func (c *Command) check() error {
	switch {
	case c.Grace <= 0:
		return cli.Usagef("--grace %v is not positive", c.Grace)
	case c.Wait < 0:
		return cli.Usagef("--wait %v is negative", c.Wait)
	}
	_, err := exec.LookPath(c.Command[0])
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &cli.Error{Code: 127, What: fmt.Sprintf("there is no command %q", c.Command[0]), Do: "check its name and PATH"}
	}
	return &cli.Error{Code: 126, What: fmt.Sprintf("the command %q cannot be run: %v", c.Command[0], err), Do: "check its permissions"}
}

// runner is one elect run.
type runner struct {
	*Command
	env        *cli.Env
	client     *election.Client
	adopter    *keeper.Adopter
	interrupts chan os.Signal // the second one means: at once

	cancel context.CancelCauseFunc // ends Candidate.Run
	began  atomic.Int32            // who was first: the first term, or --wait

	exit error // of the latest command, if that has ended; written by Candidate.Run's function only
}

// Values of runner.began.
const (
	itLed int32 = iota + 1
	itWaitedTooLong
)

var errDone = errors.New("the command has ended")

// notYet says that --wait is over, and how this candidate stood then.
type notYet struct{ election.Status }

func (n *notYet) Error() string { return n.String() }

// leaving bounds how long elect run waits until its znode is gone. If it is not by then,
// the end of the session removes it.
const leaving = 2 * time.Second

func (r *runner) run(candidate *election.Candidate) error {
	ctx, cancel := context.WithCancelCause(r.env.Context)
	defer cancel(nil)
	r.cancel = cancel
	if r.Wait > 0 {
		defer time.AfterFunc(r.Wait, func() {
			if r.began.CompareAndSwap(0, itWaitedTooLong) {
				cancel(&notYet{candidate.Status()})
			}
		}).Stop()
	}

	err := candidate.Run(ctx, r.lead)
	bounded, done := context.WithTimeout(context.Background(), leaving)
	defer done()
	_ = candidate.Shutdown(bounded)

	var signal cli.Signal
	var late *notYet
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &late):
		return &cli.Error{Code: cli.NotYet, What: fmt.Sprintf("did not lead within %v: %v", r.Wait, late)}
	case r.exit != nil && (ctx.Err() != nil || err == nil || errors.Is(err, r.exit)):
		return r.exit
	case errors.As(cause, &signal):
		return cli.Exit(signal.Code())
	}
	return err
}

// lead runs the command, again if it had to be stopped and the term goes on.
func (r *runner) lead(ctx context.Context, term *election.Term) error {
	if !r.began.CompareAndSwap(0, itLed) && r.began.Load() == itWaitedTooLong {
		return ctx.Err()
	}
	r.exit = nil
	for ctx.Err() == nil && term.Err() == nil {
		report, err := r.runCommand(ctx, term)
		switch {
		case err != nil:
			r.finish(&cli.Error{Code: cli.Failed, What: "the command could not be started: " + err.Error()})
		case report.Late:
			pause(ctx, r.times().poll)
			continue
		case !report.Started:
			r.finish(&cli.Error{Code: report.Code, What: "the command could not be started: " + report.Problem})
		case report.Stopping == "": // it has ended by itself
			r.env.Log.Info("the command has ended", "code", report.Code)
			r.finish(cli.Exit(report.Code))
		default:
			r.env.Log.Info("the command was stopped", "code", report.Code, "why", report.Stopping)
			if ctx.Err() == nil && term.Err() == nil && report.Stopping == keeper.ByLease {
				continue
			}
			r.stopped(term, report.Code)
		}
		break
	}
	exit := r.exit
	if r.Requeue && r.env.Context.Err() == nil {
		r.exit = nil // it is not the last command
	}
	if exit == cli.Exit(0) {
		return nil
	}
	return exit
}

// finish notes how the command has ended, and makes Candidate.Run return, also if the term
// has ended at the same time.
func (r *runner) finish(exit error) {
	r.exit = exit
	if !r.Requeue {
		r.cancel(errDone)
	}
}

// stopped notes how a command has ended that was stopped. That counts unless the term has
// ended, and the command is to run again in the next one.
func (r *runner) stopped(term *election.Term, code int) {
	if r.env.Context.Err() != nil || term.Err() == nil {
		r.exit = cli.Exit(code)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
