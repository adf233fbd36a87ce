package sim

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// asked are all ways to move leadership, or a follower, in a line of a, b and c.
var asked = map[string]func(ctx context.Context, operator *election.Client, leader *election.Candidate) error{
	"RequestResign": func(ctx context.Context, operator *election.Client, _ *election.Candidate) error {
		_, err := operator.RequestResign(ctx, job)
		return err
	},
	"RequestHandOver": func(ctx context.Context, operator *election.Client, _ *election.Candidate) error {
		return operator.RequestHandOver(ctx, job, "c")
	},
	"Evict": func(ctx context.Context, operator *election.Client, _ *election.Candidate) error {
		line, err := operator.Participants(ctx, job)
		if err != nil {
			return err
		}
		return operator.Evict(ctx, job, line[1])
	},
	"HandOver": func(ctx context.Context, _ *election.Client, leader *election.Candidate) error {
		return leader.HandOver(ctx, "c")
	},
}

// whole requires that all three stand in line again and one leads.
func (s story) whole(all []*election.Candidate) {
	s.Helper()
	synctest.Wait()
	s.nothingAsked()
	require.Len(s, s.e.Children(job), 3)
	leaders := 0
	for _, c := range all {
		if c.HasLeadership() {
			leaders++
		}
	}
	require.Equal(s, 1, leaders)
}

// The caller's context ends, or its process dies, at any moment of the call.
func TestACallThatEndsAtAnyStepLeavesNothingBehind(t *testing.T) {
	const trip, step, longest = 20 * time.Millisecond, 23 * time.Millisecond, 550 * time.Millisecond
	for name, ask := range asked {
		t.Run(name, func(t *testing.T) {
			for at := step / 2; at < longest; at += step {
				tell(t, func(s story) {
					all := s.line(nil, "a", "b", "c")
					operator := s.client("operator")
					for _, who := range []string{"a", "operator"} {
						s.delay(who, trip)
					}
					time.Sleep(time.Second)
					before := s.goroutines()
					ctx, cancel := context.WithTimeout(s.Context(), at)
					defer cancel()
					err := ask(ctx, operator, all[0])
					if err != nil {
						require.ErrorIs(s, err, context.DeadlineExceeded)
					}
					require.NoError(s, s.Context().Err())
					time.Sleep(10 * time.Second)
					s.whole(all)
					require.LessOrEqual(s, s.goroutines(), before)
				})
				if name == "HandOver" {
					continue // it is the leader's own
				}
				tell(t, func(s story) {
					all := s.line(nil, "a", "b", "c")
					operator := s.client("operator")
					s.delay("operator", trip)
					time.Sleep(time.Second)
					ctx, cancel := context.WithCancel(s.Context())
					done := make(chan struct{})
					go func() { defer close(done); _ = ask(ctx, operator, all[0]) }()
					time.Sleep(at)
					s.crash("operator")
					time.Sleep(2 * timeout)
					s.whole(all)
					cancel()
					<-done
				})
			}
		})
	}
}

func TestTwoRequestsThatMeetLeaveNothingBehind(t *testing.T) {
	const trip, step, longest = 20 * time.Millisecond, 19 * time.Millisecond, 450 * time.Millisecond
	for later := time.Duration(0); later < longest; later += step {
		tell(t, func(s story) {
			all := s.line(nil, "a", "b", "c")
			one, two := s.client("one"), s.client("two")
			for _, who := range []string{"a", "one", "two"} {
				s.delay(who, trip)
			}
			time.Sleep(time.Second)
			errs := make(chan error, 2)
			go func() { errs <- one.RequestHandOver(s.Context(), job, "c") }()
			go func() {
				time.Sleep(later)
				_, err := two.RequestResign(s.Context(), job)
				errs <- err
			}()
			succeeded := 0
			for range 2 {
				err := <-errs
				if err == nil {
					succeeded++
					continue
				}
				if !errors.Is(err, election.ErrRequested) {
					require.ErrorContains(s, err, "is first in line", "%v later", later)
				}
			}
			require.Positive(s, succeeded)
			time.Sleep(10 * time.Second)
			s.whole(all)
		})
	}
}

// leadersWork is what the leader's work does while a hand-over waits for it. cancel ends the context of Run.
type leadersWork struct {
	work  func(ctx context.Context, term *election.Term, cancel func()) error
	opts  []election.Option
	stays bool // the leader stands in line afterwards
}

