package session

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// attempts records when each dial began.
type attempts struct {
	dial zk.Dialer

	mu sync.Mutex
	at []time.Time
}

func (a *attempts) dialer(context.Context) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		a.mu.Lock()
		a.at = append(a.at, time.Now())
		a.mu.Unlock()
		return a.dial(network, address, timeout)
	}
}

// during counts the attempts within the next d.
func (a *attempts) during(d time.Duration) int {
	a.mu.Lock()
	before := len(a.at)
	a.mu.Unlock()
	time.Sleep(d)
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at) - before
}

func refusedAt(network, _ string, _ time.Duration) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
}

// flapper returns a dialer to a server that greets with the session id, or with 0, and
// then calls talk.
func flapper(id int64, talk func(c net.Conn)) zk.Dialer {
	return func(string, string, time.Duration) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if _, err := readFrame(theirs); err != nil {
				return
			}
			theirs.Write(granting(4*time.Second, id))
			talk(theirs)
		}()
		return mine, nil
	}
}

// refusing answers the first request, a ping or the credentials, with an error and hangs
// up. ZooKeeperServer does that to clients without SASL if it requires SASL.
func refusing(c net.Conn) {
	b, err := readFrame(c)
	if err != nil {
		return
	}
	xid, _ := headerOf(b)
	c.Write(answering(xid, jute.CodeRequiresSASL))
}

// busy keeps sending requests, as candidates do.
func busy(s *Session) {
	for !s.Closed() {
		_, _ = Call(context.Background(), s, func() (bool, error) {
			found, _, err := s.Conn().Exists("/x")
			return found, err
		})
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAttemptsAreFew(t *testing.T) {
	for what, c := range map[string]struct {
		dial    zk.Dialer
		servers []string
		most    int // in 100 s
		least   int
	}{
		"one that refuses":           {refusedAt, []string{"a:1"}, 100, 60},
		"three that refuse":          {refusedAt, []string{"a:1", "b:1", "c:1"}, 150, 80},
		"five that refuse":           {refusedAt, []string{"a:1", "b:1", "c:1", "d:1", "e:1"}, 200, 80},
		"one that wants SASL":        {flapper(7, refusing), []string{"a:1"}, 100, 60},
		"three that want SASL":       {flapper(7, refusing), []string{"a:1", "b:1", "c:1"}, 100, 60},
		"greets and is gone":         {flapper(7, func(net.Conn) {}), []string{"a:1"}, 100, 60},
		"knows no session ever":      {flapper(0, func(net.Conn) {}), []string{"a:1"}, 200, 60},
		"three that know no session": {flapper(0, func(net.Conn) {}), []string{"a:1", "b:1", "c:1"}, 200, 60},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a := &attempts{dial: c.dial}
				s := dial(t, Config{Servers: c.servers, Timeout: 4 * time.Second, Dialer: a.dialer})
				defer s.Close()
				s.loops.Go(func() { busy(s) })
				require.LessOrEqual(t, a.during(2*time.Second), len(c.servers)*2+hasty+2, "the first ones")
				n := a.during(100 * time.Second)
				require.LessOrEqual(t, n, c.most)
				require.GreaterOrEqual(t, n, c.least)
			})
		})
	}
}

// A hundred clients lose their servers at the same moment.
func TestClientsDoNotKeepStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := &attempts{dial: refusedAt}
		for range 100 {
			s := dial(t, Config{Servers: []string{"a:1"}, Dialer: a.dialer})
			defer s.Close()
			time.Sleep(time.Nanosecond)
		}
		synctest.Wait()
		a.mu.Lock()
		require.Len(t, a.at, 100, "the first attempt waits for nothing")
		a.mu.Unlock()
		time.Sleep(10 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		perTenth := map[time.Duration]int{}
		for _, at := range a.at[100:] {
			perTenth[at.Sub(a.at[0])/(100*time.Millisecond)]++
		}
		for tenth, n := range perTenth {
			require.Less(t, n, 50, "attempts in a tenth of a second, %v after the first", tenth*100*time.Millisecond)
		}
	})
}

// The ensemble is down for a while, the session ends, and then all servers are back.
func TestAnExpiredSessionIsReplacedWithoutAPauseAfterAnOutage(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T) {
			e := zksim.New(zksim.Config{Tick: 500 * time.Millisecond})
			defer e.Close()
			a := &attempts{dial: e.Dialer()}
			s := dial(t, Config{Servers: []string{"zk1:2181"}, Timeout: 2 * time.Second, Dialer: a.dialer})
			defer s.Close()
			upWithin(t, s, time.Second)
			id := s.Status().ID
			e.Cut("client", "zk1")
			time.Sleep(20 * time.Second)
			require.False(t, s.Status().Connected)
			require.Empty(t, e.Sessions())
			e.Heal("client", "zk1")
			time.Sleep(driverPause + afterPause)
			synctest.Wait()
			require.True(t, s.Status().Connected)
			require.NotEqual(t, id, s.Status().ID)
		})
	}
}

func TestAPauseEndsWithTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPaced(seeded(), ctx, func() int { return 1 })
		p.notBefore = time.Now().Add(time.Hour)
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		p.wait()
		require.Equal(t, time.Second, time.Since(began))
		_, retryStart := p.Next()
		require.True(t, retryStart, "the driver looks for its end in its own pause")
	})
}

func seeded() *hosts {
	h := new(hosts)
	_ = h.Init([]string{"a:1"})
	return h
}
