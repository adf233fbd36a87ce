package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

const request = job + ".request"

func TestASecondRequestOfAClientDoesNotRemoveItsFirst(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		s.start(s.client("b"), election.WithID("b"))
		operator := s.client("operator")
		done := s.asks(operator, "")
		time.Sleep(time.Second)
		_, err := operator.RequestResign(s.Context(), job)
		require.ErrorIs(s, err, election.ErrRequested)
		_, there := s.e.Get(request)
		require.True(s, there, "the first request is gone")
		require.ErrorContains(s, err, request+" of session 0x")
		close(stop)
		require.NoError(s, <-done)
		s.nothingAsked()
	})
}

// The session of a caller's connection goes on after Close, and a request would go on with
// it.
func TestCloseRemovesARequestOnACallersConnection(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		defer close(stop)
		s.start(s.client("b"), election.WithID("b"))
		operator := s.adopt(s.e.DialerFor("operator"))
		done := s.asks(operator, "")
		time.Sleep(5 * time.Second)
		_, there := s.e.Get(request)
		require.True(s, there)
		require.NoError(s, operator.Close())
		require.ErrorIs(s, <-done, election.ErrClosed)
		time.Sleep(time.Second)
		s.nothingAsked()
	})
}

func TestCloseEndsARequestAndLeavesNoGoroutine(t *testing.T) {
	tell(t, func(s story) {
		_, stop := s.busy(s.client("a"), "a")
		defer close(stop)
		synctest.Wait()
		before := s.goroutines()
		operator := s.client("operator")
		done := s.asks(operator, "")
		time.Sleep(time.Second)
		require.NoError(s, operator.Close())
		require.ErrorIs(s, <-done, election.ErrClosed)
		synctest.Wait()
		require.LessOrEqual(s, s.goroutines(), before)
		s.nothingAsked()
	})
}

// The create is carried out, and its reply is lost with the connection.
func TestARequestWhoseReplyWasLostIsRemoved(t *testing.T) {
	tell(t, func(s story) {
		all := s.line([]election.Option{election.WithoutRequests()}, "a", "b")
		operator := s.client("operator")
		s.e.LoseReply(func(r zksim.Reply) bool { return r.Client == "operator" && r.Op == jute.OpMulti })
		_, err := operator.RequestResign(s.Context(), job)
		require.ErrorIs(s, err, election.ErrDisconnected)
		s.nothingAsked()
		require.True(s, all[0].HasLeadership())
	})
}

// Whoever may create but not delete would leave its request behind.
func TestWhoCannotRemoveARequestDoesNotMakeIt(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		require.NoError(s, s.e.SetACL("/", zk.WorldACL(zk.PermRead|zk.PermCreate)))
		_, err := s.client("operator").RequestResign(s.Context(), job)
		require.ErrorIs(s, err, zk.ErrNoAuth)
		require.ErrorContains(s, err, request)
		s.nothingAsked()
		require.True(s, all[0].HasLeadership())
	})
}

func TestAZnodeInTheWayOfRequestsIsNamed(t *testing.T) {
	tell(t, func(s story) {
		s.line(nil, "a", "b")
		require.NoError(s, s.e.Create(request, []byte("{")))
		_, err := s.client("operator").RequestResign(s.Context(), job)
		require.NotErrorIs(s, err, election.ErrRequested)
		require.ErrorContains(s, err, request+" is in the way")
	})
}

// A reconnect that the server does not set the watches again for must not make the leader
// deaf.
func TestALeaderThatLostItsWatchHearsARequest(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		a := s.start(s.client("a", election.WithDialer(p.Dial)), election.WithID("a"))
		s.leads(a, 20*time.Second)
		s.start(s.client("b"), election.WithID("b"))
		remove := s.refuse("a", jute.CodeNoAuth, jute.OpSetWatches, jute.OpSetWatches2)
		p.pull()
		time.Sleep(100 * time.Millisecond)
		p.putBack()
		time.Sleep(2 * time.Second)
		remove()
		s.leads(a, time.Second)
		began := time.Now()
		next, err := s.client("operator").RequestResign(s.Context(), job)
		require.NoError(s, err)
		require.Equal(s, "b", next.ID)
		require.Less(s, time.Since(began), time.Second)
	})
}

