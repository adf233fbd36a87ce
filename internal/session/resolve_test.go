package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// names is a name service.
type names struct {
	mu    sync.Mutex
	all   map[string][]string
	err   error
	takes time.Duration
	asked int
}

func (n *names) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	all, err, takes := n.all[host], n.err, n.takes
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	}
	var found []netip.Addr
	for _, a := range all {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, err
}

func (n *names) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// street is a network of addresses. Each is a server of the ensemble, or silent, or off,
// or refuses connections.
type street struct {
	e *zksim.Ensemble
	names

	mu     sync.Mutex
	houses map[string]string // "10.0.0.1:2181" → "zk1", "silent", "off"; all others refuse
	dialed []string
	last   net.Conn
}

func newStreet(houses map[string]string, all ...string) *street {
	return &street{e: zksim.New(zksim.Config{Tick: 500 * time.Millisecond}), houses: houses,
		names: names{all: map[string][]string{"zk.example": all}}}
}

func (st *street) dialer(ctx context.Context) zk.Dialer {
	b := ctx.Value(sessionKey{}).(ofSession).book
	b.resolve = st.resolve
	return b.dialer(ctx, func(network, address string, timeout time.Duration) (net.Conn, error) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.dialed = append(st.dialed, address)
		house := st.houses[address]
		st.mu.Unlock()
		defer st.mu.Lock()
		conn, err := st.visit(ctx, house, network, timeout)
		st.last = conn
		return conn, err
	})
}

func (st *street) visit(ctx context.Context, house, network string, timeout time.Duration) (net.Conn, error) {
	switch house {
	case "":
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	case "off":
		select {
		case <-time.After(timeout):
		case <-ctx.Done():
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("i/o timeout")}
	case "silent":
		mine, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		return mine, nil
	}
	return st.e.Dialer()(network, house+":2181", timeout)
}

func (st *street) reset() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.last != nil {
		st.last.Close()
	}
}

func (st *street) dials() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.dialed)
}

// connect dials the name. Call it in a bubble.
func (st *street) connect(t *testing.T, timeout time.Duration) *Session {
	return dial(t, Config{Servers: []string{"zk.example:2181"}, Timeout: timeout, Dialer: st.dialer})
}

func TestADeadAddressOfANameDoesNotKeepUsFromTheOthers(t *testing.T) {
	for _, dead := range []string{"silent", "off", ""} {
		for _, alive := range []int{1, 2} {
			for _, timeout := range []time.Duration{2 * time.Second, 4 * time.Second, 10 * time.Second} {
				t.Run(fmt.Sprintf("%d of 3 are %q, T=%v", 3-alive, dead, timeout), func(t *testing.T) {
					for range 8 { // the order is random
						bubble(t, func(t *testing.T) { oneOfThree(t, dead, alive, timeout) })
					}
				})
			}
		}
	}
}

func oneOfThree(t *testing.T, dead string, alive int, timeout time.Duration) {
	houses := map[string]string{"10.0.0.1:2181": dead, "10.0.0.2:2181": dead, "[fd00::3]:2181": dead}
	for a := range houses {
		if alive > 0 {
			houses[a] = "zk1"
			alive--
		}
	}
	st := newStreet(houses, "10.0.0.1", "10.0.0.2", "fd00::3")
	defer st.e.Close()
	s := st.connect(t, timeout)
	defer s.Close()
	limit := timeout + 2*time.Second - slack
	upWithin(t, s, limit)
	for range 3 {
		id := s.Status().ID
		time.Sleep(2 * time.Second) // a connection that lasts
		st.reset()
		synctest.Wait()
		upWithin(t, s, limit)
		require.Equal(t, id, s.Status().ID)
		time.Sleep(2 * time.Second)
		require.True(t, st.e.ExpireSession(id))
		synctest.Wait()
		upWithin(t, s, limit)
		require.NotEqual(t, id, s.Status().ID)
	}
}

func TestEachAttemptTakesTheNextAddress(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := newStreet(nil, "10.0.0.1", "::1", "10.0.0.2")
		defer st.e.Close()
		s := st.connect(t, 2*time.Second)
		defer s.Close()
		first := map[string]bool{}
		time.Sleep(10 * time.Second)
		st.mu.Lock()
		defer st.mu.Unlock()
		require.Greater(t, len(st.dialed), 6)
		for i, a := range st.dialed {
			first[a] = true
			if i >= 3 {
				require.Equal(t, st.dialed[i-3], a, "attempt %d of %v", i, st.dialed)
			}
		}
		require.Len(t, first, 3)
		st.names.mu.Lock()
		defer st.names.mu.Unlock()
		require.InDelta(t, len(st.dialed), st.asked, 1, "look-ups")
	})
}

func TestTheFirstAddressIsLeftToChance(t *testing.T) {
	first := map[netip.Addr]bool{}
	for range 200 {
		b := newBook()
		b.resolve = (&names{all: map[string][]string{"a": {"10.0.0.1", "10.0.0.2", "::1"}}}).resolve
		a, err := b.next(t.Context(), "a")
		require.NoError(t, err)
		first[a] = true
	}
	require.Len(t, first, 3)
}

func TestAServerThatMovedIsFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := newStreet(map[string]string{"10.0.0.1:2181": "zk1"}, "10.0.0.1")
		defer st.e.Close()
		s := st.connect(t, 4*time.Second)
		defer s.Close()
		upWithin(t, s, time.Second)
		st.mu.Lock()
		st.houses = map[string]string{"10.0.0.2:2181": "zk1", "10.0.0.1:2181": "silent"}
		st.mu.Unlock()
		st.names.set(func() { st.all["zk.example"] = []string{"10.0.0.1", "10.0.0.2"} })
		st.reset()
		synctest.Wait()
		upWithin(t, s, 10*time.Millisecond) // the new address comes first
		time.Sleep(time.Second)
		st.names.set(func() { st.all["zk.example"] = []string{"10.0.0.2"} })
		st.reset()
		synctest.Wait()
		upWithin(t, s, 10*time.Millisecond) // and the old one is forgotten
	})
}

// The name service takes longer than the driver allows for a dial.
func TestASlowNameServiceIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := newStreet(map[string]string{"10.0.0.1:2181": "zk1"}, "10.0.0.1")
		defer st.e.Close()
		st.takes = 1500 * time.Millisecond
		s := st.connect(t, 4*time.Second)
		defer s.Close()
		upWithin(t, s, 2*time.Second)
	})
}

func TestWhatASlowNameServiceFindsIsUsedByTheNextAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := newStreet(map[string]string{"10.0.0.1:2181": "zk1"}, "10.0.0.1")
		defer st.e.Close()
		s := st.connect(t, 10*time.Second)
		defer s.Close()
		upWithin(t, s, time.Second)
		st.names.set(func() { st.takes, st.all["zk.example"] = 4*time.Second, []string{"10.0.0.2"} })
		st.mu.Lock()
		st.houses = map[string]string{"10.0.0.2:2181": "zk1"}
		st.mu.Unlock()
		st.reset()
		synctest.Wait()
		upWithin(t, s, 8*time.Second)
	})
}

func TestTheLastAddressesServeWhileTheNameServiceIsAway(t *testing.T) {
	for what, c := range map[string]struct {
		err   error
		takes time.Duration
		limit time.Duration
	}{
		"fails at once": {errors.New("server misbehaving"), 0, 10 * time.Millisecond},
		"never answers": {nil, time.Hour, 1100 * time.Millisecond},
		"has forgotten": {nil, 0, 10 * time.Millisecond}, // and so has no addresses
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := newStreet(map[string]string{"10.0.0.1:2181": "zk1"}, "10.0.0.1")
				defer st.e.Close()
				s := st.connect(t, 4*time.Second)
				defer s.Close()
				upWithin(t, s, time.Second)
				st.names.set(func() { st.err, st.takes, st.all = c.err, c.takes, nil })
				for range 3 {
					time.Sleep(2 * time.Second)
					st.reset()
					synctest.Wait()
					upWithin(t, s, c.limit)
				}
			})
		})
	}
}

func TestANameThatCannotBeLookedUpIsAnErrorThatSaysSo(t *testing.T) {
	for what, c := range map[string]struct {
		names *names
		says  string
	}{
		"no answer":    {&names{takes: time.Hour}, "zk.example"},
		"no addresses": {&names{}, "lookup zk.example: no addresses"},
		"an error":     {&names{err: errors.New("server misbehaving")}, "server misbehaving"},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBook()
				b.resolve = c.names.resolve
				dial := b.dialer(t.Context(), func(_, _ string, _ time.Duration) (net.Conn, error) {
					panic("nothing to dial")
				})
				began := time.Now()
				_, err := dial("tcp", "zk.example:2181", time.Second)
				require.ErrorContains(t, err, c.says)
				require.LessOrEqual(t, time.Since(began), lookUpLimit)
			})
		})
	}
}

func TestALookUpEndsWithTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := newStreet(nil)
		defer st.e.Close()
		st.takes = time.Hour
		s := st.connect(t, 4*time.Second)
		synctest.Wait()
		began := time.Now()
		s.Close()
		require.LessOrEqual(t, time.Since(began), time.Second)
	})
}

func TestLiteralsAreNotLookedUp(t *testing.T) {
	b := newBook()
	b.resolve = func(context.Context, string) ([]netip.Addr, error) { panic("a look-up") }
	var dialed []string
	dial := b.dialer(t.Context(), func(_, address string, _ time.Duration) (net.Conn, error) {
		dialed = append(dialed, address)
		return nil, nil
	})
	all := []string{"127.0.0.1:2181", "[::1]:2181", "[fe80::1%lo]:2181", ":2181", "nonsense"}
	for _, a := range all {
		_, err := dial("tcp", a, time.Second)
		require.NoError(t, err)
	}
	require.Equal(t, all, dialed)
}

// Real listeners: the first address accepts and sends nothing, as a port behind a proxy
// does.
func TestALocalhostOfTwoAddresses(t *testing.T) {
	live := odd(t, func(c net.Conn, _ int64) {
		c.Write(granting(3*time.Second, 7))
		answer(c, done)
	})
	_, port, err := net.SplitHostPort(live)
	require.NoError(t, err)
	for name, dead := range map[string]string{"IPv6": "::1", "IPv4": "127.0.0.2"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", net.JoinHostPort(dead, port))
			if err != nil {
				t.Skipf("no %s on this machine: %v", dead, err)
			}
			defer l.Close()
			for range 3 {
				s := patient(t, Config{Servers: []string{net.JoinHostPort("localhost", port)},
					Dialer: func(ctx context.Context) zk.Dialer {
						of := ctx.Value(sessionKey{}).(ofSession)
						of.book.resolve = (&names{all: map[string][]string{"localhost": {dead, "127.0.0.1"}}}).resolve
						return DialTCP(ctx)
					}})
				require.NoError(t, s.Wait(within(t)))
				s.Close()
			}
		})
	}
}
