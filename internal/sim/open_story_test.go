package sim

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Stories about clients that are made while no server is there, and what they say of
// themselves.

func (s story) open(dial zk.Dialer, opts ...election.ClientOption) *election.Client {
	opts = append([]election.ClientOption{election.WithDialer(dial), election.WithClientLogger(quiet)}, opts...)
	began := time.Now()
	c, err := election.Open(s.e.ConnectString(), opts...)
	require.NoError(s, err)
	require.Zero(s, time.Since(began))
	s.closeLater(c)
	return c
}

func TestAnOpenedClientWaitsForItsFirstServer(t *testing.T) {
	for name, auth := range map[string][]election.ClientOption{
		"open": nil, "authenticated": {election.WithAuth("digest", []byte("user:password"))},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				s.e.Crash(1)
				c := s.open(s.e.DialerFor("a"), auth...)
				cand := s.candidate(c)
				for _, call := range []func(context.Context) error{
					cand.Start,
					func(ctx context.Context) error { _, err := cand.Await(ctx); return err },
					func(ctx context.Context) error { _, err := c.Leader(ctx, job); return err },
					func(ctx context.Context) error { _, err := c.Participants(ctx, job); return err },
					func(ctx context.Context) error { return c.Do(ctx, func(*zk.Conn) error { return nil }) },
				} {
					ctx, cancel := timeoutContext(30 * time.Second)
					began := time.Now()
					err := call(ctx)
					cancel()
					assert.ErrorIs(s, err, context.DeadlineExceeded)
					assert.ErrorContains(s, err, "connection refused")
					assert.LessOrEqual(s, time.Since(began), 30*time.Second+100*time.Millisecond)
				}
				for _, err := range c.Observe(s.Context(), job) {
					assert.ErrorIs(s, err, election.ErrDisconnected)
					break
				}

				done := make(chan error, 2)
				go func() {
					done <- c.Do(s.Context(), func(conn *zk.Conn) error {
						_, err := conn.Create("/own", nil, 0, zk.WorldACL(zk.PermAll))
						return err
					})
				}()
				go func() { _, err := cand.Await(s.Context()); done <- err }()
				time.Sleep(time.Minute)
				s.e.Restart(1)
				require.NoError(s, <-done)
				require.NoError(s, <-done)
				leader, err := c.Leader(s.Context(), job)
				require.NoError(s, err)
				assert.True(s, leader.Leader)
			})
		})
	}
}

func TestAnOpenedClientThatNeverMetAServerIsClosedAtOnce(t *testing.T) {
	tell(t, func(s story) {
		s.e.Crash(1)
		c := s.open(s.e.DialerFor("a"), election.WithAuth("digest", []byte("user:password")))
		cand := s.candidate(c)
		started := make(chan error, 2)
		go func() { started <- cand.Start(s.Context()) }()
		go func() { started <- c.Do(s.Context(), func(*zk.Conn) error { return nil }) }()
		time.Sleep(time.Minute)
		began := time.Now()
		_ = c.Close()
		assert.LessOrEqual(s, time.Since(began), time.Second)
		assert.ErrorIs(s, <-started, election.ErrClosed)
		assert.ErrorIs(s, <-started, election.ErrClosed)
		assert.ErrorIs(s, cand.Start(s.Context()), election.ErrClosed)
	}) // the bubble does not end while a goroutine lasts
}

func TestOpenNamesAllMistakesAtOnce(t *testing.T) {
	_, err := election.Open("host:port/app/", election.WithSessionTimeout(0), nil)
	for _, word := range []string{"Open", `unknown port "port"`, `chroot "/app/"`, "WithSessionTimeout", "option 1 is nil"} {
		assert.ErrorContains(t, err, word)
	}
}

