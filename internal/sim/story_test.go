package sim

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"runtime"
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
	"github.com/zkelection/election/internal/zksim"
)

// Single stories, told in virtual time: what chance plays too rarely, and what takes an exact moment.

// story is an ensemble of one server, and its clients.
type story struct {
	*testing.T
	e *zksim.Ensemble
}

const job = "/job"

// tell runs one story in a bubble of its own.
func tell(t *testing.T, f func(s story)) {
	synctest.Test(t, func(t *testing.T) {
		s := story{t, zksim.New(zksim.Config{})}
		defer s.e.Close()
		f(s)
	})
}

func (s story) client(name string, opts ...election.ClientOption) *election.Client {
	opts = append([]election.ClientOption{election.WithDialer(s.e.DialerFor(name)), election.WithClientLogger(quiet)}, opts...)
	c, err := election.Connect(s.Context(), s.e.ConnectString(), opts...)
	require.NoError(s, err)
	s.closeLater(c)
	return c
}

// closeLater closes a client before the bubble ends, which t.Cleanup would not.
func (s story) closeLater(c *election.Client) { s.Cleanup(func() { _ = c.Close() }) }

func (s story) candidate(c *election.Client, opts ...election.Option) *election.Candidate {
	cand, err := election.NewCandidate(c, job, opts...)
	require.NoError(s, err)
	return cand
}

func (s story) start(c *election.Client, opts ...election.Option) *election.Candidate {
	cand := s.candidate(c, opts...)
	require.NoError(s, cand.Start(s.Context()))
	return cand
}

// adopt returns a client on a connection of the caller's own.
func (s story) adopt(dial zk.Dialer, opts ...election.ClientOption) *election.Client {
	conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
		zk.WithDialer(dial), zk.WithLogInfo(false), zk.WithLogger(mute{}), zk.WithHostProvider(new(asGiven)))
	require.NoError(s, err)
	s.Cleanup(conn.Close)
	opts = append([]election.ClientOption{election.WithClientLogger(quiet)}, opts...)
	c, err := election.NewClient(conn, 10*time.Second, opts...)
	require.NoError(s, err)
	s.closeLater(c)
	return c
}

type mute struct{}

func (mute) Printf(string, ...any) {}

// asGiven is a host provider that looks nothing up.
type asGiven struct {
	all  []string
	init time.Duration // how long Init takes
}

func (p *asGiven) Init(all []string) error { time.Sleep(p.init); p.all = all; return nil }
func (p *asGiven) Len() int                { return len(p.all) }
func (p *asGiven) Next() (string, bool)    { return p.all[0], true }
func (p *asGiven) Connected()              {}

// plug is a dialer whose connections can be broken, and made again.
type plug struct {
	dial zk.Dialer

	mu    sync.Mutex
	out   bool
	conns []net.Conn
}

func (p *plug) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return nil, errors.New("unplugged")
	}
	conn, err := p.dial(network, address, timeout)
	if err == nil {
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

func (p *plug) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = true
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *plug) putBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = false
}

// Names without a UUID begin anew when the path is: the old leader's name is then another's.
func TestTheNameOfALeaderComesToBeAnothers(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		recipe := election.WithNaming(election.ZooKeeperRecipe)
		x := s.candidate(s.client("a", election.WithDialer(p.Dial)), recipe)
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		p.pull()
		require.NoError(s, s.e.DeleteTree(job))
		y := s.start(s.client("b"), recipe)
		require.Equal(s, x.Status().Znode, y.Status().Znode, "the story is about one name borne by two")
		p.putBack()

		time.Sleep(10 * time.Second)
		require.ErrorIs(s, term.Err(), election.ErrNodeDeleted)
		_, err = term.Guard(s.Context())
		require.ErrorIs(s, err, election.ErrTermOver)
		assert.True(s, y.HasLeadership())
		assert.Equal(s, 2, x.Status().Place)
		assert.Len(s, s.e.Children(job), 2)
	})
}

