package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// everything is a trace that passes on whatever it is told.
func everything(to func(info any)) election.ClientOption {
	return election.WithTrace(&election.Trace{
		TermBegan:      func(i election.TermBeganInfo) { to(i) },
		TermEnded:      func(i election.TermEndedInfo) { to(i) },
		StateChanged:   func(i election.StateChangedInfo) { to(i) },
		RequestFailed:  func(i election.RequestFailedInfo) { to(i) },
		WorkOverran:    func(i election.WorkOverranInfo) { to(i) },
		Guarded:        func(i election.GuardedInfo) { to(i) },
		LeaseProved:    func(i election.LeaseProvedInfo) { to(i) },
		SessionChanged: func(i election.SessionChangedInfo) { to(i) },
	})
}

// collected is what a trace was told.
type collected[Info any] struct {
	mu  sync.Mutex
	all []Info
}

func (c *collected[Info]) add(info Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, info)
}

// take returns what was told since the last call.
func (c *collected[Info]) take() []Info {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

// IDs are whole in a trace, as they are in the znode: only logs cut them short.
func TestATraceTellsTheLifeOfACandidateInOrder(t *testing.T) {
	tell(t, func(s story) {
		var told collected[any]
		var whose collected[*election.Candidate]
		id := strings.Repeat("long ", 50)
		x := s.candidate(s.client("a", everything(func(info any) {
			switch i := info.(type) {
			case election.LeaseProvedInfo, election.SessionChangedInfo: // of the session, on another goroutine
			case election.StateChangedInfo:
				whose.add(i.Candidate)
				i.Candidate = nil
				told.add(i)
			default:
				told.add(info)
			}
		})), election.WithID(id))
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		began := time.Now()
		time.Sleep(time.Minute)
		s.delay("a", 10*time.Millisecond) // each way
		_, err = term.Guard(s.Context(), &zk.CreateRequest{Path: "/x", Acl: zk.WorldACL(zk.PermAll)})
		require.NoError(s, err)
		_, refused := term.Guard(s.Context(), &zk.DeleteRequest{Path: "/nobody"})
		require.ErrorIs(s, refused, zk.ErrNoNode)
		require.NoError(s, x.Shutdown(s.Context()))
		const lasted = time.Minute + 40*time.Millisecond

		move := func(since time.Time, from, to election.State) election.StateChangedInfo {
			return election.StateChangedInfo{Path: job, ID: id, From: from, To: to, Since: since}
		}
		ended := began.Add(lasted)
		assert.Equal(s, []any{
			move(began, election.StateIdle, election.StateJoining),
			move(began, election.StateJoining, election.StateElected),
			move(began, election.StateElected, election.StateLeading),
			election.TermBeganInfo{Path: job, ID: id, Token: term.Token(), Began: began},
			election.GuardedInfo{Path: job, ID: id, Token: term.Token(), Ops: 1, Took: 20 * time.Millisecond},
			election.GuardedInfo{Path: job, ID: id, Token: term.Token(), Ops: 1, Took: 20 * time.Millisecond, Err: refused},
			move(ended, election.StateLeading, election.StateStopping),
			election.TermEndedInfo{Path: job, ID: id, Token: term.Token(), Began: began, Ended: ended.Round(0),
				Lasted: lasted, Cause: election.ErrClosed},
			move(ended, election.StateStopping, election.StateLeaving),
			move(ended.Add(20*time.Millisecond), election.StateLeaving, election.StateClosed),
		}, told.take())
		for _, c := range whose.take() {
			assert.Same(s, x, c)
		}
	})
}

// The session is the client's. What is reported of it begins with the first one that there
// is, and ends with Close.
func TestATraceTellsOfTheSession(t *testing.T) {
	tell(t, func(s story) {
		var told collected[election.SessionChangedInfo]
		p := &plug{dial: s.e.DialerFor("a")}
		a := s.client("a", election.WithDialer(p.Dial), election.WithTrace(&election.Trace{SessionChanged: told.add}))
		x := s.start(a)
		time.Sleep(time.Minute)
		first := x.Status().SessionID
		p.pull()
		time.Sleep(time.Second)
		p.putBack()
		time.Sleep(time.Minute)
		s.e.ExpireSession(first)
		time.Sleep(time.Minute)
		second := x.Status().SessionID
		require.NotEqual(s, first, second)
		require.NoError(s, a.Close())
		time.Sleep(time.Minute)

		assert.Equal(s, []election.SessionChangedInfo{
			{SessionID: first, Connected: true, Timeout: timeout},
			{SessionID: first, Timeout: timeout},
			{SessionID: first, Connected: true, Timeout: timeout},
			{SessionID: first, Timeout: timeout}, // the server hangs up
			{Timeout: timeout},
			{SessionID: second, Connected: true, Timeout: timeout},
		}, told.take())
	})
}

func TestATraceTellsWhyASessionWasGivenUp(t *testing.T) {
	tell(t, func(s story) {
		var told collected[election.SessionChangedInfo]
		x := s.start(s.client("a", election.WithTrace(&election.Trace{SessionChanged: told.add})))
		time.Sleep(time.Minute)
		first := x.Status().SessionID
		s.e.Wipe()
		time.Sleep(time.Minute)
		require.NotEqual(s, first, x.Status().SessionID)
		var reasons []error
		for _, info := range told.take() {
			if info.GivenUp != nil {
				assert.False(s, info.Connected)
				reasons = append(reasons, info.GivenUp)
			}
		}
		require.NotEmpty(s, reasons)
		assert.ErrorContains(s, reasons[0], "lost its data")
	})
}

// The lease is the session's: all candidates share its proofs.
func TestATraceTellsOfEveryProofOfTheLease(t *testing.T) {
	for name, connect := range map[string]func(story, *plug, election.ClientOption) *election.Client{
		"by Connect": func(s story, p *plug, trace election.ClientOption) *election.Client {
			return s.client("a", election.WithDialer(p.Dial), trace)
		},
		"by NewClient": func(s story, p *plug, trace election.ClientOption) *election.Client { return s.adopt(p.Dial, trace) },
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				var told collected[election.LeaseProvedInfo]
				p := &plug{dial: s.e.DialerFor("a")}
				a := connect(s, p, election.WithTrace(&election.Trace{LeaseProved: told.add}))
				time.Sleep(time.Hour)
				assert.Empty(s, told.take(), "nobody needs the lease")
				x := s.start(a)
				s.start(a)
				time.Sleep(time.Minute)
				s.delay("a", 5*time.Millisecond) // each way
				time.Sleep(time.Second)
				told.take()
				time.Sleep(time.Minute)
				proofs := told.take()
				assert.InDelta(s, time.Minute/(timeout/12), len(proofs), 2)
				for _, proof := range proofs {
					assert.Equal(s, election.LeaseProvedInfo{Took: 10 * time.Millisecond}, proof)
				}

				s.e.Freeze(1)
				time.Sleep(time.Minute)
				proofs = told.take()
				require.NotEmpty(s, proofs)
				for _, proof := range proofs {
					assert.ErrorIs(s, proof.Err, election.ErrDisconnected)
					assert.Greater(s, proof.Took, time.Second)
				}
				assert.False(s, x.HasLeadership())
				s.e.Thaw(1)
				time.Sleep(time.Minute)
				require.NotEmpty(s, told.take())
				require.NoError(s, a.Close())
				time.Sleep(time.Minute)
				assert.Empty(s, told.take(), "after Close")
			})
		})
	}
}