var leadersWorks = map[string]leadersWork{
	"returns nil":        {func(ctx context.Context, _ *election.Term, _ func()) error { <-ctx.Done(); return nil }, nil, true},
	"returns an error":   {func(ctx context.Context, _ *election.Term, _ func()) error { <-ctx.Done(); return errTrouble }, nil, true},
	"error, and requeue": {func(ctx context.Context, _ *election.Term, _ func()) error { <-ctx.Done(); return errTrouble }, []election.Option{requeues(time.Hour, time.Hour)}, true},
	"holds the term": {func(ctx context.Context, term *election.Term, _ func()) error {
		release, err := term.Hold()
		if err != nil {
			return err
		}
		time.AfterFunc(30*time.Second, release)
		<-ctx.Done()
		return nil
	}, nil, true},
	"holds the term, and is stopped": {func(ctx context.Context, term *election.Term, cancel func()) error {
		release, err := term.Hold()
		if err != nil {
			return err
		}
		time.AfterFunc(30*time.Second, release)
		<-ctx.Done()
		cancel()
		return nil
	}, nil, false},
	"is stopped, too": {func(ctx context.Context, _ *election.Term, cancel func()) error {
		<-ctx.Done()
		cancel()
		time.Sleep(time.Second)
		return nil
	}, nil, false},
}

// What the leader's work does while a hand-over waits for it does not change who is next.
func TestAHandOverGoesToWhomItNamesWhateverTheLeadersWorkDoes(t *testing.T) {
	for name, test := range leadersWorks {
		for kind, opts := range kindsOfLines {
			t.Run(name+", "+kind, func(t *testing.T) {
				tell(t, func(s story) {
					opts := append(append([]election.Option{}, opts...), test.opts...)
					a := s.candidate(s.client("a"), append(opts, election.WithID("a"))...)
					ctx, cancel := context.WithCancel(s.Context())
					defer cancel()
					ran := make(chan struct{})
					go func() {
						defer close(ran)
						_ = a.Run(ctx, func(ctx context.Context, term *election.Term) error { return test.work(ctx, term, cancel) })
					}()
					s.leads(a, 20*time.Second)
					time.Sleep(time.Second)
					b := s.start(s.client("b"), append(opts, election.WithID("b"))...)
					c := s.start(s.client("c"), append(opts, election.WithID("c"))...)
					b.AddListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) { assert.Fail(s, "b was not named") }})
					time.Sleep(time.Second)
					operator := s.client("operator")
					require.NoError(s, operator.RequestHandOver(s.Context(), job, "c"))
					s.leads(c, time.Second)
					s.nothingAsked()
					time.Sleep(time.Second)
					want := []string{"a", "b", "c"}[map[bool]int{true: 0, false: 1}[test.stays]:]
					require.ElementsMatch(s, want, s.ids(operator))
					require.NoError(s, a.Close())
					<-ran
				})
			})
		}
	}
}

// The work fails by itself at the moment at which a hand-over is asked for.
func TestAHandOverThatMeetsTheEndOfTheWorkLeavesNothingBehind(t *testing.T) {
	const trip, step, longest = 20 * time.Millisecond, 19 * time.Millisecond, 450 * time.Millisecond
	for at := time.Duration(0); at < longest; at += step {
		tell(t, func(s story) {
			a, fail := s.candidate(s.client("a"), election.WithID("a")), make(chan struct{})
			ran := make(chan error, 1)
			go func() {
				ran <- a.Run(s.Context(), func(ctx context.Context, _ *election.Term) error { <-fail; return errTrouble })
			}()
			s.leads(a, time.Minute)
			s.start(s.client("b"), election.WithID("b"))
			s.start(s.client("c"), election.WithID("c"))
			operator := s.client("operator")
			for _, who := range []string{"a", "operator"} {
				s.delay(who, trip)
			}
			time.Sleep(time.Second)
			time.AfterFunc(at, func() { close(fail) })
			err := operator.RequestHandOver(s.Context(), job, "c")
			if err != nil {
				require.Regexp(s, "is first in line|no candidate|refuses", err.Error(), fmt.Sprint(at))
			}
			time.Sleep(10 * time.Second)
			s.nothingAsked()
			leader, lookErr := operator.Leader(s.Context(), job)
			require.NoError(s, lookErr)
			require.Equal(s, err == nil, leader.ID == "c", "%v after %v: %v leads", err, at, leader)
			require.NoError(s, a.Close())
			<-ran
		})
	}
}

// One ID may be held by several candidates, and by the leader itself.
func TestAHandOverToAnIDThatSeveralHold(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b", "c", "c", "a")
		operator := s.client("operator")
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "a"), "it leads already")
		require.True(s, all[0].HasLeadership())
		require.NoError(s, operator.RequestHandOver(s.Context(), job, "c"))
		s.leads(all[2], time.Second)
		time.Sleep(time.Second)
		require.NoError(s, all[2].HandOver(s.Context(), "c"), "to the other one")
		s.leads(all[3], time.Second)
		time.Sleep(time.Second)
		require.NoError(s, all[3].HandOver(s.Context(), "c"), "and back")
		s.leads(all[2], time.Second)
		require.NoError(s, all[3].Close())
		time.Sleep(time.Second)

		token := all[2].Term().Token()
		require.ErrorContains(s, all[2].HandOver(s.Context(), "c"), `no candidate with the ID "c" stands behind this one`)
		require.Equal(s, token, all[2].Term().Token(), "the term lasts")
		s.nothingAsked()
	})
}