// A counter that is full stays at 2^31-1 (zksim's conformance table has it from the original): all who come then bear one
// number, and the order of their transactions is the order of the line.
func TestWhoComesWhenTheCounterIsFullGoesBehind(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		s.e.SetCversion(job, math.MaxInt32)
		var all []*election.Candidate
		for range 8 {
			all = append(all, s.start(s.client("a")))
			synctest.Wait()
		}
		observer := s.client("observer")
		for i, cand := range all {
			time.Sleep(10 * time.Second)
			for k, other := range all[i:] {
				assert.Equal(s, k == 0, other.HasLeadership(), "number %d in line", k+1)
			}
			line, err := observer.Participants(s.Context(), job)
			require.NoError(s, err)
			require.Len(s, line, len(all)-i)
			assert.Equal(s, cand.Status().ID, line[0].ID)
			require.NoError(s, cand.Close())
		}
	})
}

func TestANameThatIsTakenIsAnErrorThatSaysWhy(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		s.e.SetCversion(job, math.MaxInt32)
		recipe := election.WithNaming(election.ZooKeeperRecipe)
		s.start(s.client("a"), recipe)
		err := s.candidate(s.client("b"), recipe).Start(s.Context())
		require.ErrorIs(s, err, zk.ErrNodeExists)
		require.ErrorContains(s, err, "counter is full")
	})
}

// A client that closes has two candidates of one election, and somebody's callback takes the time that its close allows.
func TestNoTermBeginsOnAClientThatCloses(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		slowly := election.ListenerFuncs{OnNotLeader: func(*election.Term) { time.Sleep(50 * time.Millisecond) }}
		elsewhere, err := election.NewCandidate(a, "/elsewhere", election.WithListener(slowly))
		require.NoError(s, err)
		_, err = elsewhere.Await(s.Context())
		require.NoError(s, err)
		s.start(a)
		second := s.start(a, election.WithListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) { s.Error("a term began") }}))
		successor := s.start(s.client("b"), election.WithListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) {
			assert.False(s, second.HasLeadership())
		}}))
		time.Sleep(20 * time.Second)
		require.NoError(s, a.Close())
		time.Sleep(time.Second)
		assert.True(s, successor.HasLeadership())
		st := second.Status()
		assert.Empty(s, st.Znode)
		assert.Zero(s, st.LeaseEnd)
		assert.False(s, st.Connected)
		assert.Equal(s, election.StateClosed, st.State)
	})
}

// On a caller's connection the session goes on, so Close itself takes the znode away: as it would go with the session.
func TestCloseLeavesNoZnodeOnACallersConnection(t *testing.T) {
	tell(t, func(s story) {
		a := s.adopt(s.e.DialerFor("a"))
		x := s.candidate(a)
		began := make(chan struct{})
		go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
			close(began)
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			return nil
		})
		<-began
		y := s.start(s.client("b"))
		require.NoError(s, a.Close())
		time.Sleep(time.Second)
		assert.True(s, y.HasLeadership())
		time.Sleep(5 * time.Second)
	})
}

func TestCloseSaysWhatItCouldNotRemoveFromACallersConnection(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		a := s.adopt(p.Dial)
		_, err := s.candidate(a).Await(s.Context())
		require.NoError(s, err)
		for range 50 {
			s.start(a)
		}
		p.pull()
		time.Sleep(time.Second)
		began := time.Now()
		require.ErrorIs(s, a.Close(), election.ErrDisconnected)
		assert.LessOrEqual(s, time.Since(began), 2*time.Second)
	})
}

// No permission to list is no permission to stand, whatever is answered first.
func TestStartWithoutPermissionToListIsNotRetried(t *testing.T) {
	tell(t, func(s story) {
		conn, _, err := zk.Connect(strings.Split(s.e.ConnectString(), ","), 10*time.Second,
			zk.WithDialer(s.e.DialerFor("operator")), zk.WithLogInfo(false), zk.WithLogger(mute{}), zk.WithHostProvider(new(asGiven)))
		require.NoError(s, err)
		defer conn.Close()
		time.Sleep(time.Second)
		_, err = conn.Create(job, nil, 0, zk.WorldACL(zk.PermAll&^zk.PermRead))
		require.NoError(s, err)
		a := s.client("a")
		for range 50 {
			err := s.candidate(a).Start(s.Context())
			require.ErrorIs(s, err, zk.ErrNoAuth)
		}
		time.Sleep(time.Second)
		assert.Empty(s, s.e.Children(job))
	})
}

