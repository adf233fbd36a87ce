// Package sectest tests what keeps strangers out of an election (TLS, credentials, ACLs),
// against a real server.
package sectest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

const patience = 30 * time.Second

var silent = election.WithClientLogger(slog.New(slog.DiscardHandler))

func connect(t *testing.T, addr string, opts ...election.ClientOption) *election.Client {
	t.Helper()
	c, err := election.Connect(within(t, patience), addr, append([]election.ClientOption{silent}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func candidate(t *testing.T, c *election.Client, path string, opts ...election.Option) *election.Candidate {
	t.Helper()
	cand, err := election.NewCandidate(c, path, opts...)
	require.NoError(t, err)
	return cand
}

func TestACandidateLeadsOverTLSAndAcrossAReconnect(t *testing.T) {
	id, config, err := zktest.NewTLS(true)
	require.NoError(t, err)
	p := zktest.NewProxy(t, zktest.Start(t, zktest.WithTLS(id)).SecureAddr())
	c := connect(t, p.Addr(), election.WithTLS(config))
	cand := candidate(t, c, "/tls")
	term, err := cand.Await(within(t, patience))
	require.NoError(t, err)
	p.CloseConnections()
	require.Eventually(t, func() bool { return p.Stats().Connections > 1 && cand.Status().Connected }, patience,
		5*time.Millisecond)
	_, err = term.Guard(within(t, patience), &zk.CreateRequest{Path: "/secured", Acl: zk.WorldACL(zk.PermAll)})
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// refused connects with a TLS config that does not accept the server's certificate.
func refused(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	c, err := election.Connect(within(t, 2*time.Second), addr, silent, election.WithTLS(config))
	require.Nil(t, c)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	return err
}

func TestAServerOfAnotherAuthorityOrNameIsRefused(t *testing.T) {
	id, config, err := zktest.NewTLS(false)
	require.NoError(t, err)
	_, other, err := zktest.NewTLS(false)
	require.NoError(t, err)
	addr := zktest.Start(t, zktest.WithTLS(id)).SecureAddr()

	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, refused(t, addr, other), &unknown)

	elsewhere := config.Clone()
	elsewhere.ServerName = "elsewhere.example"
	var name x509.HostnameError
	require.ErrorAs(t, refused(t, addr, elsewhere), &name)
	require.Equal(t, "elsewhere.example", name.Host)

	connect(t, addr, election.WithTLS(config))
}

func TestAServerIsToldTheHostsNameAlsoWhereItsCertificateIsNotChecked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	asked := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				select {
				case asked <- h.ServerName:
				default:
				}
				return nil, net.ErrClosed
			}}).Handshake() // fails, as it should
			c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	_, err = election.Connect(within(t, time.Second), "localhost:"+port, silent,
		election.WithTLS(&tls.Config{InsecureSkipVerify: true}))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "localhost", <-asked)
	require.NoError(t, l.Close())
	<-done
}

// TestAStrangerWhoReadsASessionsIDCanEndIt shows what ACLs do not prevent.
func TestAStrangerCanNeitherJoinNorTouchAZnode(t *testing.T) {
	addr, ctx := zktest.Shared(t).Addr(), within(t, patience)
	const path = "/closed/election"
	leader := candidate(t, connect(t, addr, election.WithAuth("digest", []byte("us:ours"))), path)
	term, err := leader.Await(ctx)
	require.NoError(t, err)

	for name, opts := range map[string][]election.ClientOption{
		"without credentials": nil, "with others": {election.WithAuth("digest", []byte("us:guessed"))}} {
		t.Run(name, func(t *testing.T) {
			stranger := connect(t, addr, opts...)
			cand := candidate(t, stranger, path)
			require.ErrorIs(t, cand.Start(ctx), zk.ErrNoAuth)
			require.Equal(t, election.StateIdle, cand.Status().State)
			_, err := cand.Await(ctx)
			require.ErrorIs(t, err, zk.ErrNoAuth)

			seen, err := stranger.Leader(ctx, path)
			require.NoError(t, err, "everybody may see who leads")
			require.Equal(t, term.Token(), seen.Token)
			line, err := stranger.Participants(ctx, path)
			require.NoError(t, err)
			require.Len(t, line, 1)
			touch(t, addr, seen.Path)
		})
	}
	require.True(t, leader.HasLeadership())
	require.NoError(t, term.Err())
}