func TestATraceTellsOfRequestsThatFail(t *testing.T) {
	tell(t, func(s story) {
		var told collected[election.RequestFailedInfo]
		x := s.start(s.client("a", election.WithTrace(&election.Trace{RequestFailed: told.add})), election.WithID("x"))
		_, err := s.operator().SetACL(job, zk.WorldACL(zk.PermRead|zk.PermAdmin), -1)
		require.NoError(s, err)
		time.Sleep(time.Minute)
		require.Empty(s, told.take())
		require.NoError(s, s.e.Delete(x.Status().Znode))
		time.Sleep(10 * time.Second)
		failed := told.take()
		require.Greater(s, len(failed), 10)
		for i, info := range failed {
			assert.ErrorIs(s, info.Err, zk.ErrNoAuth)
			assert.Equal(s, i+1, info.Failures)
			assert.Positive(s, info.RetryAfter)
			assert.Equal(s, job+" x", info.Path+" "+info.ID)
		}
	})
}

// A request that got no answer failed with the connection.
func TestATraceTellsOfRequestsWithoutAnAnswer(t *testing.T) {
	tell(t, func(s story) {
		var told collected[election.RequestFailedInfo]
		p := &plug{dial: s.e.DialerFor("a")}
		x := s.candidate(s.client("a", election.WithDialer(p.Dial), election.WithTrace(&election.Trace{RequestFailed: told.add})))
		s.delay("a", 100*time.Millisecond)
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		time.AfterFunc(50*time.Millisecond, p.pull)
		require.ErrorIs(s, x.Start(ctx), context.DeadlineExceeded)
		failed := told.take()
		require.NotEmpty(s, failed)
		for _, info := range failed {
			assert.ErrorIs(s, info.Err, election.ErrDisconnected)
		}
	})
}