// A host provider may look names up before it lets anybody dial, and takes no context.
func TestConnectObeysItsContextWhileNamesAreLookedUp(t *testing.T) {
	tell(t, func(s story) {
		ctx, cancel := context.WithTimeout(s.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(s.e.Dialer()),
			election.WithHostProvider(&asGiven{init: 2 * time.Second}), election.WithClientLogger(quiet))
		require.ErrorIs(s, err, context.DeadlineExceeded)
		assert.LessOrEqual(s, time.Since(began), 150*time.Millisecond)
		time.Sleep(10 * time.Second) // the late session is closed, or the bubble would not end
	})
}

// Work is often done in IsLeader itself, until the term is over. NotLeader comes before the successor's IsLeader then, too.
func TestAListenerAtWorkIsToldOfTheEndBeforeTheNextBegins(t *testing.T) {
	tell(t, func(s story) {
		told := make(chan string, 2)
		x := s.start(s.client("a"), election.WithListener(election.ListenerFuncs{
			OnIsLeader:  func(t *election.Term) { <-t.Done(); time.Sleep(20 * time.Millisecond) },
			OnNotLeader: func(*election.Term) { told <- "x ends" }}))
		s.start(s.client("b"), election.WithListener(election.ListenerFuncs{
			OnIsLeader: func(*election.Term) { told <- "y begins" }}))
		time.Sleep(10 * time.Second)
		require.NoError(s, x.Shutdown(s.Context()))
		assert.Equal(s, "x ends", <-told)
		assert.Equal(s, "y begins", <-told)
	})
}

// One that never returns delays the first hand-over by its grace, and the later ones not at all.
func TestAListenerThatNeverReturnsIsWaitedForOnce(t *testing.T) {
	tell(t, func(s story) {
		forever := make(chan struct{})
		defer close(forever)
		x := s.start(s.client("a"), election.WithListener(election.ListenerFuncs{OnIsLeader: func(*election.Term) { <-forever }}))
		s.start(s.client("b"))
		for _, limit := range []time.Duration{100 * time.Millisecond, 0} {
			time.Sleep(20 * time.Second)
			require.True(s, x.HasLeadership())
			began := time.Now()
			require.NoError(s, x.Resign(s.Context()))
			assert.Equal(s, limit, time.Since(began))
			s.handBack(x)
		}
	})
}

// handBack waits until x leads again: the other leaves the front for the back of the line.
func (s story) handBack(x *election.Candidate) {
	time.Sleep(10 * time.Second)
	leader, err := s.client("operator").Leader(s.Context(), job)
	require.NoError(s, err)
	require.NoError(s, s.e.Delete(leader.Path))
	_, err = x.Await(s.Context())
	require.NoError(s, err)
}

// A log handler is code of the user's: it may ask the candidate that it hears of, and metrics may close it.
func TestLogsAndMetricsMayCallTheCandidate(t *testing.T) {
	tell(t, func(s story) {
		var cand *election.Candidate
		asked := &asking{ask: func() { _ = cand.Status() }}
		a := s.client("a", election.WithClientLogger(slog.New(asked)))
		cand = s.candidate(a, election.WithMetrics(closing{&cand}))
		if err := cand.Start(s.Context()); err != nil {
			require.ErrorIs(s, err, election.ErrClosed) // as it may be by then
		}
		s.e.Crash(1) // the client logs that it is disconnected
		time.Sleep(time.Second)
		s.e.Restart(1)
		time.Sleep(20 * time.Second)
		assert.Equal(s, election.StateClosed, cand.Status().State)
		assert.Empty(s, s.e.Children(job))
	})
}

