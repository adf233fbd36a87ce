package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
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

// ears is a log handler that keeps all lines.
type ears struct {
	mu    sync.Mutex
	began time.Time
	heard []heard
}

type heard struct {
	at    time.Duration // since the handler was made
	level slog.Level
	what  string
	with  map[string]any
}

func (h heard) String() string { return fmt.Sprintf("%v %v %s %v", h.at, h.level, h.what, h.with) }

// ear is a handler with the attributes that it adds to every line.
type ear struct {
	*ears
	with []slog.Attr
}

func listen(least slog.Level) (*ears, *slog.Logger) {
	e := &ears{began: time.Now()}
	return e, slog.New(leveled{ear{ears: e}, least})
}

// leveled drops lines below its level.
type leveled struct {
	slog.Handler
	least slog.Level
}

func (l leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }
func (l leveled) WithAttrs(more []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(more), l.least}
}

func (ear) Enabled(context.Context, slog.Level) bool { return true }
func (e ear) WithGroup(string) slog.Handler          { return e }
func (e ear) WithAttrs(more []slog.Attr) slog.Handler {
	return ear{e.ears, append(append([]slog.Attr(nil), e.with...), more...)}
}

func (e ear) Handle(_ context.Context, r slog.Record) error {
	h := heard{time.Since(e.began), r.Level, r.Message, map[string]any{}}
	for _, a := range e.with {
		h.with[a.Key] = a.Value.Resolve().Any()
	}
	r.Attrs(func(a slog.Attr) bool {
		h.with[a.Key] = a.Value.Resolve().Any()
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, h)
	return nil
}

// take returns the lines since the last call.
func (e *ears) take() []heard {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.heard
	e.heard = nil
	return all
}

// warnings asserts that all lines are warnings of one kind, at the given multiples of the
// session timeout, each with a reason and with what to check.
func warnings(t assert.TestingT, lines []heard, from time.Duration, what, reason string, at ...time.Duration) {
	var times []time.Duration
	for _, l := range lines {
		assert.Equal(t, slog.LevelWarn, l.level, "%v", l)
		assert.Contains(t, l.what, what)
		assert.Contains(t, fmt.Sprint(l.with["error"]), reason)
		assert.NotEmpty(t, l.with["check"])
		assert.Equal(t, l.at-from, l.with["for"])
		times = append(times, l.at-from)
	}
	assert.Equal(t, at, times, "%v", lines)
}

const timeout = election.DefaultSessionTimeout

// The first lines about something overdue, and the times of all such lines in the first
// hour.
var (
	firstThree = []time.Duration{timeout, 3 * timeout, 7 * timeout}
	firstHour  = []time.Duration{timeout, 3 * timeout, 7 * timeout, 15 * timeout, 31 * timeout, 63 * timeout,
		123 * timeout, 183 * timeout, 243 * timeout, 303 * timeout}
)

func TestWaitingForAFirstServerIsTold(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		p.pull()
		said, log := listen(slog.LevelInfo)
		ctx, cancel := context.WithTimeout(s.Context(), time.Hour)
		defer cancel()
		_, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(p.Dial),
			election.WithClientLogger(log))
		require.ErrorIs(s, err, context.DeadlineExceeded)
		warnings(s, said.take(), 0, "no zookeeper server has answered yet", "unplugged", firstHour...)
		time.Sleep(time.Hour)
		assert.Empty(s, said.take(), "nobody waits any more")
	})
}

