package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/internal/discovery"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

const (
	base    = "/service-discovery"
	service = base + "/bookService"
	timeout = 4 * time.Second
	limit   = 60 * time.Second
)

var quiet = slog.New(slog.DiscardHandler)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, connect string) *discovery.Conn {
	t.Helper()
	c, err := discovery.Dial(connect, timeout, quiet)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// root is a place in the shared server that no other test uses.
func root(t *testing.T) string {
	return fmt.Sprintf("/%s-%d", t.Name(), time.Now().UnixNano())
}

func register(t *testing.T, c *discovery.Conn, port int) (*discovery.Registration, discovery.Instance) {
	t.Helper()
	in := discovery.NewInstance("bookService", "127.0.0.1", port)
	r, err := c.Register(within(t), base, in, quiet)
	require.NoError(t, err)
	return r, in
}

// follow watches the registry and returns what awaits a state of it.
func follow(t *testing.T, c *discovery.Conn) func(what string, want func([]discovery.Entry) bool) []discovery.Entry {
	t.Helper()
	ctx := within(t)
	states := make(chan []discovery.Entry)
	go func() {
		defer close(states)
		for entries, err := range c.Watch(ctx, service+"/") {
			if err != nil {
				continue
			}
			select {
			case states <- entries:
			case <-ctx.Done():
			}
		}
	}()
	return func(what string, want func([]discovery.Entry) bool) []discovery.Entry {
		t.Helper()
		var last []discovery.Entry
		for entries := range states {
			if last = entries; want(entries) {
				return entries
			}
		}
		require.FailNow(t, "not seen: "+what, "%v", last)
		return nil
	}
}

func leading(e discovery.Entry) bool {
	var in discovery.Instance
	return json.Unmarshal([]byte(e.Value), &in) == nil && in.Payload.Leader
}

func TestInstanceIsWrittenAsInThePost(t *testing.T) {
	in := discovery.NewInstance("bookService", "localhost", 8070)
	in.ID, in.Registered, in.Payload.Leader = "6b0f1f6e-2f7c-4b38-9d2a-0a4f3c1d7e55", 1763712000000, true
	data, err := json.Marshal(in)
	require.NoError(t, err)
	require.Equal(t, `{"name":"bookService","id":"6b0f1f6e-2f7c-4b38-9d2a-0a4f3c1d7e55","address":"localhost",`+
		`"port":8070,"sslPort":null,"payload":{"@class":"com.thecookiezen.microservices.infrastructure.status.InstanceDetails",`+
		`"leader":true},"registrationTimeUTC":1763712000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[`+
		`{"value":"scheme","variable":true},{"value":"://","variable":false},{"value":"address","variable":true},`+
		`{"value":":","variable":false},{"value":"port","variable":true}]}}`, string(data))
}

func TestEachInstanceHasAnIdentityOfItsOwn(t *testing.T) {
	a, b := discovery.NewInstance("s", "h", 1), discovery.NewInstance("s", "h", 1)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a.ID)
	require.NotEqual(t, a.ID, b.ID)
}