type asking struct {
	slog.Handler
	ask func()
}

func (h *asking) Enabled(context.Context, slog.Level) bool { return true }
func (h *asking) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *asking) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "disconnected") {
		h.ask()
	}
	return nil
}

type closing struct{ cand **election.Candidate }

func (m closing) TermBegan(*election.Term)                  { _ = (*m.cand).Close() }
func (closing) TermEnded(*election.Term, time.Duration)     {}
func (closing) StateChanged(election.State, election.State) {}
func (closing) Failed(error)                                {}

func TestTheLongestMaximumTermIsLong(t *testing.T) {
	tell(t, func(s story) {
		x := s.start(s.client("a"), election.WithMaxTerm(math.MaxInt64))
		s.start(s.client("b"))
		time.Sleep(time.Hour)
		assert.True(s, x.HasLeadership())
	})
}

// A maximum term is kept to a tenth, and only when somebody waits.
func TestAMaximumTermEndsWithinATenthOfIt(t *testing.T) {
	tell(t, func(s story) {
		const term = time.Hour
		x := s.start(s.client("a"), election.WithMaxTerm(term))
		began, err := x.Await(s.Context())
		require.NoError(s, err)
		time.Sleep(3 * term)
		require.True(s, x.HasLeadership(), "nobody waits")
		require.NoError(s, began.Err())

		y := s.start(s.client("b"), election.WithMaxTerm(term))
		first, err := y.Await(s.Context())
		require.NoError(s, err)
		since := time.Now()
		assert.ErrorIs(s, began.Err(), election.ErrResigned)
		<-first.Done()
		assert.GreaterOrEqual(s, time.Since(since), term*9/10)
		assert.LessOrEqual(s, time.Since(since), term*11/10)
	})
}

// Every call that waits returns within 100 ms of its context's end, also while no server answers.
func TestEveryCallEndsWithItsContext(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		leader, waiting := s.start(a), s.start(s.client("b"))
		term, err := leader.Await(s.Context())
		require.NoError(s, err)
		s.e.Freeze(1)
		idle := s.candidate(a)
		for _, call := range []struct {
			name string
			f    func(context.Context) error
		}{
			{"Guard", func(ctx context.Context) error { _, err := term.Guard(ctx); return err }},
			{"Connect", func(ctx context.Context) error {
				_, err := election.Connect(ctx, s.e.ConnectString(), election.WithDialer(s.e.Dialer()), election.WithClientLogger(quiet))
				return err
			}},
			{"Start", idle.Start},
			{"Await", func(ctx context.Context) error { _, err := waiting.Await(ctx); return err }},
			{"Run", func(ctx context.Context) error {
				return waiting.Run(ctx, func(context.Context, *election.Term) error { return nil })
			}},
			{"Leader", func(ctx context.Context) error { _, err := a.Leader(ctx, job); return err }},
			{"Participants", func(ctx context.Context) error { _, err := a.Participants(ctx, job); return err }},
			{"Resign", leader.Resign},
			{"Shutdown", leader.Shutdown},
		} {
			ctx, cancel := context.WithTimeout(s.Context(), 200*time.Millisecond)
			began := time.Now()
			assert.ErrorIs(s, call.f(ctx), context.DeadlineExceeded, call.name)
			assert.LessOrEqual(s, time.Since(began), 300*time.Millisecond, call.name)
			cancel()
		}
		s.e.Thaw(1)
		time.Sleep(time.Minute)
	})
}

func TestAMissingContextIsAnErrorThatNamesIt(t *testing.T) {
	tell(t, func(s story) {
		var none context.Context
		a := s.client("a")
		cand := s.candidate(a)
		term, err := cand.Await(s.Context())
		require.NoError(s, err)
		_, connect := election.Connect(none, s.e.ConnectString())
		_, leader := a.Leader(none, job)
		_, participants := a.Participants(none, job)
		_, await := cand.Await(none)
		_, guard := term.Guard(none)
		all := []error{connect, leader, participants, await, guard, cand.Start(none), cand.Resign(none), cand.Shutdown(none),
			cand.Run(none, func(context.Context, *election.Term) error { return nil })}
		for _, observed := range a.Observe(none, job) {
			all = append(all, observed)
		}
		require.Len(s, all, 10)
		for _, err := range all {
			assert.ErrorContains(s, err, "ctx is nil")
		}
		assert.True(s, cand.HasLeadership())
		_, err = election.NewCandidate(new(election.Client), job)
		assert.ErrorContains(s, err, "client")
	})
}