func TestAnOutageIsToldAndItsEnd(t *testing.T) {
	for name, client := range map[string]func(s story, p *plug, o ...election.ClientOption) *election.Client{
		"unplugged": func(s story, p *plug, o ...election.ClientOption) *election.Client {
			return s.client("a", append(o, election.WithDialer(p.Dial))...)
		},
		"caller's": func(s story, p *plug, o ...election.ClientOption) *election.Client {
			return s.adopt(p.Dial,
				o...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				p := &plug{dial: s.e.DialerFor("a")}
				said, log := listen(slog.LevelInfo)
				x := s.start(client(s, p, election.WithClientLogger(log)))
				time.Sleep(time.Hour)
				said.take()
				p.pull()
				time.Sleep(timeout / 2)
				p.putBack()
				time.Sleep(time.Hour)
				for _, l := range said.take() {
					assert.Equal(s, slog.LevelInfo, l.level, "a short one is no news: %v", l)
					assert.NotContains(s, l.what, "back")
				}
				p.pull()
				time.Sleep(8 * timeout)
				var down time.Duration
				var warned []heard
				for _, l := range said.take() {
					switch {
					case l.what == "zookeeper disconnected":
						down = l.at
					case l.level > slog.LevelInfo:
						warned = append(warned, l)
					}
				}
				require.NotZero(s, down)
				warnings(s, warned, down, "still out of reach", name, firstThree...)
				p.putBack()
				time.Sleep(time.Hour)
				var back []heard
				for _, l := range said.take() {
					assert.Equal(s, slog.LevelInfo, l.level, "%v", l)
					if strings.Contains(l.what, "is back") {
						back = append(back, l)
					}
				}
				require.Len(s, back, 1)
				assert.Equal(s, back[0].at-down, back[0].with["after"])
				assert.True(s, x.HasLeadership())
			})
		})
	}
}

// After Close no timer of an outage and no goroutine is left.
func TestAnOutageEndsWithItsClient(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		said, log := listen(slog.LevelWarn)
		a := s.client("a", election.WithDialer(p.Dial), election.WithClientLogger(log))
		s.start(a)
		p.pull()
		time.Sleep(4 * timeout)
		assert.NotEmpty(s, said.take())
		before := s.goroutines()
		require.NoError(s, ignoring(a.Close(), election.ErrDisconnected))
		synctest.Wait()
		assert.Less(s, s.goroutines(), before)
		time.Sleep(time.Hour)
		assert.Empty(s, said.take())
	})
}

func ignoring(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// swallow loses every reply to op until the returned function is called.
func (s story) swallow(ops ...jute.Op) (stop func()) {
	return s.e.OnReply(func(r zksim.Reply) bool {
		for _, op := range ops {
			if r.Op == op {
				return true
			}
		}
		return false
	})
}

// The candidate is connected and has no znode: it has lost its permission on the path.
func TestACandidateThatCannotStandAgainIsTold(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelInfo)
		require.NoError(s, s.e.Create(job, nil)) // a container would be removed and made again with another ACL
		x := s.start(s.client("a"), election.WithLogger(log))
		operator := s.operator()
		time.Sleep(time.Minute)
		said.take()
		_, err := operator.SetACL(job, zk.WorldACL(zk.PermRead|zk.PermAdmin), -1)
		require.NoError(s, err)
		require.NoError(s, s.e.Delete(x.Status().Znode))
		time.Sleep(8 * timeout)
		var overdue []heard
		for _, l := range said.take() {
			if l.level == slog.LevelWarn && l.what != "will try again" {
				overdue = append(overdue, l)
			}
		}
		require.Len(s, overdue, len(firstThree), "%v", overdue)
		warnings(s, overdue, overdue[0].at-timeout, "still has no znode", zk.ErrNoAuth.Error(), firstThree...)
		require.Equal(s, job, overdue[0].with["election"])

		_, err = operator.SetACL(job, zk.WorldACL(zk.PermAll), -1)
		require.NoError(s, err)
		time.Sleep(time.Minute)
		assert.True(s, x.HasLeadership())
		var on []heard
		for _, l := range said.take() {
			if l.what == "the candidate goes on" {
				on = append(on, l)
			}
		}
		require.Len(s, on, 1)
		assert.Greater(s, on[0].with["after"], 8*timeout)
	})
}

// operator returns a connection that is none of the clients'.
func (s story) operator() *zk.Conn {
	conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
		zk.WithDialer(s.e.DialerFor("operator")), zk.WithLogInfo(false), zk.WithLogger(mute{}),
		zk.WithHostProvider(new(asGiven)))
	require.NoError(s, err)
	s.Cleanup(conn.Close)
	time.Sleep(time.Second)
	return conn
}

