package sim

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Stories are single tests in virtual time: for what chance plays too rarely, and for
// what needs an exact moment.

// story is a test with an ensemble of one server.
type story struct {
	*testing.T
	e *zksim.Ensemble
}

const job = "/job"

// tell runs one story in its own bubble.
func tell(t *testing.T, f func(s story)) {
	synctest.Test(t, func(t *testing.T) {
		s := story{t, zksim.New(zksim.Config{})}
		defer s.e.Close()
		f(s)
	})
}

func (s story) client(name string, opts ...election.ClientOption) *election.Client {
	opts = append([]election.ClientOption{election.WithDialer(s.e.DialerFor(name)), election.WithClientLogger(quiet)},
		opts...)
	c, err := election.Connect(s.Context(), s.e.ConnectString(), opts...)
	require.NoError(s, err)
	s.closeLater(c)
	return c
}

// closeLater closes a client at the end of the story.
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

// adopt returns a client on a connection that the caller owns.
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

// goroutines returns how many goroutines the story has. Those of other tests, which may
// still be ending, do not count: the first line of a stack names its bubble.
func (s story) goroutines() int {
	text := make([]byte, 16<<20)
	all := strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n")
	_, own, found := strings.Cut(strings.SplitN(all[0], "\n", 2)[0], "synctest bubble ")
	require.True(s, found, all[0])
	n := 0
	for _, stack := range all {
		if _, bubble, _ := strings.Cut(strings.SplitN(stack, "\n", 2)[0], "synctest bubble "); bubble == own {
			n++
		}
	}
	return n
}

type mute struct{}

func (mute) Printf(string, ...any) {}

// asGiven is a host provider that looks up no names.
type asGiven struct {
	all  []string
	init time.Duration // how long Init takes
}

func (p *asGiven) Init(all []string) error { time.Sleep(p.init); p.all = all; return nil }
func (p *asGiven) Len() int                { return len(p.all) }
func (p *asGiven) Next() (string, bool)    { return p.all[0], true }
func (p *asGiven) Connected()              {}

// plug is a dialer whose connections can be broken, and then refused until it is put
// back.
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
