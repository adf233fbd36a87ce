package sim

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"slices"
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
)

// grudging is a server that greets, answers the first request with an error or not at
// all, and hangs up. A dialer connects to it. It may return to normal.
type grudging struct {
	code   jute.Code // 0: it does not answer
	better zk.Dialer

	mu    sync.Mutex
	well  bool
	dials int
	last  net.Conn
}

func (g *grudging) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dials++
	if g.well {
		conn, err := g.better(network, address, timeout)
		g.last = conn
		return conn, err
	}
	mine, theirs := net.Pipe()
	go g.talk(theirs)
	return mine, nil
}

func (g *grudging) talk(c net.Conn) {
	defer c.Close()
	if _, err := hear(c); err != nil {
		return
	}
	e := jute.NewEncoder()
	e.Int32(0)                // protocol version
	e.Int32(4000)             // timeout in ms
	e.Int64(7)                // session
	e.Bytes(make([]byte, 16)) // password
	e.Bool(false)             // not read-only
	_, _ = c.Write(e.Frame())
	asked, err := hear(c) // or the session may be one that asks for nothing, which is not given up
	if err != nil || g.code == 0 {
		return
	}
	e, request := jute.NewEncoder(), jute.Decoder{B: asked}
	e.ReplyHeader(request.Int32(), 0, g.code) // zxid 0, because another server must have seen it
	_, _ = c.Write(e.Frame())
}

func hear(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func (g *grudging) dialed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dials
}

func (g *grudging) recover() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.well = true
}

func (g *grudging) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last.Close()
}

// said is a log handler that keeps what the client logs about its session.
type said struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (s *said) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (s *said) WithAttrs([]slog.Attr) slog.Handler               { return s }
func (s *said) Handle(_ context.Context, r slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line := r.Level.String() + " " + r.Message; strings.Contains(line, "zookeeper") {
		r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
		s.lines = append(s.lines, line)
	}
	return nil
}

// take returns what was logged since the last call.
func (s *said) take() (lines []string) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, s.lines = s.lines, nil
	return lines
}

func howMany(lines []string, what string) int {
	return len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.Contains(l, what) }))
}

func TestAServerThatGreetsAndHangsUpIsNotAskedOftenNorLoggedOften(t *testing.T) {
	for name, code := range map[string]jute.Code{"it requires SASL": jute.CodeRequiresSASL, "it says nothing": 0} {
		t.Run(name, func(t *testing.T) {
			tell(t, func(s story) {
				g, log := &grudging{code: code, better: s.e.DialerFor("a")}, new(said)
				c := s.client("a", election.WithDialer(g.Dial), election.WithSessionTimeout(4*time.Second),
					election.WithClientLogger(slog.New(log)))
				cand := s.candidate(c)
				go func() {
					for cand.Start(s.Context()) != nil && s.Context().Err() == nil { // CodeRequiresSASL ends Start at once
						time.Sleep(100 * time.Millisecond)
					}
				}()

				time.Sleep(2 * time.Second)
				require.LessOrEqual(s, g.dialed(), 6, "the first few")
				before := g.dialed()
				time.Sleep(time.Minute)
				assert.LessOrEqual(s, g.dialed()-before, 60, "one a second")
				assert.GreaterOrEqual(s, g.dialed()-before, 40)
				lines := log.take()
				assert.Equal(s, 5, howMany(lines, "INFO"), "up and down until it flaps: %q", lines)
				for _, what := range []string{"connection flaps", "session given up"} {
					assert.GreaterOrEqual(s, howMany(lines, what), 2)
					assert.LessOrEqual(s, howMany(lines, what), 6, "each at twice as many: %q", lines)
				}
				assert.Equal(s, howMany(lines, "connection flaps"), howMany(lines, "error="))

				time.Sleep(10 * time.Minute)
				lines = log.take()
				assert.LessOrEqual(s, len(lines), 8, "%q", lines)

				g.recover()
				time.Sleep(15 * time.Second)
				assert.True(s, cand.HasLeadership())
				lines = log.take()
				require.Len(s, lines, 1, "%q", lines)
				assert.Contains(s, lines[0], "INFO zookeeper session up")

				g.reset()
				time.Sleep(10 * time.Second)
				assert.Len(s, log.take(), 2, "an ordinary loss is told as before")
			})
		})
	}
}

// A connection that is lost three times within a session timeout flaps. An outage with an
// expiry is no flap, and neither are losses that are far apart.
func TestOrdinaryLossesDoNotFlap(t *testing.T) {
	tell(t, func(s story) {
		g, log := &grudging{better: s.e.DialerFor("a"), well: true}, new(said)
		c := s.client("a", election.WithDialer(g.Dial), election.WithClientLogger(slog.New(log)))
		s.start(c)
		for range 10 {
			g.reset()
			time.Sleep(6 * time.Second)
		}
		for _, session := range s.e.Sessions() {
			require.True(s, s.e.ExpireSession(session.ID))
		}
		time.Sleep(20 * time.Second)
		lines := log.take()
		assert.Zero(s, howMany(lines, "WARN"), "%q", lines)
		assert.GreaterOrEqual(s, len(lines), 1+10*2+3, "%q", lines)
	})
}

func TestAClientThatClosesWhileItFlapsSaysNoMore(t *testing.T) {
	tell(t, func(s story) {
		g, log := &grudging{better: s.e.DialerFor("a")}, new(said)
		c := s.client("a", election.WithDialer(g.Dial), election.WithClientLogger(slog.New(log)))
		time.Sleep(10 * time.Second)
		_ = c.Close()
		require.NotZero(s, howMany(log.take(), "WARN"))
		time.Sleep(time.Minute)
		require.Empty(s, log.take())
	})
}
