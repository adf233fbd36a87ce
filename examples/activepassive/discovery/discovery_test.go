package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/internal/zksim"
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

// connect returns a client with a session of its own, and the registry that it reaches.
func connect(t *testing.T, at string) (*election.Client, *discovery.Registry) {
	t.Helper()
	client, err := election.Open(at, election.WithSessionTimeout(timeout), election.WithClientLogger(quiet))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client, discovery.New(client, at, quiet)
}

func registry(t *testing.T, at string) *discovery.Registry {
	t.Helper()
	_, r := connect(t, at)
	return r
}

// root returns a chroot in the shared server that no other test uses.
func root(t *testing.T) string {
	return fmt.Sprintf("/%s-%d", t.Name(), time.Now().UnixNano())
}

func register(t *testing.T, in *discovery.Registry, port int) (*discovery.Registration, discovery.Instance) {
	t.Helper()
	instance := discovery.NewInstance("bookService", "127.0.0.1", port)
	r, err := in.Register(within(t), base, instance)
	require.NoError(t, err)
	return r, instance
}

// follow watches the registry. It returns a function that waits for a state of it.
func follow(t *testing.T, r *discovery.Registry) func(what string, want func([]discovery.Entry) bool) []discovery.Entry {
	t.Helper()
	ctx := within(t)
	states := make(chan []discovery.Entry)
	go func() {
		defer close(states)
		for entries, err := range r.Watch(ctx, service+"/") {
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
	await := follow(t, registry(t, at))
	await("an empty registry that nobody has made yet", func(e []discovery.Entry) bool { return len(e) == 0 })
	writer := registry(t, at)
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
	client, r := connect(t, proxy.Addr()+place)
	_, in := register(t, r, 8070)
	observer, others := connect(t, server.Addr()+place)
	owner := func() (id int64) {
		require.NoError(t, observer.Do(within(t), func(conn *zk.Conn) error {
			_, stat, err := conn.Exists(place + service + "/" + in.ID)
			id = stat.EphemeralOwner
			return err
		}))
		return id
	}
	before := client.Status().SessionID
	require.Equal(t, before, owner(), "the registration belongs to the client's own session")

	await := follow(t, others)
	await("registration", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NoError(t, proxy.ExpireSession(within(t)))
	await("registration in a new session", func(e []discovery.Entry) bool {
		return len(e) == 1 && e[0].Key == service+"/"+in.ID && owner() != before && owner() == client.Status().SessionID
	})
}

func TestInstanceIsRegisteredAgainAfterSomebodyDeletedIt(t *testing.T) {
	at := zktest.Shared(t).Addr() + root(t)
	client, r := connect(t, at)
	_, in := register(t, r, 8070)
	_, chroot, _ := strings.Cut(at, "/")
	await := follow(t, registry(t, at))
	first := await("registration", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NoError(t, client.Do(within(t), func(conn *zk.Conn) error {
		return conn.Delete("/"+chroot+service+"/"+in.ID, -1)
	}))
	await("registration anew", func(e []discovery.Entry) bool { return len(e) == 1 && e[0].Modified > first[0].Modified+1 })
}

// The session goes on, so the znode would stay. Wherever Register is interrupted, the
// driver carries out what it has begun.
func TestNothingStaysWhenRegisterIsInterrupted(t *testing.T) {
	const oneWay = 10 * time.Millisecond
	registered := 0
	for limit := oneWay / 2; limit < 16*oneWay; limit += oneWay {
		synctest.Test(t, func(t *testing.T) {
			server := zksim.New(zksim.Config{})
			defer server.Close()
			server.Delay("node", zksim.ServerName(1), oneWay, oneWay)
			at := server.ConnectString()
			client, err := election.Connect(t.Context(), at, election.WithDialer(server.DialerFor("node")), election.WithClientLogger(quiet))
			require.NoError(t, err)
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err = discovery.New(client, at, quiet).Register(ctx, base, discovery.NewInstance("bookService", "h", 1))
			if err == nil {
				registered++
				require.Len(t, server.Children(service), 1)
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			time.Sleep(time.Minute) // of virtual time
			require.True(t, client.Status().Connected)
			require.Empty(t, server.Children(service), "after %v", limit)
		})
	}
	require.NotZero(t, registered, "the longest limit is long enough")
}

func TestWatchGoesOnAfterItsSessionExpired(t *testing.T) {
	server := zktest.Shared(t)
	proxy := zktest.NewProxy(t, server.Addr())
	place := root(t)
	await := follow(t, registry(t, proxy.Addr()+place))
	writer := registry(t, server.Addr()+place)
	_, _ = register(t, writer, 1)
	await("one", func(e []discovery.Entry) bool { return len(e) == 1 })
	require.NoError(t, proxy.ExpireSession(within(t)))
	_, _ = register(t, writer, 2)
	await("two", func(e []discovery.Entry) bool { return len(e) == 2 })
}

func TestClaimIsWrittenOnlyWhileTheTermHolds(t *testing.T) {
	at := zktest.Shared(t).Addr() + root(t)
	ctx := within(t)
	client, ours := connect(t, at)
	candidate, err := election.NewCandidate(client, "/example/leader")
	require.NoError(t, err)
	over, err := candidate.Await(ctx)
	require.NoError(t, err)

	await := follow(t, registry(t, at))
	r, _ := register(t, ours, 8070)
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

// tried returns what the first attempt has yielded.
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
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	_, err := registry(t, proxy.Addr()+root(t)).Register(ctx, base, discovery.NewInstance("bookService", "h", 1))
	require.ErrorIs(t, err, context.Canceled)
}

func TestWhatCannotBeRegisteredIsAnErrorAtOnce(t *testing.T) {
	for want, change := range map[string]func(*discovery.Instance) string{
		"is no path":                  func(*discovery.Instance) string { return "service-discovery" },
		"name \"a/b\" cannot":         func(in *discovery.Instance) string { in.Name = "a/b"; return "/s" },
		"ID \"\" cannot":              func(in *discovery.Instance) string { in.ID = ""; return "/s" },
		"port 0 is not between":       func(in *discovery.Instance) string { in.Port = 0; return "/s" },
		"address \"no host\" is no h": func(in *discovery.Instance) string { in.Address = "no host"; return "/s" },
	} {
		in := discovery.NewInstance("bookService", "127.0.0.1", 8070)
		_, err := new(discovery.Registry).Register(t.Context(), change(&in), in)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, "[::1]:80", discovery.Instance{Address: "[::1]", Port: 80}.HostPort())
}
