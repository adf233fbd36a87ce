//go:build unix

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/keeper"
)

// Shares of the time for which a lease is good after each proof. It is proved every
// quarter of that time, so while all is well, three quarters are always left.
const (
	earlyShare  = 3  // with a third left, the command is asked to stop, or later if it needs less
	marginShare = 20 // with a twentieth left, it is killed: the keeper has to wake up for that
	pollShare   = 24 // how often the keeper is told
	hungShare   = 10 // how long it may take to obey
)

// leisure is how much longer the keeper may take to obey if nobody waits for that but this
// candidate.
const leisure = 10 * time.Second

// times are those that follow from the lease.
type times struct{ early, margin, poll, hung time.Duration }

// The lease of a candidate, as the package documentation of the library has it: T/3, and
// with fast failover S/1.2, S being half of T at the most.
func (r *runner) times() times {
	granted := r.client.Status().Timeout
	lease := granted / 3
	if r.Fast > 0 {
		lease = min(lease, min(r.Fast, granted/2)*10/12)
	}
	margin := lease / marginShare
	return times{early: min(r.Grace, lease/earlyShare) + margin, margin: margin,
		poll: max(lease/pollShare, time.Millisecond), hung: max(lease/hungShare, 250*time.Millisecond)}
}

// runCommand runs the command once and returns when all its processes are gone. It
// stops the command when ctx ends, which also ends with the term.
func (r *runner) runCommand(ctx context.Context, term *election.Term) (keeper.Report, error) {
	// The deadline is read first: it says nothing about a term that is over.
	end := term.Deadline()
	if term.Err() != nil {
		return keeper.Report{Late: true}, nil
	}
	t := r.times()
	k, err := keeper.Start(keeper.Config{Command: r.Command.Command, Env: r.environment(term),
		Grace: r.Grace, Early: t.early, Margin: t.margin}, keeper.At(end))
	if err != nil {
		return keeper.Report{}, err
	}
	w := &watch{r: r, term: term, keeper: k, times: t, told: end}
	w.until(ctx)
	last := k.Finish(r.adopter)
	if w.last.Ended {
		last = w.last
	}
	last.Stopping = w.stopping
	return last, nil
}

// environment is that of the command.
func (r *runner) environment(term *election.Term) []string {
	return append(os.Environ(), fmt.Sprintf("ELECTION_TOKEN=%#x", term.Token()),
		"ELECTION_PATH="+term.Path(), "ELECTION_ID="+term.ID())
}

// watch is the wrapper's side of one run of the command.
type watch struct {
	r      *runner
	term   *election.Term
	keeper *keeper.Keeper
	times  times
	told   time.Time // the end of the lease that the keeper knows

	stopping   string    // why the command is being stopped; "" while it is not
	asked      time.Time // when the keeper was told to stop it
	killed     time.Time // when the keeper was told to kill it
	overdue    time.Time // since when it has not obeyed
	interrupts int
	last       keeper.Report
}

// until returns when the keeper has reported the end, or has ended, or does not obey.
func (w *watch) until(ctx context.Context) {
	poll := time.NewTicker(w.times.poll)
	defer poll.Stop()
	over := ctx.Done()
	for !w.hung() {
		select {
		case report, alive := <-w.keeper.Reports():
			if !alive || w.take(report) {
				return
			}
		case <-over:
			over = nil
			w.end()
		case <-w.r.interrupts:
			if w.interrupts++; w.interrupts > 1 {
				w.kill(keeper.ByOrder)
			}
		case <-poll.C:
			w.renew()
		}
	}
	w.r.env.Log.Warn("the keeper has not ended the command in time, so this process does")
}

// take returns true for the last report.
func (w *watch) take(report keeper.Report) (last bool) {
	switch {
	case report.Ended:
		w.last = report
		return true
	case report.Stopping == "" || report.Stopping == keeper.ByItself:
		return false
	case report.Stopping == keeper.ByLease:
		w.r.env.Log.Warn("the lease was not renewed in time, and the command is stopped")
	}
	w.stopping = cmp.Or(w.stopping, report.Stopping)
	return false
}

// end stops the command because the term has ended, or this process is to end.
func (w *watch) end() {
	err := w.term.Err()
	if err != nil && !inOrder(err) {
		w.kill("lost")
	} else if w.asked.IsZero() {
		w.stopping, w.asked = cmp.Or(w.stopping, keeper.ByOrder), time.Now()
		w.keeper.Stop()
	}
}

// inOrder reports whether the znode of a term that has ended so stays until the work has
// returned. Nobody else leads before, as long as the lease is good.
func inOrder(err error) bool {
	return errors.Is(err, election.ErrResigned) || errors.Is(err, election.ErrClosed) || errors.Is(err, election.ErrUnhealthy)
}

func (w *watch) kill(why string) {
	if w.killed.IsZero() {
		w.stopping, w.killed = cmp.Or(w.stopping, why), time.Now()
		w.keeper.Kill()
	}
}

// renew tells the keeper until when the lease is good. That goes on after a term that has
// ended in order: the deadline is then that of the lease on the znode, which is still there.
func (w *watch) renew() {
	end := w.term.Deadline() // before Err, as in runCommand
	if err := w.term.Err(); err != nil && !inOrder(err) {
		w.kill("lost")
		return
	}
	if !end.Equal(w.told) {
		w.told = end
		w.keeper.Extend(keeper.At(end))
	}
}

// hung reports whether the keeper has not obeyed for too long. That counts from when this
// process has noticed it: the process may have been stopped itself.
func (w *watch) hung() bool {
	now := time.Now()
	due := !w.killed.IsZero() || !w.asked.IsZero() && now.Sub(w.asked) > w.r.Grace+leisure || now.After(w.told)
	switch {
	case !due:
		w.overdue = time.Time{}
	case w.overdue.IsZero():
		w.overdue = now
	default:
		return now.Sub(w.overdue) > w.times.hung
	}
	return false
}
