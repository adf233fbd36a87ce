package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// BenchmarkStart measures how long it takes to enter an election, beside go-zookeeper's
// Lock and two bare round trips: a create, then a read and a listing at once. All kinds
// take turns on one server, as in BenchmarkHandOff. "connect" begins without a session,
// "path" with one, at a path of which two levels are missing, and "follow" ends when the
// candidate watches the one ahead. "fast lead" is "lead" with fast failover, which takes
// one write more.
//
// "near" has the server on the same machine. On the way to the one that is "far", each
// request takes 10 ms more, so that round trips count more than the disk and the processor.
func BenchmarkStart(b *testing.B) {
	for name, delay := range map[string]time.Duration{"near": 0, "far": 10 * time.Millisecond} {
		b.Run(name, func(b *testing.B) { benchmarkStart(b, delay) })
	}
}

func benchmarkStart(b *testing.B, delay time.Duration) {
	const counted, before = 20, 4
	server := zktest.Start(b, zktest.WithConfig("forceSync", "yes"))
	s := newStarts(b, server.Addr(), delay)
	names := []string{"bare", "lead", "lock lead", "connect", "lock connect", "path", "lock path", "follow", "lock follow", "fast lead"}
	rounds := []func() time.Duration{s.bare, s.lead, s.lockLead, s.connect, s.lockConnect, s.path, s.lockPath, s.follow,
		s.lockFollow, s.fastLead}
	for range 20 { // so that the server's compiler has compiled it
		for _, round := range rounds {
			round()
		}
	}
	took := make([][]time.Duration, len(rounds))
	for b.Loop() {
		for i, round := range rounds {
			for range before {
				round()
			}
			for range counted {
				took[i] = append(took[i], round())
			}
		}
	}

	times := map[string]float64{}
	for i, name := range names {
		times[name] = float64(median(took[i]).Nanoseconds())
	}
	b.ReportMetric(times["bare"], "ns/bare")
	for _, kind := range []string{"lead", "path", "follow"} {
		b.ReportMetric(times[kind]/times["bare"], kind+"/bare")
		b.ReportMetric(times["lock "+kind]/times["bare"], "zk.Lock-"+kind+"/bare")
	}
	b.ReportMetric(times["fast lead"]/times["bare"], "fast-lead/bare")
	b.ReportMetric(times["fast lead"]/times["lead"], "fast-lead/lead")
	b.ReportMetric(times["follow"]/times["lock follow"], "follow/zk.Lock")
	b.ReportMetric(times["connect"]/times["lock connect"], "connect/zk.Lock")
}

// starts are the rounds of BenchmarkStart.
type starts struct {
	*testing.B
	addr   string
	client *election.Client
	locker *zk.Conn
	heard  heard // on the connections of both
	delay  time.Duration
	n      int
}

func newStarts(b *testing.B, addr string, delay time.Duration) *starts {
	s := &starts{B: b, addr: addr, heard: heard{delay: delay}, delay: delay}
	s.client, s.locker = s.dialClient(s.heard.dial), s.dialLocker(s.heard.dial)
	b.Cleanup(func() { s.client.Close() })
	b.Cleanup(s.locker.Close)
	for _, path := range []string{"/bench", "/bench/start", "/bench/start/lead", "/bench/start/lead-lock"} {
		_, err := s.locker.Create(path, nil, 0, zk.WorldACL(zk.PermAll))
		require.NoError(b, err)
	}
	require.NoError(b, s.lock(dial(b, addr), "follow-lock").Lock())
	lead(b, candidate(b, connect(b, addr), "/bench/start/follow"))
	return s
}

func (s *starts) dialClient(d zk.Dialer) *election.Client {
	c, err := election.Connect(context.Background(), s.addr, election.WithDialer(d),
		election.WithSessionTimeout(time.Minute), election.WithClientLogger(slog.New(slog.DiscardHandler)))
	require.NoError(s, err)
	return c
}

// dialLocker returns once there is a session, like Connect.
func (s *starts) dialLocker(d zk.Dialer) *zk.Conn {
	conn, events, err := zk.Connect([]string{s.addr}, time.Minute, zk.WithDialer(d), zk.WithLogInfo(false))
	require.NoError(s, err)
	for ev := range events {
		if ev.State == zk.StateHasSession {
			break
		}
	}
	return conn
}

func (s *starts) lock(conn *zk.Conn, name string) *zk.Lock {
	return zk.NewLock(conn, "/bench/start/"+name, zk.WorldACL(zk.PermAll))
}

// round measures f, and then calls undo.
func (s *starts) round(f func(), undo func()) time.Duration {
	calm()
	began := time.Now()
	f()
	took := time.Since(began)
	undo()
	return took
}