// The leader takes the request, and the connection is lost over its answer.
func TestAnAnswerWhoseReplyWasLostIsCarriedOut(t *testing.T) {
	tell(t, func(s story) {
		s.line(nil, "a", "b", "c")
		s.e.LoseReply(func(r zksim.Reply) bool { return r.Client == "a" && r.Op == jute.OpSetData })
		began := time.Now()
		require.NoError(s, s.client("operator").RequestHandOver(s.Context(), job, "c"))
		require.Less(s, time.Since(began), 5*time.Second)
		s.nothingAsked()
	})
}

// The connection is lost before the request can be answered, and the request is there
// when the leader is back.
func TestARequestThatCouldNotBeAnsweredIsAnsweredAfterTheReconnect(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		a := s.start(s.client("a", election.WithDialer(p.Dial)), election.WithID("a"))
		s.leads(a, 20*time.Second)
		s.start(s.client("b"), election.WithID("b"))
		p.pull()
		done := s.asks(s.client("operator"), "")
		time.Sleep(time.Second)
		p.putBack()
		require.NoError(s, <-done)
	})
}

// A request that was withdrawn while the leader was about to answer is not carried out.
func TestAWithdrawnRequestIsNotCarriedOut(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		token := all[0].Term().Token()
		s.e.Delay("a", "zk1", 300*time.Millisecond, 300*time.Millisecond) // the leader reads it before, and answers after
		ctx, cancel := context.WithTimeout(s.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := s.client("operator").RequestResign(ctx, job)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		time.Sleep(10 * time.Second)
		require.Equal(s, token, s.tokenOfFirst())
		s.nothingAsked()
	})
}

// The term ends over its lease after the request was taken: the leader, which comes back
// with the same znode, still goes.
func TestARequestTakenIsCarriedOutInALaterTermOfTheSameZnode(t *testing.T) {
	tell(t, func(s story) {
		s.line(nil, "a", "b")
		token := s.tokenOfFirst()
		done := make(chan error, 1)
		operator := s.client("operator")
		s.e.OnReply(func(r zksim.Reply) bool {
			if r.Client == "a" && r.Op == jute.OpSetData {
				time.AfterFunc(0, func() { s.e.Unplug("a") }) // not here, under the ensemble's lock
				time.AfterFunc(5*time.Second, func() { s.e.Plug("a") })
			}
			return false
		})
		go func() { done <- func() error { _, err := operator.RequestResign(s.Context(), job); return err }() }()
		require.NoError(s, <-done)
		require.NotEqual(s, token, s.tokenOfFirst())
		s.nothingAsked()
	})
}

func (s story) tokenOfFirst() int64 {
	p, err := s.client("looks").Leader(s.Context(), job)
	require.NoError(s, err)
	return p.Token
}

// A candidate that went to rest while it looked for a request can be asked in its next
// life.
func TestACandidateThatRestedCanBeAskedAgain(t *testing.T) {
	tell(t, func(s story) {
		a := s.candidate(s.client("a"), election.WithID("a"))
		s.e.Delay("a", "zk1", 100*time.Millisecond, 100*time.Millisecond) // one trip to leave, and two to look
		require.NoError(s, a.Run(s.Context(), func(context.Context, *election.Term) error { return nil }))
		time.Sleep(time.Minute)
		require.NoError(s, a.Start(s.Context()))
		s.leads(a, time.Minute)
		s.start(s.client("b"), election.WithID("b"))
		_, err := s.client("operator").RequestResign(s.Context(), job)
		require.NoError(s, err)
	})
}

func (s story) writeRequest(c *election.Client, format string, args ...any) {
	require.NoError(s, c.Do(s.Context(), func(conn *zk.Conn) error {
		_, err := conn.Create(request, fmt.Appendf(nil, format, args...), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		return err
	}))
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestRequestsThatAreNoneAreVoid(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "no JSON": "{", "null": "null", "no token": `{"what":"resign"}`, "a bad token": `{"what":"resign","token":"x"}`,
		"a number": `{"what":"resign","token":%d}`, "another type": `{"what":["resign"],"token":"%#x"}`,
		"answered by its operator": `{"what":"resign","token":"%#x","answer":"taken"}`,
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.line(nil, "a", "b")
				if len(data) > 0 && data != "{" && data != "null" && name != "no token" && name != "a bad token" {
					data = fmt.Sprintf(data, all[0].Term().Token())
				}
				s.writeRequest(s.client("operator"), "%s", data)
				require.True(s, all[0].HasLeadership())
				n, _ := s.e.Get(request)
				require.Equal(s, data, string(n.Data))
			})
		})
	}
}