// A candidate that has stood before and has no znode now is one that Start waits for, like any other.
func TestStartWaitsForAZnodeThatIsThereNow(t *testing.T) {
	for name, lose := range map[string]func(s story, x *election.Candidate, sick *atomic.Bool){
		"its health check fails": func(s story, x *election.Candidate, sick *atomic.Bool) {
			sick.Store(true)
			time.AfterFunc(time.Minute, func() { sick.Store(false) })
		},
		"its work still runs": func(s story, x *election.Candidate, _ *atomic.Bool) {
			go x.Run(s.Context(), func(ctx context.Context, _ *election.Term) error {
				<-ctx.Done()
				time.Sleep(time.Minute)
				return nil
			})
			synctest.Wait()
			require.NoError(s, s.e.Delete(x.Status().Znode))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				var sick atomic.Bool
				x := s.start(s.client("a"), election.WithHealthCheck(time.Second, func(context.Context) error {
					if sick.Load() {
						return errors.New("sick")
					}
					return nil
				}))
				lose(s, x, &sick)
				time.Sleep(5 * time.Second)
				require.Empty(s, s.e.Children(job))
				ctx, cancel := timeoutContext(10 * time.Second)
				defer cancel()
				require.ErrorIs(s, x.Start(ctx), context.DeadlineExceeded)
				require.NoError(s, x.Start(s.Context()))
				require.Len(s, s.e.Children(job), 1)
				leave(s, x)
			})
		})
	}
}

// The driver forgets a credential that it could not present at once, and what a candidate makes before is refused.
func TestStartWaitsForTheCredentialsOfACallersConnection(t *testing.T) {
	credential := election.WithAuth("digest", []byte("user:word"))
	for range 20 {
		tell(t, func(s story) {
			line := &plug{dial: s.e.Dialer(), out: true}
			late := s.adopt(line.Dial, credential)
			time.AfterFunc(5*time.Second, line.putBack)
			require.NoError(s, s.candidate(late).Start(s.Context()))
			require.NoError(s, s.candidate(s.adopt(s.e.Dialer(), credential)).Start(s.Context()))

			line.pull()
			stuck := s.adopt(line.Dial, credential)
			x := s.candidate(stuck)
			time.AfterFunc(time.Second, func() { _ = x.Close() })
			require.ErrorIs(s, x.Start(s.Context()), election.ErrClosed)
			y := s.candidate(stuck)
			ctx, cancel := timeoutContext(time.Second)
			defer cancel()
			require.ErrorIs(s, y.Start(ctx), context.DeadlineExceeded)
			time.AfterFunc(time.Second, func() { _ = stuck.Close() })
			require.ErrorIs(s, y.Start(s.Context()), election.ErrClosed)
		})
	}
}

func TestStartSaysThatTheCredentialsOfACallersConnectionAreRefused(t *testing.T) {
	tell(t, func(s story) {
		c := s.adopt(s.e.Dialer(), election.WithAuth("nosuch", []byte("word")))
		ctx, cancel := timeoutContext(time.Minute)
		defer cancel()
		err := s.candidate(c).Start(ctx)
		require.ErrorIs(s, err, zk.ErrAuthFailed)
		require.ErrorContains(s, err, `scheme "nosuch"`)
	})
}