// Without WithOverrun, work may run on for a session timeout before it is reported.
func TestATraceTellsOfWorkThatDoesNotStopAfterItsTermsEnd(t *testing.T) {
	for grace, opts := range map[time.Duration][]election.Option{
		timeout:         nil,
		time.Nanosecond: {election.WithOverrun(time.Nanosecond, func(*election.Term) { panic("overrun") })},
		time.Hour:       {election.WithOverrun(time.Hour, func(*election.Term) {})},
	} {
		t.Run(fmt.Sprint(grace), func(t *testing.T) {
			tell(t, func(s story) {
				type report struct {
					info  any
					token int64
					at    time.Time
				}
				var told collected[report]
				x := s.candidate(s.client("a", everything(func(info any) {
					switch i := info.(type) {
					case election.WorkOverranInfo:
						told.add(report{i, i.Token, time.Now()})
					case election.TermEndedInfo:
						told.add(report{i, i.Token, time.Now()})
					}
				})), append(opts, election.WithID("x"))...)
				work := func(takes time.Duration) (ended time.Time, reports []report) {
					var token int64
					ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
					defer cancel()
					err := x.Run(ctx, func(ctx context.Context, term *election.Term) error {
						token = term.Token()
						time.Sleep(time.Second)
						require.NoError(s, x.Resign(ctx))
						ended = time.Now()
						cancel()
						time.Sleep(takes)
						return nil
					})
					require.ErrorIs(s, err, context.Canceled)
					for _, r := range told.take() {
						if r.token == token { // there may be other terms, but no other work
							reports = append(reports, r)
						}
					}
					return ended, reports
				}

				_, all := work(grace / 2)
				assert.Len(s, all, 1, "it stops in time")
				ended, all := work(2*grace + 1)
				require.Len(s, all, 2)
				term, overran := all[0].info.(election.TermEndedInfo), all[1].info.(election.WorkOverranInfo)
				assert.Equal(s, election.WorkOverranInfo{Path: job, ID: "x", Token: term.Token, Ended: term.Ended,
					Cause: election.ErrResigned}, overran)
				assert.Equal(s, ended.Add(grace), all[1].at)
				assert.True(s, ended.Equal(overran.Ended))
			})
		})
	}
}

// A function of a trace is the user's code.
func TestATraceThatHangsOrPanicsHoldsUpNothing(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelError)
		forever := make(chan struct{})
		stuck := func(any) { <-forever }
		a, b := s.client("a", everything(stuck)), s.client("b", election.WithClientLogger(log), everything(func(info any) {
			panic(fmt.Sprintf("%T", info))
		}))
		x, y := s.start(a), s.start(b)
		for range 3 {
			require.NoError(s, x.Resign(s.Context()))
			term, err := y.Await(s.Context())
			require.NoError(s, err)
			_, err = term.Guard(s.Context())
			require.NoError(s, err)
			require.NoError(s, y.Resign(s.Context()))
			_, err = x.Await(s.Context())
			require.NoError(s, err)
		}
		time.Sleep(time.Minute)
		assert.True(s, x.HasLeadership())

		began := time.Now()
		require.NoError(s, a.Close())
		require.NoError(s, b.Close())
		assert.Equal(s, 100*time.Millisecond, time.Since(began), "Close does not wait for long")
		panics := map[any]bool{}
		for _, l := range said.take() {
			assert.Equal(s, "a trace function panicked", l.what)
			assert.Contains(s, l.with["stack"], "trace_story_test.go")
			panics[l.with["panic"]] = true
		}
		for _, info := range []any{election.TermBeganInfo{}, election.TermEndedInfo{}, election.StateChangedInfo{},
			election.GuardedInfo{}, election.LeaseProvedInfo{}, election.SessionChangedInfo{}} {
			assert.True(s, panics[fmt.Sprintf("%T", info)], "%T", info)
		}
		close(forever)
	})
}

