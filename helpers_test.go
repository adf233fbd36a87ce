package election_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zktest"
)

// TestMain also plays the child processes of the tests that stop or kill a whole process.
func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		os.Exit(childMain(what))
	}
	if what := os.Getenv(memberEnv); what != "" {
		os.Exit(memberMain(what))
	}
	code := zktest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println("goroutines outlive their clients:", err)
		code = 1
	}
	os.Exit(code)
}

// patience bounds every wait for something that must come. It is far above what the protocol allows, so that a slow
// machine fails no test; a test that is about a bound compares with that bound itself.
const patience = 60 * time.Second

// Session timeouts. A leader keeps its belief for a third of one, so tests in which it must not lose it use steady,
// whose third no busy machine stalls for; those that wait for a lease or a session to end use brief.
const (
	steady = 12 * time.Second
	brief  = 3 * time.Second
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// shortContext is for calls that are to end with their context.
func shortContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds.
func eventually(t testing.TB, cond func() bool, what string, args ...any) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(t, "this never came: "+fmt.Sprintf(what, args...))
		}
	}
}

// receive takes one value from a channel.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		require.True(t, ok, "closed instead of: "+what)
		return v
	case <-time.After(patience):
		require.FailNow(t, "this never came: "+what)
	}
	panic("unreachable")
}

var paths atomic.Int64

// newPath is an election of the test's own, also with -count.
func newPath(t testing.TB) string {
	name := strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
	return fmt.Sprintf("/t%d-%s", paths.Add(1), name)
}

var silent = slog.New(slog.DiscardHandler)

func connect(t testing.TB, addr string, timeout time.Duration, opts ...election.ClientOption) *election.Client {
	t.Helper()
	opts = append([]election.ClientOption{election.WithSessionTimeout(timeout), election.WithClientLogger(silent)}, opts...)
	c, err := election.Connect(testContext(t), addr, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // what it returns is its own test's affair
	return c
}

func newCandidate(t testing.TB, c *election.Client, path string, opts ...election.Option) *election.Candidate {
	t.Helper()
	cand, err := election.NewCandidate(c, path, opts...)
	require.NoError(t, err)
	return cand
}

// closes closes a candidate or a client. A busy server may not confirm that within the second for which Close waits. The
// znode goes all the same, a little later, so a test that is about something else waits for what follows from that.
func closes(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		require.ErrorIs(t, err, election.ErrDisconnected)
	}
}

// peer is a candidate with a session and a proxy of its own, and a journal of what happened to it.
type peer struct {
	*election.Candidate
	t      testing.TB
	path   string
	proxy  *zktest.Proxy
	client *election.Client
	log    *journal
}

// newPeer connects to the shared server.
func newPeer(t testing.TB, path string, timeout time.Duration, opts ...election.Option) *peer {
	t.Helper()
	return newPeerAt(t, zktest.Shared(t).Addr(), path, timeout, opts...)
}

func newPeerAt(t testing.TB, addr, path string, timeout time.Duration, opts ...election.Option) *peer {
	t.Helper()
	p := &peer{t: t, path: path, proxy: zktest.NewProxy(t, addr), log: newJournal()}
	p.client = connect(t, p.proxy.Addr(), timeout, election.WithTrace(p.log.trace()))
	opts = append([]election.Option{election.WithListener(p.log)}, opts...)
	p.Candidate = newCandidate(t, p.client, path, opts...)
	return p
}

// start makes the peer stand.
func (p *peer) start() *peer {
	p.t.Helper()
	require.NoError(p.t, p.Start(testContext(p.t)))
	return p
}

// leads waits for the peer's term.
func (p *peer) leads() *election.Term {
	p.t.Helper()
	term, err := p.Await(testContext(p.t))
	require.NoError(p.t, err)
	return term
}

// ends waits for a term's end and returns its cause, which everybody must agree on by then.
func (p *peer) ends(term *election.Term) error {
	p.t.Helper()
	select {
	case <-term.Done():
	case <-time.After(patience):
		require.FailNow(p.t, "the term never ended")
	}
	require.Error(p.t, term.Context().Err())
	require.Equal(p.t, term.Err(), context.Cause(term.Context()))
	require.NotSame(p.t, term, p.Term())
	return term.Err()
}

// expire ends the peer's session as ZooKeeper would, only sooner: its link is cut, and the session ended at the server
// when the lease has run out, since a session that ends before that is what no server does by itself.
func (p *peer) expire() {
	p.t.Helper()
	p.proxy.Cut()
	eventually(p.t, func() bool { return !p.HasLeadership() }, "the end of the lease")
	require.NoError(p.t, p.proxy.ExpireSession(testContext(p.t)))
}

// expireByHand ends the session while its owner believes in it. The link is cut first, since an owner that comes back
// at once takes the session away from the one who is about to end it.
func (p *peer) expireByHand() {
	p.t.Helper()
	p.proxy.Cut()
	require.NoError(p.t, p.proxy.ExpireSession(testContext(p.t)))
	p.proxy.Heal()
}

// inState waits for the peer's state.
func (p *peer) inState(want election.State) {
	p.t.Helper()
	eventually(p.t, func() bool { return p.Status().State == want }, "state %s, it is %v", want, p.Status())
}

// startAll makes the peers stand in this order.
func startAll(peers ...*peer) {
	for _, p := range peers {
		p.start()
	}
}

// journal is what the listener of one candidate and the trace of its client are told.
type journal struct {
	gained, lost chan *election.Term // what the listener was told

	mu     sync.Mutex
	began  []*election.Term
	ended  []election.TermEndedInfo
	states []election.State
	failed []error
}

func newJournal() *journal {
	return &journal{gained: make(chan *election.Term, 1000), lost: make(chan *election.Term, 1000)}
}

