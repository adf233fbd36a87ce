package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// slowGreeters makes an ensemble whose first servers greet late.
func slowGreeters(servers, slow int, late time.Duration) (*zksim.Ensemble, []string) {
	e := zksim.New(zksim.Config{Servers: servers, Tick: 500 * time.Millisecond})
	var all []string
	for id := 1; id <= servers; id++ {
		if id <= slow {
			e.GreetSlowly(id, late, late)
		}
		all = append(all, zksim.ServerName(id)+":2181")
	}
	return e, all
}

func TestAServerThatGreetsSlowlyIsWaitedForInTheEnd(t *testing.T) {
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d servers", servers), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e, all := slowGreeters(servers, servers, 4*time.Second)
				defer e.Close()
				a := &attempts{dial: e.Dialer()}
				s := dial(t, Config{Servers: all, Timeout: 10 * time.Second, Dialer: a.dialer})
				defer s.Close()
				// A round at T/3 each, the driver's pause, and an attempt that waits long
				// enough.
				upWithin(t, s, time.Duration(servers)*10*time.Second/3+1500*time.Millisecond+4*time.Second)
				require.EqualValues(t, servers+1, e.Stats().Connections,
					"each attempt of the first round costs a session")
				time.Sleep(30 * time.Second)
				require.Len(t, e.Sessions(), 1, "they end by themselves")
				require.True(t, s.Status().Connected)
			})
		})
	}
}

func TestAnExpiredSessionIsReplacedAtAServerThatGreetsSlowly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, all := slowGreeters(1, 1, 4*time.Second)
		defer e.Close()
		a := &attempts{dial: e.Dialer()}
		s := dial(t, Config{Servers: all, Timeout: 10 * time.Second, Dialer: a.dialer})
		defer s.Close()
		upWithin(t, s, 10*time.Second)
		require.True(t, e.ExpireSession(s.Status().ID))
		synctest.Wait()
		require.Less(t, a.during(12500*time.Millisecond), 4,
			"one in vain, one that learns of the expiry, one for the new session")
		require.True(t, s.Status().Connected)
	})
}

func TestASilentServerAmongOthersCostsNoMoreThanAtFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, all := slowGreeters(3, 2, time.Hour)
		defer e.Close()
		s := dial(t, Config{Servers: all, Timeout: 10 * time.Second, Dialer: (&attempts{dial: e.Dialer()}).dialer})
		defer s.Close()
		for range 10 {
			upWithin(t, s, 7*time.Second) // 2 × T/3
			time.Sleep(2 * time.Second)
			e.ExpireSession(s.Status().ID)
			synctest.Wait()
		}
	})
}

// The faults end while the client waits for a server that never answers, as long as it
// ever waits.
func TestTheLongestWaitForAGreetingLeavesRoomForG6(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second} {
		bubble(t, func(t *testing.T) {
			st := newStreet(map[string]string{"10.0.0.1:2181": "silent"}, "10.0.0.1")
			defer st.e.Close()
			s := st.connect(t, timeout)
			defer s.Close()
			time.Sleep(20 * timeout)
			for before := st.dials(); st.dials() == before; { // right after the beginning of an attempt
				time.Sleep(time.Millisecond)
			}
			st.mu.Lock()
			st.houses["10.0.0.1:2181"] = "zk1"
			st.mu.Unlock()
			upWithin(t, s, timeout+2*time.Second-slack)
		})
	}
}

func TestAllowanceGrowsByRoundsInWhichNobodyGreeted(t *testing.T) {
	const first, most = time.Second, 6 * time.Second
	late := os.ErrDeadlineExceeded
	dialed := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	var p allowance
	round := func(errs ...error) time.Duration {
		for _, err := range errs {
			p.begin(len(errs))
			p.failed(err)
		}
		p.begin(len(errs))
		p.tried--
		return p.limit(first, most)
	}
	require.Equal(t, 1*time.Second, round(dialed, errors.New("refused"), context.Canceled))
	require.Equal(t, 2*time.Second, round(dialed, late, errors.New("refused")))
	require.Equal(t, 4*time.Second, round(late, late, late))
	require.Equal(t, most, round(late, late, late))
	p.greeted(true)
	require.Equal(t, most, p.limit(first, most), "the new session is still to come")
	p.greeted(false)
	require.Equal(t, first, p.limit(first, most))
	p.begin(2)
	p.failed(late)
	p.begin(2)
	p.greeted(false)
	p.begin(2)
	p.failed(late)
	p.begin(2)
	require.Equal(t, first, p.limit(first, most), "each round has one that greets")
	for range 1000 {
		round(late)
	}
	require.Equal(t, most, p.limit(first, most))
}