// What Close itself does is no failure, and what was to be told by then has been told.
func TestCloseEndsATraceInGoodOrder(t *testing.T) {
	tell(t, func(s story) {
		for i := range 20 {
			var ended, changed, failed atomic.Int32
			a := s.client("a", election.WithTrace(&election.Trace{
				TermEnded:      func(election.TermEndedInfo) { time.Sleep(20 * time.Millisecond); ended.Add(1) },
				SessionChanged: func(election.SessionChangedInfo) { time.Sleep(80 * time.Millisecond); changed.Add(1) },
				LeaseProved: func(info election.LeaseProvedInfo) {
					if info.Err != nil {
						failed.Add(1)
					}
				},
			}))
			_, err := s.candidate(a).Await(s.Context())
			require.NoError(s, err)
			if i > 0 {
				time.Sleep(time.Minute)
				s.delay("a", 200*time.Millisecond)
				time.Sleep(time.Duration(i) * timeout / 12 / 20) // often a proof waits for its answer
			}
			require.NoError(s, a.Close())
			assert.Equal(s, []int32{1, 1, 0}, []int32{ended.Load(), changed.Load(), failed.Load()})
			s.delay("a", 0)
		}
	})
}

// Also of a candidate that no longer takes part when Close is called.
func TestCloseWaitsForTheTraceOfACandidateThatHasEnded(t *testing.T) {
	tell(t, func(s story) {
		var ended atomic.Int32
		a := s.client("a", election.WithTrace(&election.Trace{
			TermEnded: func(election.TermEndedInfo) { time.Sleep(20 * time.Millisecond); ended.Add(1) },
		}))
		x := s.candidate(a)
		for range 3 {
			require.NoError(s, x.Run(s.Context(), func(context.Context, *election.Term) error { return nil }))
		}
		require.NoError(s, a.Close())
		assert.EqualValues(s, 3, ended.Load())
	})
}

// What a program does with its trace later is its own affair.
func TestAClientKeepsItsOwnCopyOfATrace(t *testing.T) {
	tell(t, func(s story) {
		var first, second int
		trace := &election.Trace{TermBegan: func(election.TermBeganInfo) { first++ }}
		a := s.client("a", election.WithTrace(&election.Trace{}), election.WithTrace(trace))
		trace.TermBegan = func(election.TermBeganInfo) { second++ }
		_, err := s.candidate(a).Await(s.Context())
		require.NoError(s, err)
		synctest.Wait()
		assert.Equal(s, 1, first)
		assert.Zero(s, second)
	})
}

// A metrics library and the service itself may each have a trace.
func TestEveryTraceOfAClientIsCalled(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelError)
		var first, second, third collected[any]
		a := s.client("a", election.WithClientLogger(log),
			election.WithTrace(&election.Trace{TermBegan: func(i election.TermBeganInfo) { first.add(i) }}),
			everything(func(i any) { second.add(i); panic("second") }), everything(third.add))
		x := s.candidate(a)
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		_, err = term.Guard(s.Context())
		require.NoError(s, err)
		require.NoError(s, x.Resign(s.Context()))
		require.NoError(s, a.Close())

		all := second.take()
		assert.Len(s, third.take(), len(all), "also after a panic")
		kinds := map[string]bool{}
		for _, info := range all {
			kinds[fmt.Sprintf("%T", info)] = true
		}
		for _, info := range []any{election.TermBeganInfo{}, election.TermEndedInfo{}, election.StateChangedInfo{},
			election.GuardedInfo{}, election.SessionChangedInfo{}} {
			assert.True(s, kinds[fmt.Sprintf("%T", info)], "%T", info)
		}
		assert.Len(s, first.take(), 2)
		assert.Len(s, said.take(), len(all), "each panic is logged")
	})
}