func (j *journal) IsLeader(t *election.Term) {
	j.note(func() { j.began = append(j.began, t) })
	j.gained <- t
}

func (j *journal) NotLeader(t *election.Term) { j.lost <- t }

func (j *journal) note(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *journal) trace() *election.Trace {
	return &election.Trace{
		TermEnded: func(info election.TermEndedInfo) {
			j.note(func() { j.ended = append(j.ended, info) })
		},
		StateChanged: func(info election.StateChangedInfo) {
			j.note(func() { j.states = append(j.states, info.To) })
		},
		RequestFailed: func(info election.RequestFailedInfo) {
			j.note(func() { j.failed = append(j.failed, info.Err) })
		},
	}
}

func (j *journal) terms() []*election.Term {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.began)
}

// moves is how often the state changed.
func (j *journal) moves() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.states)
}

func (j *journal) failures() []error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.failed)
}

// noLog drops the driver's log.
type noLog struct{}

func (noLog) Printf(string, ...any) {}

// admin is a session that does by hand what operators do.
type admin struct {
	*zk.Conn
	t testing.TB
}

func newAdmin(t testing.TB, addr string) admin {
	t.Helper()
	conn, _, err := zk.Connect([]string{addr}, 30*time.Second, zk.WithLogger(noLog{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	eventually(t, func() bool { return conn.State() == zk.StateHasSession }, "a session")
	return admin{conn, t}
}

func sharedAdmin(t testing.TB) admin {
	t.Helper()
	return newAdmin(t, zktest.Shared(t).Addr())
}

// line is the children of path; none when it is not there.
func (a admin) line(path string) []string {
	a.t.Helper()
	_, err := a.Sync(path)
	if err == nil {
		var all []string
		if all, _, err = a.Children(path); err == nil {
			return all
		}
	}
	require.ErrorIs(a.t, err, zk.ErrNoNode)
	return nil
}

// remove deletes one znode.
func (a admin) remove(path string) {
	a.t.Helper()
	require.NoError(a.t, a.Delete(path, -1))
}

// removeAll deletes path with everything below it, against candidates that come back meanwhile: it is gone for a
// moment when this returns.
func (a admin) removeAll(path string) {
	a.t.Helper()
	eventually(a.t, func() bool {
		ops := []any{}
		for _, name := range a.line(path) {
			ops = append(ops, &zk.DeleteRequest{Path: path + "/" + name, Version: -1})
		}
		if _, err := a.Multi(append(ops, &zk.DeleteRequest{Path: path, Version: -1})...); err == nil {
			return true
		}
		there, _, err := a.Exists(path) // ZooKeeper removes an empty container itself, once a minute
		return err == nil && !there
	}, "the end of %s", path)
}

func (a admin) make(path, data string) {
	a.t.Helper()
	_, err := a.Create(path, []byte(data), 0, zk.WorldACL(zk.PermAll))
	require.NoError(a.t, err)
}

func (a admin) read(path string) string {
	a.t.Helper()
	_, err := a.Sync(path)
	require.NoError(a.t, err)
	data, _, err := a.Get(path)
	require.NoError(a.t, err)
	return string(data)
}

// overlap looks for two leaders at one instant. All that it samples runs on this process's clock.
type overlap struct {
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex // guards the following
	peers   []*peer
	found   []string
	samples int
}

// noOverlap watches the peers until the test ends, and then requires that there never were two leaders.
func noOverlap(t testing.TB, peers ...*peer) *overlap {
	o := &overlap{stop: make(chan struct{}), done: make(chan struct{}), peers: peers}
	go o.run()
	t.Cleanup(func() { o.verify(t) })
	return o
}

func (o *overlap) verify(t testing.TB) {
	t.Helper()
	select {
	case <-o.stop:
	default:
		close(o.stop)
	}
	<-o.done
	require.Empty(t, o.found, "two leaders at one instant")
	require.NotZero(t, o.samples)
}

func (o *overlap) run() {
	defer close(o.done)
	tick := time.NewTicker(200 * time.Microsecond) // a tight loop would take one of two cores from the election
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.sample()
		case <-o.stop:
			return
		}
	}
}

// sample reads everybody twice. A term that was live in the first reading and is in the second was so in between, for
// it never comes back; so two such terms were live together at the moment between the readings.
func (o *overlap) sample() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.samples++
	live := map[*election.Term]*peer{}
	for _, p := range o.peers {
		if p.HasLeadership() {
			if t := p.Term(); t != nil {
				live[t] = p
			}
		}
		for _, t := range p.log.terms() {
			if t.Context().Err() == nil {
				live[t] = p
			}
		}
	}
	if len(live) < 2 {
		return
	}
	var both []string
	for t, p := range live {
		if t.Context().Err() == nil || t.Err() == nil {
			both = append(both, p.Status().String())
		}
	}
	if len(both) > 1 {
		o.found = append(o.found, strings.Join(both, " AND "))
	}
}

// notifications is how many watches fired at the peers' sessions.
func notifications(peers ...*peer) (n int64) {
	for _, p := range peers {
		n += p.proxy.Stats().Notifications.Frames
	}
	return n
}

// requests is how many requests a proxy has passed, without those that keep session and lease alive.
func requests(p *zktest.Proxy) (n int64) {
	for op, c := range p.Stats().Requests {
		if op != jute.OpPing && op != jute.OpMulti {
			n += c.Frames
		}
	}
	return n
}

// logBuffer collects a logger's lines.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLog() (*slog.Logger, *logBuffer) {
	b := &logBuffer{}
	return slog.New(slog.NewTextHandler(io.Writer(b), &slog.HandlerOptions{Level: slog.LevelDebug})), b
}