func TestWatchSeesComingChangingAndGoing(t *testing.T) {
	at := zktest.Shared(t).Addr() + root(t)
	await := follow(t, dial(t, at))
	await("an empty registry that nobody has made yet", func(e []discovery.Entry) bool { return len(e) == 0 })
	writer := dial(t, at)
	a, in := register(t, writer, 1)
	_, _ = register(t, writer, 2)
	all := await("both", func(e []discovery.Entry) bool { return len(e) == 2 })
	require.Less(t, all[0].Key, all[1].Key)
	require.NoError(t, a.Close(within(t)))
	left := await("one gone", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NotEqual(t, service+"/"+in.ID, left[0].Key)
}

func TestInstanceIsRegisteredAgainAfterItsSessionExpired(t *testing.T) {
	server := zktest.Shared(t)
	proxy := zktest.NewProxy(t, server.Addr())
	place := root(t)
	c := dial(t, proxy.Addr()+place)
	_, in := register(t, c, 8070)
	direct, _, err := zk.Connect([]string{server.Addr()}, timeout, zk.WithLogger(silent{}))
	require.NoError(t, err)
	defer direct.Close()
	path := place + service + "/" + in.ID
	_, before, err := direct.Get(path)
	require.NoError(t, err)
	require.NotZero(t, before.EphemeralOwner)

	await := follow(t, dial(t, server.Addr()+place))
	await("registration", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NoError(t, proxy.ExpireSession(within(t)))
	await("registration in a new session", func(e []discovery.Entry) bool {
		return len(e) == 1 && e[0].Modified > before.Czxid && e[0].Key == service+"/"+in.ID
	})
	require.Eventually(t, func() bool { // what was just seen may be the old one, written once more before its end
		_, after, err := direct.Get(path)
		return err == nil && after.EphemeralOwner != 0 && after.EphemeralOwner != before.EphemeralOwner
	}, time.Minute, 20*time.Millisecond)
}

func TestWatchGoesOnAfterItsSessionExpired(t *testing.T) {
	server := zktest.Shared(t)
	proxy := zktest.NewProxy(t, server.Addr())
	place := root(t)
	await := follow(t, dial(t, proxy.Addr()+place))
	writer := dial(t, server.Addr()+place)
	_, _ = register(t, writer, 1)
	await("one", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NoError(t, proxy.ExpireSession(within(t)))
	_, _ = register(t, writer, 2)
	await("two", func(e []discovery.Entry) bool { return len(e) == 2 })
}

func TestClaimIsWrittenOnlyWhileTheTermHolds(t *testing.T) {
	at := zktest.Shared(t).Addr() + root(t)
	ctx := within(t)
	client, err := election.Connect(ctx, at, election.WithSessionTimeout(timeout), election.WithClientLogger(quiet))
	require.NoError(t, err)
	defer client.Close()
	candidate, err := election.NewCandidate(client, "/example/leader")
	require.NoError(t, err)
	over, err := candidate.Await(ctx)
	require.NoError(t, err)

	await := follow(t, dial(t, at))
	r, _ := register(t, dial(t, at), 8070)
	r.Claim(over)
	claimed := await("claim", func(e []discovery.Entry) bool { return len(e) == 1 && leading(e[0]) })
	r.Disclaim()
	await("no claim", func(e []discovery.Entry) bool { return len(e) == 1 && !leading(e[0]) })

	require.NoError(t, candidate.Resign(ctx))
	refused := &tried{term: over, done: make(chan error, 1)}
	r.Claim(refused)
	require.ErrorIs(t, <-refused.done, election.ErrTermOver)
	next, err := candidate.Await(ctx)
	require.NoError(t, err)
	r.Claim(next)
	again := await("the next term's claim", func(e []discovery.Entry) bool { return leading(e[0]) })
	require.Greater(t, again[0].Modified, claimed[0].Modified)
}

// tried says what came of the first attempt.
type tried struct {
	term *election.Term
	done chan error
}

func (g *tried) Guard(ctx context.Context, ops ...any) ([]zk.MultiResponse, error) {
	responses, err := g.term.Guard(ctx, ops...)
	select {
	case g.done <- err:
	default:
	}
	return responses, err
}

func TestNewestClaimIsTheLeaders(t *testing.T) {
	claim := func(leader bool, modified int64) discovery.Entry {
		return discovery.Entry{Modified: modified, Value: fmt.Sprintf(`{"port":%d,"payload":{"leader":%v}}`, modified, leader)}
	}
	newest, ok := discovery.Newest([]discovery.Entry{claim(true, 5), claim(false, 9), claim(true, 7), {Value: "junk", Modified: 10}})
	require.True(t, ok)
	require.Equal(t, int64(7), newest.Modified)
	_, ok = discovery.Newest([]discovery.Entry{claim(false, 9)})
	require.False(t, ok)
}

func TestRegisterGivesUpWithItsContext(t *testing.T) {
	proxy := zktest.NewProxy(t, zktest.Shared(t).Addr())
	proxy.Cut()
	c := dial(t, proxy.Addr()+root(t))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	_, err := c.Register(ctx, base, discovery.NewInstance("bookService", "h", 1), quiet)
	require.ErrorIs(t, err, context.Canceled)
}

type silent struct{}

func (silent) Printf(string, ...any) {}