func TestWhatIsWrongNowIsSaidInOneLine(t *testing.T) {
	tell(t, func(s story) {
		refused := &plug{dial: s.e.DialerFor("a"), out: true}
		time.AfterFunc(time.Second, refused.putBack)
		a := s.client("a", election.WithDialer(refused.Dial))
		sick := errors.Join(errors.New("no disk"), errors.New("no memory"))
		x := s.candidate(a, election.WithID("x\n\x1b[2J"), election.WithHealthCheck(time.Minute, func(context.Context) error { return sick }))
		ctx, cancel := timeoutContext(time.Second)
		defer cancel()
		err := x.Start(ctx)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		require.ErrorIs(s, err, election.ErrUnhealthy)
		go x.Start(s.Context()) // until its client is closed
		synctest.Wait()
		require.Equal(s, "x  [2J at /job: does not lead: its health check fails; last error: election: unhealthy: no disk no memory",
			x.Status().String())

		y := s.start(s.client("b"), election.WithID("y\ny"))
		z := s.start(a)
		synctest.Wait()
		require.Contains(s, z.Status().String(), "behind y y (/job/")
		require.Contains(s, z.Status().Ahead.String(), "y y (/job/")
		require.Contains(s, y.Term().String(), "term of y y at /job, token ")
		require.NoError(s, y.Close())

		time.Sleep(time.Hour)
		s.e.Cut("a", zksim.ServerName(1))
		for z.Status().Connected {
			time.Sleep(time.Millisecond)
		}
		require.NotContains(s, z.Status().LastError, "unplugged", "an hour ago")
	})
}

func TestStartWithoutAServerSaysSo(t *testing.T) {
	tell(t, func(s story) {
		x := s.candidate(s.adopt((&plug{out: true}).Dial))
		ctx, cancel := timeoutContext(5 * time.Second)
		defer cancel()
		err := x.Start(ctx)
		require.ErrorIs(s, err, context.DeadlineExceeded)
		require.ErrorIs(s, err, election.ErrDisconnected)
	})
}

func TestGuardWithAContextThatHasEndedSendsNothing(t *testing.T) {
	tell(t, func(s story) {
		term, err := s.candidate(s.client("a")).Await(s.Context())
		require.NoError(s, err)
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		_, err = term.Guard(ctx, &zk.CreateRequest{Path: "/made", Acl: zk.WorldACL(zk.PermAll)})
		require.ErrorIs(s, err, context.Canceled)
		require.ErrorContains(s, err, "nothing was sent")
		time.Sleep(time.Second)
		_, made := s.e.Get("/made")
		require.False(s, made)
	})
}

// A test's FailNow ends the goroutine that it is called on; so may anybody's callback.
func TestACallbackThatEndsItsGoroutineIsCalledAgain(t *testing.T) {
	tell(t, func(s story) {
		var told []string
		leave := func(what string) func(*election.Term) {
			return func(*election.Term) { told = append(told, what); runtime.Goexit() }
		}
		m := &leaving{}
		x := s.start(s.client("a"), election.WithMetrics(m),
			election.WithListener(election.ListenerFuncs{OnIsLeader: leave("leads"), OnNotLeader: leave("leads no more")}))
		for range 2 {
			synctest.Wait()
			require.NoError(s, x.Resign(s.Context()))
		}
		synctest.Wait()
		assert.Equal(s, []string{"leads", "leads no more", "leads", "leads no more", "leads"}, told)
		assert.Equal(s, 3, m.terms)
	})
}

type leaving struct {
	closing
	terms int
}

func (m *leaving) TermBegan(*election.Term) { m.terms++; runtime.Goexit() }

func TestResignOutOfWorkWithinOtherWork(t *testing.T) {
	tell(t, func(s story) {
		c := s.client("a")
		outer := s.candidate(c)
		inner, err := election.NewCandidate(c, "/another")
		require.NoError(s, err)
		ctx, cancel := context.WithCancel(s.Context())
		require.ErrorIs(s, outer.Run(ctx, func(ctx context.Context, _ *election.Term) error {
			return inner.Run(ctx, func(ctx context.Context, t *election.Term) error {
				defer cancel()
				assert.NoError(s, outer.Resign(ctx))
				assert.ErrorIs(s, ctx.Err(), context.Canceled)
				return nil
			})
		}), context.Canceled)
	})
}