func TestARequestOfAnUnknownKindIsAnsweredAndNotCarriedOut(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		s.writeRequest(s.client("operator"), `{"what":"dance","token":"%#x"}`, all[0].Term().Token())
		require.True(s, all[0].HasLeadership())
		n, _ := s.e.Get(request)
		require.Contains(s, string(n.Data), "does not know what")
	})
}

// A request to resign names nobody, even if it does.
func TestARequestToResignHandsOverToTheNextInLine(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b", "c")
		s.writeRequest(s.client("operator"), `{"what":"resign","to":"c","token":"%#x"}`, all[0].Term().Token())
		s.leads(all[1], time.Second)
	})
}

// Anybody may write to a request. What somebody else has made of it is void.
func TestARequestThatWasRewrittenIsVoid(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		token := all[0].Term().Token()
		s.e.Delay("zk1", "a", time.Second, time.Second)
		operator := s.client("operator")
		require.NoError(s, operator.Do(s.Context(), func(conn *zk.Conn) error {
			if _, err := conn.Create(request, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
				return err
			}
			_, err := conn.Set(request, fmt.Appendf(nil, `{"what":"resign","token":"%#x"}`, token), -1)
			return err
		}))
		time.Sleep(20 * time.Second)
		require.True(s, all[0].HasLeadership())
		require.Equal(s, token, all[0].Term().Token())
	})
}

// A request that was there before the term began is carried out if it is meant for it.
func TestARequestThatWasThereBeforeTheTermIsHeard(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b", "c")
		operator := s.client("operator")
		line, err := operator.Participants(s.Context(), job)
		require.NoError(s, err)
		s.writeRequest(operator, `{"what":"resign","token":"%#x"}`, line[1].Token)
		require.True(s, all[0].HasLeadership())
		require.NoError(s, all[0].Shutdown(s.Context()))
		s.leads(all[2], time.Second)
	})
}

func TestHandOverOfAClosedCandidateSaysSo(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a", "b")
		require.ErrorContains(s, all[0].HandOver(s.Context(), ""), "the ID is empty")
		require.ErrorContains(s, s.client("operator").RequestHandOver(s.Context(), job, ""), "the ID is empty")
		require.NoError(s, all[0].Close())
		require.ErrorIs(s, all[0].HandOver(s.Context(), "b"), election.ErrClosed)
	})
}

func TestALeaderThatStandsAloneIsAskedToResign(t *testing.T) {
	tell(t, func(s story) {
		all := s.line(nil, "a")
		token := all[0].Term().Token()
		next, err := s.client("operator").RequestResign(s.Context(), job)
		require.NoError(s, err)
		require.Equal(s, "a", next.ID)
		require.Greater(s, next.Token, token)
	})
}

// The work must not wait for its own end.
func TestARequestFromInsideTheWorkReturnsWhenTheTermIsOver(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, c *election.Client, x *election.Candidate) error{
		"RequestResign": func(ctx context.Context, c *election.Client, _ *election.Candidate) error {
			_, err := c.RequestResign(ctx, job)
			return err
		},
		"RequestHandOver": func(ctx context.Context, c *election.Client, _ *election.Candidate) error {
			return c.RequestHandOver(ctx, job, "c")
		},
		"HandOver": func(ctx context.Context, _ *election.Client, x *election.Candidate) error {
			return x.HandOver(ctx, "c")
		},
	} {
		for given, with := range contexts {
			t.Run(name+", "+given, func(t *testing.T) {
				tell(t, func(s story) {
					client := s.client("a")
					x := s.candidate(client, election.WithID("a"))
					b, c := s.client("b"), s.client("c")
					took, err := work(s, x, func(own context.Context, term *election.Term) error {
						s.start(b, election.WithID("b"))
						s.start(c, election.WithID("c"))
						return ask(with(s, own, term), client, x)
					})
					require.Less(s, took, short)
					if name == "HandOver" {
						require.NoError(s, err)
					} else {
						require.ErrorIs(s, err, election.ErrResigned)
					}
					time.Sleep(time.Second)
					s.nothingAsked()
					want := map[string]string{"RequestResign": "b", "RequestHandOver": "c", "HandOver": "c"}[name]
					require.Equal(s, want, s.ids(client)[0])
					require.NoError(s, x.Close())
				})
			})
		}
	}
}
