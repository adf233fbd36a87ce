package session

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// Faulty servers, dialers and host providers, such as a ZooKeeper client meets in
// practice.

// granting returns a greeting.
func granting(timeout time.Duration, id int64) []byte {
	e := jute.NewEncoder()
	e.Int32(0) // protocol version
	e.Int32(int32(timeout / time.Millisecond))
	e.Int64(id)
	e.Bytes(make([]byte, 16)) // password
	e.Bool(false)             // not read-only
	return e.Frame()
}

func answering(xid int32, code jute.Code) []byte {
	e := jute.NewEncoder()
	e.ReplyHeader(xid, 77, code)
	return e.Frame()
}

func readFrame(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// headerOf returns the head of a request from behind its length.
func headerOf(b []byte) (xid int32, op jute.Op) {
	d := jute.Decoder{B: b}
	return d.Int32(), jute.Op(d.Int32())
}

// odd starts a server that calls talk for each client, with the session that the client
// wants to resume.
func odd(t *testing.T, talk func(c net.Conn, id int64)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() {
				defer c.Close()
				if b, err := readFrame(c); err == nil {
					talk(c, int64(binary.BigEndian.Uint64(b[16:])))
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		talks.Wait()
	})
	return l.Addr().String()
}

// answer answers every request with what f returns, until f returns nil.
func answer(c net.Conn, f func(xid int32, op jute.Op) []byte) {
	for {
		b, err := readFrame(c)
		if err != nil {
			return
		}
		reply := f(headerOf(b))
		if reply == nil {
			return
		}
		c.Write(reply)
	}
}

func done(xid int32, _ jute.Op) []byte { return answering(xid, 0) }

// patient dials a server whose sessions last 3 s, and closes the session before the
// server ends.
func patient(t *testing.T, cfg Config) *Session {
	cfg.Timeout = 3 * time.Second
	s := dial(t, cfg)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestWhatTheDriverWouldNotSurviveIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		talk func(c net.Conn, id int64)
		says string
	}{
		"a session of no time": {func(c net.Conn, _ int64) {
			c.Write(granting(0, 7))
			answer(c, done)
		}, "granted a session timeout of 0s"},
		"a session of less": {func(c net.Conn, _ int64) {
			c.Write(granting(-time.Second, 7))
			answer(c, done)
		}, "granted a session timeout of -1s"},
		"another kind of server": {func(c net.Conn, _ int64) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		}, "no ZooKeeper server"},
		"a greeting of nothing": {func(c net.Conn, _ int64) { c.Write(frame(nil)) }, "no ZooKeeper server"},
	} {
		t.Run(name, func(t *testing.T) {
			s := patient(t, Config{Servers: []string{odd(t, c.talk)}})
			eventually(t, "it gives the server up", func() bool { return s.LastError() != nil })
			require.ErrorContains(t, s.LastError(), c.says)
			require.False(t, s.Status().Connected)
		})
	}
}

func TestAReplyWithoutItsHeadEndsTheConnection(t *testing.T) {
	addr := odd(t, func(c net.Conn, _ int64) {
		c.Write(granting(3*time.Second, 7))
		answer(c, func(xid int32, _ jute.Op) []byte { return frame(binary.BigEndian.AppendUint32(nil, uint32(xid))) })
	})
	s := patient(t, Config{Servers: []string{addr}})
	require.NoError(t, s.Wait(within(t)))
	_, err := Call(within(t), s, func() (bool, error) {
		found, _, err := s.Conn().Exists("/x")
		return found, err
	})
	require.ErrorIs(t, err, zk.ErrConnectionClosed)
}

// counted counts the open connections.
type counted struct {
	net.Conn
	once sync.Once
	open *atomic.Int64
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestAnExpiredSessionLeavesNoConnectionOpen(t *testing.T) {
	var sessions, open atomic.Int64
	end := make(chan struct{})
	addr := odd(t, func(c net.Conn, id int64) {
		if id != 0 { // the server no longer knows it
			c.Write(granting(0, 0))
			return
		}
		c.Write(granting(3*time.Second, sessions.Add(1)))
		go answer(c, done)
		<-end
	})
	s := patient(t, Config{Servers: []string{addr}, Dialer: func(ctx context.Context) zk.Dialer {
		return func(network, address string, timeout time.Duration) (net.Conn, error) {
			conn, err := DialTCP(ctx)(network, address, timeout)
			if err != nil {
				return nil, err
			}
			open.Add(1)
			return &counted{Conn: conn, open: &open}, nil
		}
	}})
	for i := range int64(3) {
		eventually(t, "a session", func() bool { return s.Status().Connected && s.Status().ID == i+1 })
		end <- struct{}{}
	}
	eventually(t, "the last session", func() bool { return s.Status().Connected && s.Status().ID == 4 })
	require.EqualValues(t, 1, open.Load())
	s.Close()
	close(end)
}

func TestCloseTellsWhetherAServerHasConfirmedIt(t *testing.T) {
	for name, confirms := range map[string]bool{"it has": true, "it died over it": false} {
		t.Run(name, func(t *testing.T) {
			addr := odd(t, func(c net.Conn, _ int64) {
				c.Write(granting(3*time.Second, 7))
				answer(c, func(xid int32, op jute.Op) []byte {
					if op == jute.OpCloseSession && !confirms {
						return nil
					}
					return answering(xid, 0)
				})
			})
			s := patient(t, Config{Servers: []string{addr}})
			require.NoError(t, s.Wait(within(t)))
			require.Equal(t, confirms, s.Close())
		})
	}
}

func TestAServerThatGreetsAndIsGoneIsNotAskedWithoutPause(t *testing.T) {
	var greeted atomic.Int64
	addr := odd(t, func(c net.Conn, _ int64) {
		greeted.Add(1)
		c.Write(granting(3*time.Second, 7))
	})
	s := patient(t, Config{Servers: []string{addr}})
	began := time.Now()
	eventually(t, "several greetings", func() bool { return greeted.Load() > 8 })
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "a pause of a second after each four")
	_, err := Call(within(t), s, func() (bool, error) {
		found, _, err := s.Conn().Exists("/x")
		return found, err
	})
	require.Error(t, err, "and the pause tells those who wait")
}

// eager is a host provider that never asks for a pause.
type eager struct {
	addr  string
	asked atomic.Int64
}

func (e *eager) Init([]string) error  { return nil }
func (e *eager) Len() int             { return 1 }
func (e *eager) Next() (string, bool) { e.asked.Add(1); return e.addr, false }
func (e *eager) Connected()           {}

func TestAHostProviderThatKnowsNoPauseHoldsNobody(t *testing.T) {
	p := &eager{addr: "127.0.0.1:1"}
	s := patient(t, Config{Servers: []string{p.addr}, Provider: p})
	eventually(t, "it asks again", func() bool { return p.asked.Load() > 5 })
	require.Less(t, p.asked.Load(), int64(100))
	closing(t, s)
}

func TestAddAuthReturnsWhatTheServerSays(t *testing.T) {
	addr := odd(t, func(c net.Conn, _ int64) {
		c.Write(granting(3*time.Second, 7))
		answer(c, func(xid int32, op jute.Op) []byte {
			if op == jute.OpAuth {
				return answering(xid, jute.CodeBadArguments)
			}
			return answering(xid, 0)
		})
	})
	s := patient(t, Config{Servers: []string{addr}})
	require.NoError(t, s.Wait(within(t)))
	require.ErrorIs(t, s.AddAuth(within(t), "digest", []byte("a:b")), zk.ErrBadArguments)
}