// touch tries, without permission, what an operator could do to the leader's znode.
func touch(t *testing.T, addr, path string) {
	t.Helper()
	conn, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(mute{}))
	require.NoError(t, err)
	defer conn.Close()
	require.ErrorIs(t, conn.Delete(path, -1), zk.ErrNoAuth)
	_, err = conn.Set(path, []byte("mine"), -1)
	require.ErrorIs(t, err, zk.ErrNoAuth)
	_, err = conn.SetACL(path, zk.WorldACL(zk.PermAll), -1)
	require.ErrorIs(t, err, zk.ErrNoAuth)
}

type mute struct{}

func (mute) Printf(string, ...any) {}

func TestTheSameCredentialsStandInOneLine(t *testing.T) {
	addr, ctx := zktest.Shared(t).Addr(), within(t, patience)
	ours := election.WithAuth("digest", []byte("us:ours"))
	first := candidate(t, connect(t, addr, ours), "/closed/both")
	_, err := first.Await(ctx)
	require.NoError(t, err)
	p := zktest.NewProxy(t, addr)
	second := candidate(t, connect(t, p.Addr(), ours), "/closed/both")
	require.NoError(t, second.Start(ctx))
	p.CloseConnections() // the driver sends the credentials again
	require.Eventually(t, func() bool { return p.Stats().Connections > 1 && second.Status().Connected }, patience,
		5*time.Millisecond)
	require.NoError(t, first.Shutdown(ctx))
	_, err = second.Await(ctx)
	require.NoError(t, err)
	require.NoError(t, second.Resign(ctx), "it may remove its own znode and make another")
}

func TestASchemeThatTheServerDoesNotKnowFailsConnect(t *testing.T) {
	began := time.Now()
	_, err := election.Connect(within(t, patience), zktest.Shared(t).Addr(), silent,
		election.WithAuth("nosuchscheme", []byte("us:"+secret)))
	require.ErrorContains(t, err, `"nosuchscheme"`)
	require.NotContains(t, err.Error(), secret)
	require.ErrorIs(t, err, zk.ErrAuthFailed)
	require.Less(t, time.Since(began), patience, "it is not retried until the context ends")
}

const secret = "Zebra-7731-striped"

// disguises are the forms in which the secret could appear in a text.
func disguises() []string {
	cred := []byte("us:" + secret)
	sum := sha1.Sum(cred)
	return []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString(cred),
		hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:])}
}

// transcript keeps what is logged.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.all.Write(b)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.all.String()
}

func TestCredentialsReachNoLogNoErrorAndNoStatus(t *testing.T) {
	tr := new(transcript)
	log := slog.New(slog.NewJSONHandler(tr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, ctx := zktest.NewProxy(t, zktest.Shared(t).Addr()), within(t, patience)
	opts := []election.ClientOption{election.WithAuth("digest", []byte("us:"+secret)), election.WithClientLogger(log),
		election.WithSessionTimeout(3 * time.Second)}
	c := connect(t, p.Addr(), opts...)
	cand := candidate(t, c, "/secret/election", election.WithLogger(log))
	_, err := cand.Await(ctx)
	require.NoError(t, err)
	for range 2 { // a reconnect, and a new session
		p.CloseConnections()
		before := p.Stats().Connections
		require.Eventually(t, func() bool { return p.Stats().Connections > before && cand.Status().Connected },
			patience, 5*time.Millisecond)
		require.NoError(t, p.ExpireSession(ctx))
		require.Eventually(t, cand.HasLeadership, patience, 5*time.Millisecond)
	}
	var texts []string
	for _, bad := range []election.ClientOption{election.WithAuth("", []byte("us:"+secret)),
		election.WithAuth("nosuchscheme", []byte("us:"+secret))} {
		_, err := election.Connect(ctx, p.Addr(), append(opts, bad)...)
		require.Error(t, err)
		texts = append(texts, err.Error())
	}
	p.Cut()
	_, err = election.Connect(within(t, 300*time.Millisecond), p.Addr(), opts...)
	require.Error(t, err)
	_, leaderErr := c.Leader(ctx, "/secret/election")
	require.Error(t, leaderErr)
	status, jsonErr := json.Marshal(cand.Status())
	require.NoError(t, jsonErr)
	texts = append(texts, err.Error(), leaderErr.Error(), string(status), cand.Status().String())
	c.Close()
	texts = append(texts, tr.String())
	require.Contains(t, tr.String(), "zookeeper driver", "the driver's own lines are in the log")
	for _, text := range texts {
		for _, d := range disguises() {
			require.NotContains(t, text, d)
		}
	}
}