func (s *starts) bare() time.Duration {
	var made string
	return s.round(func() {
		var err error
		made, err = s.locker.Create("/bench/start/lead/n-", nil, zk.FlagEphemeralSequential, zk.WorldACL(zk.PermAll))
		require.NoError(s, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.locker.Children("/bench/start/lead")
		}()
		s.locker.GetW(made)
		<-done
	}, func() { require.NoError(s, s.locker.Delete(made, -1)) })
}

func (s *starts) leadAt(path string, opts ...election.Option) time.Duration {
	cand := candidate(s, s.client, path, opts...)
	return s.round(func() { cand.Await(context.Background()) }, func() { require.NoError(s, cand.Close()) })
}

func (s *starts) lead() time.Duration { return s.leadAt("/bench/start/lead") }

func (s *starts) fastLead() time.Duration {
	return s.leadAt("/bench/start/lead", election.WithFastFailover(failover))
}

func (s *starts) lockLead() time.Duration {
	l := s.lock(s.locker, "lead-lock")
	return s.round(func() { l.Lock() }, func() { require.NoError(s, l.Unlock()) })
}

func (s *starts) connect() time.Duration {
	var c *election.Client
	return s.round(func() {
		c = s.dialClient(far(s.delay))
		candidate(s, c, "/bench/start/lead").Await(context.Background())
	}, func() { require.NoError(s, c.Close()) })
}

func (s *starts) lockConnect() time.Duration {
	var conn *zk.Conn
	return s.round(func() {
		conn = s.dialLocker(far(s.delay))
		s.lock(conn, "lead-lock").Lock()
	}, func() { conn.Close() })
}

// missing returns a path of which two levels are missing.
func (s *starts) missing() string {
	s.n++
	return fmt.Sprintf("path-%d/job", s.n)
}

func (s *starts) path() time.Duration { return s.leadAt("/bench/start/" + s.missing()) }

func (s *starts) lockPath() time.Duration {
	l := s.lock(s.locker, s.missing())
	return s.round(func() { l.Lock() }, func() { require.NoError(s, l.Unlock()) })
}

func (s *starts) follow() time.Duration {
	cand := candidate(s, s.client, "/bench/start/follow")
	calm()
	began := time.Now()
	require.NoError(s, cand.Start(context.Background()))
	took := s.heard.last().Sub(began)
	require.NoError(s, cand.Close())
	return took
}

func (s *starts) lockFollow() time.Duration {
	l := s.lock(s.locker, "follow-lock")
	calm()
	began := time.Now()
	go l.Lock()
	took := s.heard.last().Sub(began)
	line, _, err := s.locker.Children("/bench/start/follow-lock")
	require.NoError(s, err)
	for _, name := range line {
		if _, stat, _ := s.locker.Exists("/bench/start/follow-lock/" + name); stat.EphemeralOwner == s.locker.SessionID() {
			s.locker.Delete("/bench/start/follow-lock/"+name, -1) // its Lock waits on
		}
	}
	return took
}

// far returns a dialer to a server to which each request takes delay more.
func far(delay time.Duration) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		conn, err := net.DialTimeout(network, address, timeout)
		if err != nil || delay == 0 {
			return conn, err
		}
		late := &lateConn{Conn: conn, delay: delay, sent: make(chan lateFrame, 1000), closed: make(chan struct{})}
		go late.run()
		return late, nil
	}
}

type lateConn struct {
	net.Conn
	delay  time.Duration
	sent   chan lateFrame
	once   sync.Once
	closed chan struct{}
}

type lateFrame struct {
	at time.Time
	b  []byte
}

func (c *lateConn) Write(b []byte) (int, error) {
	c.sent <- lateFrame{time.Now().Add(c.delay), slices.Clone(b)}
	return len(b), nil
}

func (c *lateConn) run() {
	for {
		select {
		case f := <-c.sent:
			<-time.After(time.Until(f.at))
			c.Conn.Write(f.b)
		case <-c.closed:
			c.Conn.Close()
			return
		}
	}
}

// Close closes the connection when what was sent has had the time to arrive.
func (c *lateConn) Close() error {
	c.once.Do(func() { time.AfterFunc(2*c.delay, func() { close(c.closed) }) })
	return nil
}

// heard is when the latest bytes of a server came.
type heard struct {
	at    atomic.Pointer[time.Time]
	delay time.Duration
}

func (h *heard) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := far(h.delay)(network, address, timeout)
	return hearing{conn, h}, err
}

// last waits until no more bytes come.
func (h *heard) last() time.Time {
	for {
		before := h.at.Load()
		<-time.After(20*time.Millisecond + 8*h.delay)
		if now := h.at.Load(); now == before {
			return *now
		}
	}
}

type hearing struct {
	net.Conn
	h *heard
}

func (c hearing) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	now := time.Now()
	c.h.at.Store(&now)
	return n, err
}