func TestALeaseThatCannotBeProvedIsTold(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelInfo)
		a := s.client("a", election.WithClientLogger(log))
		x := s.start(a)
		time.Sleep(time.Minute)
		said.take()
		operator := s.operator()
		_, err := operator.SetACL(x.Status().Znode, zk.WorldACL(zk.PermAll&^zk.PermRead), -1)
		require.NoError(s, err)
		time.Sleep(8 * timeout)
		assert.False(s, x.HasLeadership())
		var overdue []heard
		for _, l := range said.take() {
			if l.level == slog.LevelWarn && l.what != "will try again" {
				overdue = append(overdue, l)
			}
		}
		require.Len(s, overdue, len(firstThree), "%v", overdue)
		warnings(s, overdue, overdue[0].at-timeout, "cannot prove its lease", zk.ErrNoAuth.Error(), firstThree...)
		_, err = operator.SetACL(x.Status().Znode, zk.WorldACL(zk.PermAll), -1)
		require.NoError(s, err)
		time.Sleep(2 * time.Minute)
		assert.True(s, x.HasLeadership(), x.Status().String())
	})
}

// The same for other reasons that hold an election up: work that does not return, a
// health check that does not pass.
func TestWorkAndHealthThatHoldTheLineUpAreTold(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelWarn)
		end := make(chan struct{})
		x := s.candidate(s.client("a"), election.WithLogger(log))
		go x.Run(s.Context(), func(context.Context, *election.Term) error { <-end; return nil })
		y := s.candidate(s.client("b"), election.WithLogger(log),
			election.WithHealthCheck(time.Second, func(context.Context) error { return errors.New("disk full") }))
		time.Sleep(time.Minute)
		require.True(s, x.HasLeadership())
		assert.Empty(s, said.take())
		require.NoError(s, s.e.Delete(x.Status().Znode))
		deleted := time.Since(said.began)
		time.Sleep(8 * timeout)
		warnings(s, said.take(), deleted, "its work still runs", election.ErrNodeDeleted.Error(), firstThree...)
		close(end)
		time.Sleep(time.Hour)
		assert.Empty(s, said.take())

		ctx, cancel := context.WithTimeout(s.Context(), 8*timeout)
		defer cancel()
		began := time.Since(said.began)
		require.ErrorIs(s, y.Start(ctx), context.DeadlineExceeded)
		warnings(s, said.take(), began, "its health check fails", "disk full", firstThree...)
		time.Sleep(time.Hour)
		assert.Empty(s, said.take())
	})
}

// During an outage the client logs, and its candidates do not.
func TestAnOutageIsToldOnceForAllCandidates(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		said, log := listen(slog.LevelWarn)
		a := s.client("a", election.WithDialer(p.Dial), election.WithClientLogger(log))
		for i := range 20 {
			x, err := election.NewCandidate(a, fmt.Sprintf("/job%d", i))
			require.NoError(s, err)
			require.NoError(s, x.Start(s.Context()))
		}
		time.Sleep(time.Minute)
		assert.Empty(s, said.take())
		p.pull()
		time.Sleep(8 * timeout)
		assert.Len(s, said.take(), len(firstThree))
		p.putBack()
		time.Sleep(time.Minute)
		assert.Empty(s, said.take())
	})
}

// Handshakes succeed, so no outage lasts, but the requests break the connection each
// time.
func TestConnectionsThatBreakAtEveryRequestAreTold(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelWarn)
		a := s.client("a", election.WithClientLogger(log))
		x := s.candidate(a)
		stop := s.swallow(jute.OpCreate, jute.OpMulti, jute.OpGetChildren)
		ctx, cancel := context.WithTimeout(s.Context(), 8*timeout)
		defer cancel()
		require.Error(s, x.Start(ctx))
		told := map[string]int{}
		for _, l := range said.take() {
			told[l.what]++
		}
		assert.Equal(s, 2, told["the candidate still has no znode"], "%v", told)
		assert.Positive(s, told["zookeeper connection flaps: it is made and lost again; quiet until it lasts"], "%v",
			told)
		stop()
	})
}

func TestAnExpiryIsLoggedOnce(t *testing.T) {
	tell(t, func(s story) {
		said, log := listen(slog.LevelInfo)
		x := s.start(s.client("a", election.WithClientLogger(log)))
		for range 3 {
			time.Sleep(time.Minute)
			require.True(s, s.e.ExpireSession(x.Status().SessionID))
			time.Sleep(time.Minute)
		}
		var times int
		for _, l := range said.take() {
			if l.what == "zookeeper session expired" {
				times++
			}
		}
		assert.Equal(s, 3, times)
	})
}

// since returns the time from the making of the handler to t.
func (e *ears) since(t time.Time) time.Duration { return t.Sub(e.began) }
