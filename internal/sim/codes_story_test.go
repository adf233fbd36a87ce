package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// Stories about servers that answer with an error code and do not do what was requested.

// verdict is what an error code means for a request.
type verdict int

const (
	final     verdict = iota // returned at once
	retry                    // not carried out, tried again
	uncertain                // the server cannot tell, tried again
)

var codes = []struct {
	code jute.Code
	says string
	is   verdict
}{
	{-1, "SYSTEMERROR", uncertain},
	{-2, "RUNTIMEINCONSISTENCY", retry},
	{-3, "DATAINCONSISTENCY", uncertain},
	{-4, "CONNECTIONLOSS", uncertain},
	{-5, "MARSHALLINGERROR", uncertain},
	{-7, "OPERATIONTIMEOUT", uncertain},
	{-8, "invalid arguments", final},
	{-9, "INVALIDSTATE", retry},
	{-13, "NEWCONFIGNOQUORUM", retry},
	{-14, "RECONFIGINPROGRESS", retry},
	{-102, "not authenticated", final},
	{-111, "node has children", retry},
	{-114, "invalid ACL", final},
	{-115, "authentication failed", final},
	{-117, "no server responses", retry},
	{-118, "session moved", retry},
	{-119, "NOTREADONLY", retry},
	{-120, "EPHEMERALONLOCALSESSION", final},
	{-121, "NOWATCHER", retry},
	{-122, "REQUESTTIMEOUT", uncertain},
	{-123, "reconfiguration", retry},
	{-124, "SESSIONCLOSEDREQUIRESASLAUTH", final},
	{-125, "QUOTAEXCEEDED", final},
	{-127, "THROTTLEDOP", retry},
	{-4711, "unknown error code -4711", uncertain},
}

// onEachCode plays a story once for each code.
func onEachCode(t *testing.T, f func(s story, code jute.Code, says string, is verdict)) {
	for _, c := range codes {
		t.Run(fmt.Sprint(int32(c.code)), func(t *testing.T) { tell(t, func(s story) { f(s, c.code, c.says, c.is) }) })
	}
}

// refuse answers a client's requests of the named kinds, or all of its requests, with a
// code.
func (s story) refuse(client string, code jute.Code, ops ...jute.Op) (remove func()) {
	return s.e.Refuse(func(a zksim.Asked) jute.Code {
		for _, op := range ops {
			if a.Client == client && a.Op == op {
				return code
			}
		}
		return jute.CodeOK
	})
}

// says requires an error that gives the server's code and is no loss of the connection.
func says(s story, err error, what string) {
	s.Helper()
	require.ErrorContains(s, err, what)
	require.NotErrorIs(s, err, election.ErrDisconnected)
	require.NotContains(s, err.Error(), "unknown error:", "the driver's words for a code that it does not know")
}