func TestRefusedCredentialsOfAnOpenedClientAreToldToEachCall(t *testing.T) {
	tell(t, func(s story) {
		c := s.open(s.e.DialerFor("a"), election.WithAuth("unknown", []byte("x")))
		cand := s.candidate(c)
		_, leader := c.Leader(s.Context(), job)
		for _, err := range []error{cand.Start(s.Context()), leader, c.Do(s.Context(), func(*zk.Conn) error { return nil })} {
			assert.ErrorIs(s, err, zk.ErrAuthFailed)
		}
		assert.Contains(s, c.Status().LastError, zk.ErrAuthFailed.Error())
	})
}

func TestStatusOfAClient(t *testing.T) {
	tell(t, func(s story) {
		s.e.Crash(1)
		made := time.Now()
		c := s.open(s.e.DialerFor("a"))
		time.Sleep(time.Minute)
		st := c.Status()
		assert.False(s, st.Connected)
		assert.Zero(s, st.SessionID)
		assert.Zero(s, st.Timeout)
		assert.Empty(s, st.Server)
		assert.NotEmpty(s, st.LastError)
		assert.Equal(s, made, st.Since)
		assert.Contains(s, st.String(), "not connected to ZooKeeper since 2000-01-01T")
		assert.Contains(s, st.String(), "last error: ")

		s.e.Restart(1)
		require.NoError(s, s.candidate(c).Start(s.Context()))
		up := time.Now()
		time.Sleep(time.Minute)
		st = c.Status()
		assert.True(s, st.Connected)
		assert.NotZero(s, st.SessionID)
		assert.Equal(s, 10*time.Second, st.Timeout)
		assert.Equal(s, s.e.ConnectString(), st.Server)
		assert.WithinDuration(s, up, st.Since, time.Second)
		assert.Empty(s, st.LastError)
		assert.Equal(s, 1, st.Candidates)
		assert.Positive(s, st.ZnodeBytes)
		assert.Equal(s, 512<<10, st.MaxBytes)
		text, err := json.Marshal(st)
		require.NoError(s, err)
		var back election.ClientStatus
		require.NoError(s, json.Unmarshal(text, &back))
		st.SessionID = 0
		assert.Equal(s, st.String(), back.String())
		assert.Contains(s, st.String(), "connected to "+s.e.ConnectString()+" since ")
		assert.Contains(s, st.String(), "1 candidates, ")

		assert.True(s, new(election.Client).Status().Closed)
		require.NoError(s, c.Close())
		st = c.Status()
		assert.True(s, st.Closed)
		assert.False(s, st.Connected)
		assert.Contains(s, st.String(), "closed since ")
	})
}

func TestStatusOfALostConnectionSaysWhy(t *testing.T) {
	tell(t, func(s story) {
		p := &plug{dial: s.e.DialerFor("a")}
		for name, c := range map[string]*election.Client{"own": s.client("a", election.WithDialer(p.Dial)), "adopted": s.adopt(p.Dial)} {
			require.NoError(s, c.Do(s.Context(), func(*zk.Conn) error { return nil }))
			assert.Equal(s, s.e.ConnectString(), c.Status().Server, name)
			id := c.Status().SessionID
			p.pull()
			lost := time.Now()
			time.Sleep(time.Second)
			st := c.Status()
			assert.False(s, st.Connected, name)
			assert.Equal(s, id, st.SessionID, "the session lasts")
			assert.WithinDuration(s, lost, st.Since, 100*time.Millisecond, name)
			assert.Empty(s, st.Server, name)
			if name == "own" {
				assert.Contains(s, st.LastError, "unplugged")
			}
			p.putBack()
			time.Sleep(5 * time.Second)
		}
	})
}

// The provider is the user's code, and Open reports what it says.
func TestOpenReturnsTheErrorOfAHostProvider(t *testing.T) {
	_, err := election.Open("host", election.WithHostProvider(lost{}), election.WithClientLogger(quiet))
	assert.ErrorIs(t, err, errLost)
}

var errLost = errors.New("no such name")

type lost struct{ *asGiven }

func (lost) Init([]string) error { return errLost }
