package session

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// forgetful is a server for one client. While serving is false it hangs up on every
// connection. refuses reports whether it refuses a session that it is asked to resume.
type forgetful struct {
	requests
	timeout time.Duration

	mu      sync.Mutex
	serving bool
	refuses func() bool
	made    int64
	ended   []int64 // the sessions that a client asked to end
}

func (f *forgetful) set(serving bool, refuses func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serving, f.refuses = serving, refuses
}

func (f *forgetful) take(request []byte) (id int64, ok bool) {
	f.add(request)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch id = sessionOf(request); {
	case !f.serving:
		return 0, false
	case id == 0:
		f.made++
		return f.made, true
	}
	return id, !f.refuses()
}

func (f *forgetful) talk(c net.Conn, request []byte) {
	id, ok := f.take(request)
	if !ok {
		return
	}
	c.Write(granting(f.timeout, id))
	answer(c, func(xid int32, op jute.Op) []byte {
		if op == jute.OpCloseSession {
			f.mu.Lock()
			f.ended = append(f.ended, id)
			f.mu.Unlock()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.serving {
			return nil
		}
		return answering(xid, 0)
	})
}

func never() bool  { return false }
func always() bool { return true }

// forgotten runs a test with a client whose server was away for a minute.
func forgotten(t *testing.T, timeout time.Duration, tell func(t *testing.T, f *forgetful, s *Session)) {
	bubble(t, func(t *testing.T) {
		f := &forgetful{timeout: timeout, serving: true, refuses: never}
		s := dial(t, Config{Servers: []string{"a:1"}, Timeout: timeout, Dialer: dialing(pipes(f.talk))})
		defer s.Close()
		upWithin(t, s, time.Second)
		require.EqualValues(t, 1, s.Status().ID)
		f.set(false, nil)
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, s.Status().ID, "a server that does not serve ends no session")
		tell(t, f, s)
	})
}

func TestASessionThatAServingServerRefusesIsGivenUp(t *testing.T) {
	forgotten(t, 4*time.Second, func(t *testing.T, f *forgetful, s *Session) {
		var states []Status
		defer s.Subscribe(func(st Status) { states = append(states, st) })()
		f.set(true, always)
		upWithin(t, s, 2*time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, s.Status().ID)
		require.Equal(t, []int64{2}, f.ended, "the session that was asked for to find out")
		require.ErrorContains(t, states[1].GivenUp, "lost its data")
		require.NoError(t, s.Status().GivenUp)
		last := f.all[len(f.all)-1]
		require.Equal(t, make([]byte, 8), last[requestZxid-4:requestTimeout-4], "it has seen nothing")
	})
}

// The server may have started to serve after it hung up, or it was a lagging follower
// that has caught up since.
func TestASessionThatTheServerTakesOnAfterAllIsKept(t *testing.T) {
	for late := range 3 {
		forgotten(t, 4*time.Second, func(t *testing.T, f *forgetful, s *Session) {
			left := 1 + late
			f.set(true, func() bool { left--; return left >= 0 })
			upWithin(t, s, 3*time.Second)
			require.EqualValues(t, 1, s.Status().ID, "refused %d times", 1+late)
		})
	}
}

func TestCloseWaitsForNoQuestionToAServer(t *testing.T) {
	forgotten(t, 40*time.Second, func(t *testing.T, f *forgetful, s *Session) {
		stuck := make(chan struct{})
		defer close(stuck)
		asked := false
		f.set(true, func() bool {
			if f.made > 1 { // it was asked for a new session, and is asked for the old one again now
				asked = true
				<-stuck
			}
			return true
		})
		time.Sleep(driverPause + afterPause + slack)
		synctest.Wait()
		require.True(t, asked)
		began := time.Now()
		s.Close()
		require.LessOrEqual(t, time.Since(began), driverPause)
	})
}

// An outage costs few connections, however often the driver tries.
func TestAServerThatDoesNotServeIsAskedTwiceASecondAtMost(t *testing.T) {
	forgotten(t, 4*time.Second, func(t *testing.T, f *forgetful, s *Session) {
		before := f.count()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, f.count()-before, 2*60)
		require.Empty(t, f.ended)
	})
}

// If a session's connections break before any request, no request was refused.
func TestAnIdleSessionWhoseConnectionsBreakIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &forgetful{timeout: 4 * time.Second, serving: true, refuses: never}
		server := pipes(func(c net.Conn, request []byte) {
			id, _ := f.take(request)
			c.Write(granting(f.timeout, id))
		})
		s := dial(t, Config{Servers: []string{"a:1"}, Timeout: f.timeout, Dialer: dialing(server)})
		defer s.Close()
		time.Sleep(time.Minute)
		require.Greater(t, f.count(), 10)
		require.EqualValues(t, 1, s.Status().ID)
	})
}

// If a server greets and then falls silent, this side moves on to the next one, as it
// does when the network is cut. Only a server that closes the connection refuses the
// session.
func TestOnlyServersThatCloseTheConnectionEndASession(t *testing.T) {
	for name, silent := range map[string]bool{"silent": true, "closing": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := &forgetful{timeout: 4 * time.Second, serving: true, refuses: never}
				server := pipes(func(c net.Conn, request []byte) {
					id, _ := f.take(request)
					c.Write(granting(f.timeout, id))
					b := make([]byte, 64)
					for _, err := c.Read(b); silent && err == nil; {
						_, err = c.Read(b)
					}
				})
				s := dial(t, Config{Servers: []string{"a:1"}, Timeout: f.timeout, Dialer: dialing(server)})
				defer s.Close()
				for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
					s.Go(func() { _, _, _ = s.Conn().Exists("/") })
				}
				require.Equal(t, silent, s.Status().ID == 1, "session %d", s.Status().ID)
			})
		})
	}
}