func TestAnyCodeIsAnAnswer_Start(t *testing.T) {
	onEachCode(t, func(s story, code jute.Code, what string, is verdict) {
		c := s.client("a")
		remove := s.refuseWhich(code, func(r zksim.Asked) bool {
			// A server that requires SASL answers so to each request, and ends the connection.
			return r.Client == "a" && (r.Op == jute.OpCreate || code == jute.CodeRequiresSASL)
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
		defer cancel()
		cand := s.candidate(c)
		err := cand.Start(ctx)
		says(s, err, what)
		if is == final {
			require.Less(s, time.Since(began), 100*time.Millisecond, "it is no use to try again")
		} else {
			require.ErrorIs(s, err, context.DeadlineExceeded)
		}
		remove()
		require.NoError(s, cand.Start(s.Context()))
		require.Len(s, s.e.Children(job), 1)
	})
}

// A candidate that has taken part before keeps trying.
func TestAnyCodeIsAnAnswer_Afterwards(t *testing.T) {
	onEachCode(t, func(s story, code jute.Code, what string, is verdict) {
		var log lines
		cand := s.start(s.client("a"), election.WithLogger(slog.New(slog.NewTextHandler(&log,
			&slog.HandlerOptions{Level: slog.LevelWarn}))))
		remove := s.refuse("a", code, jute.OpCreate)
		require.NoError(s, s.e.Delete(cand.Status().Znode))
		time.Sleep(20 * time.Second)
		// The latest error may be another's for a moment: the path is gone with its last znode, and so a proof fails, too.
		named := func() bool { return strings.Contains(cand.Status().LastError, what) }
		for range 100 {
			if synctest.Wait(); named() {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.True(s, named(), "the last error is %q", cand.Status().LastError)
		if is == final {
			assert.Contains(s, log.String(), what, "at Warn")
		}
		remove()
		time.Sleep(10 * time.Second)
		assert.True(s, cand.HasLeadership())
		assert.Len(s, s.e.Children(job), 1)
	})
}

func TestAnyCodeIsAnAnswer_Guard(t *testing.T) {
	onEachCode(t, func(s story, code jute.Code, what string, is verdict) {
		term, err := s.start(s.client("a")).Await(s.Context())
		require.NoError(s, err)
		time.Sleep(100 * time.Millisecond) // until no proof is pending: its refusal could end the connection
		remove := s.e.Refuse(func(a zksim.Asked) jute.Code {
			if a.Op == jute.OpMulti {
				return code
			}
			return jute.CodeOK
		})
		_, err = term.Guard(s.Context(), &zk.CreateRequest{Path: "/data", Acl: zk.WorldACL(zk.PermAll)})
		says(s, err, what)
		if is == uncertain {
			require.ErrorContains(s, err, "the outcome is unknown")
		} else {
			require.ErrorContains(s, err, "nothing was applied")
		}
		remove()
		time.Sleep(time.Second / 2) // some answers end the connection
		_, err = term.Guard(s.Context(), &zk.CreateRequest{Path: "/data", Acl: zk.WorldACL(zk.PermAll)})
		require.NoError(s, err)
	})
}

func TestAnyCodeIsAnAnswer_LeaderAndObserve(t *testing.T) {
	onEachCode(t, func(s story, code jute.Code, what string, is verdict) {
		s.start(s.client("a"))
		c := s.client("b")
		remove := s.refuse("b", code, jute.OpGetChildren2)
		_, err := c.Leader(s.Context(), job)
		says(s, err, what)
		time.AfterFunc(30*time.Second, remove)
		var seen []error
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		for p, err := range c.Observe(ctx, job) {
			if err == nil {
				require.True(s, p.Leader)
				break
			}
			seen = append(seen, err)
		}
		require.NoError(s, ctx.Err(), "the leader is seen again")
		seen = slices.DeleteFunc(seen, func(err error) bool {
			return code == -124 && errors.Is(err,
				election.ErrDisconnected)
		})
		require.NotEmpty(s, seen)
		for _, err := range seen {
			says(s, err, what)
		}
	})
}

func TestAnyCodeIsAnAnswer_ExpiryIsTheServersWord(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("b")
		remove := s.refuse("b", jute.CodeSessionExpired, jute.OpGetChildren2)
		_, err := c.Leader(s.Context(), job)
		require.ErrorIs(s, err, election.ErrSessionExpired)
		require.NotErrorIs(s, err, election.ErrDisconnected)
		remove()
		_, err = c.Leader(s.Context(), job)
		require.ErrorIs(s, err, election.ErrNoLeader)
	})
}

// The driver reports no error of the requests that it makes by itself on a new
// connection.
func TestARefusalAtAReconnectIsTold(t *testing.T) {
	for _, c := range []struct {
		op   jute.Op
		what string
		ends bool
	}{{jute.OpAuth, "credentials", true}, {jute.OpSetWatches, "watches", false}} {
		t.Run(c.what, func(t *testing.T) {
			tell(t, func(s story) {
				var log lines
				p := &plug{dial: s.e.DialerFor("a")}
				client := s.client("a", election.WithDialer(p.Dial), election.WithAuth("digest", []byte("u:p")),
					election.WithClientLogger(slog.New(slog.NewTextHandler(&log,
						&slog.HandlerOptions{Level: slog.LevelWarn}))))
				cand := s.start(client)
				require.Empty(s, log.String())
				remove := s.refuse("a", jute.CodeNoAuth, c.op)
				p.pull()
				p.putBack()
				time.Sleep(35 * time.Second)
				told := strings.Count(log.String(), "cannot be used as the last one was")
				assert.Contains(s, log.String(), "NOAUTH (-102)")
				assert.Positive(s, told)
				assert.Contains(s, log.String(), "level=WARN")
				assert.Contains(s, log.String(), c.what)
				assert.LessOrEqual(s, told, 4, "once in a session timeout")
				for range 100 { // between two attempts there is a connection for a moment
					if !c.ends || strings.Contains(cand.Status().LastError, "NOAUTH (-102)") {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				if c.ends {
					assert.Contains(s, cand.Status().LastError, "NOAUTH (-102)")
				}
				remove()
				time.Sleep(time.Minute)
				assert.True(s, cand.HasLeadership())
				assert.Empty(s, cand.Status().LastError)
			})
		})
	}
}

// A server, an overloaded one for example, may refuse the watches that the driver sets
// again on a new connection. The driver does not repeat that request, so candidates set
// their watches again. The next in line must not wait for its slow check.
func TestWatchesThatAreRefusedAtAReconnectAreSetAnew(t *testing.T) {
	tell(t, func(s story) {
		leads := s.start(s.client("b"))
		p := &plug{dial: s.e.DialerFor("a")}
		next := s.start(s.client("a", election.WithDialer(p.Dial)))
		time.Sleep(time.Minute)
		remove := s.refuse("a", jute.Code(-122), jute.OpSetWatches)
		p.pull()
		p.putBack()
		for !next.Status().Connected {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		remove()
		require.NoError(s, leads.Close())
		time.Sleep(10 * time.Millisecond)
		require.True(s, next.HasLeadership())
	})
}
