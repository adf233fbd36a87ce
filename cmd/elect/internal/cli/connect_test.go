package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

func env(ctx context.Context, f *Flags) *Env {
	f.Session, f.Timeout = 4*time.Second, 30*time.Second
	return &Env{Context: ctx, Flags: f, Log: slog.New(slog.DiscardHandler)}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// The flags lead to a real server that asks for a client's certificate, and the credentials
// from the file own what is made.
func TestTheFlagsLeadToAServerWithTLSAndCredentials(t *testing.T) {
	id, config, err := zktest.NewTLS(true)
	require.NoError(t, err)
	at := zktest.Start(t, zktest.WithTLS(id)).SecureAddr()
	own := config.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	require.NoError(t, err)
	f := &Flags{ZK: at, TLSCA: file(t, string(id.ClientCA)), TLSCert: file(t, inPEM("CERTIFICATE", own.Certificate[0])),
		TLSKey: file(t, inPEM("PRIVATE KEY", key)), AuthFile: file(t, "digest:operator:secret\n")}
	client, err := env(t.Context(), f).Connect()
	require.NoError(t, err)
	defer client.Close()

	candidate, err := election.NewCandidate(client, "/job")
	require.NoError(t, err)
	require.NoError(t, candidate.Start(t.Context()))
	require.NoError(t, client.Do(t.Context(), func(conn *zk.Conn) error {
		acl, _, err := conn.GetACL(candidate.Status().Znode)
		require.Contains(t, acl, zk.DigestACL(zk.PermAll, "operator", "secret")[0])
		return err
	}))

	// Without a certificate there is no way in.
	e := env(t.Context(), &Flags{ZK: at, TLSCA: f.TLSCA})
	e.Flags.Timeout = time.Second
	_, err = e.Connect()
	require.Equal(t, Unavailable, code(err))
	require.ErrorContains(t, err, "no ZooKeeper at "+at+" within 1s: ")
}

func TestASignalEndsTheWaitForZooKeeper(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	e := env(ctx, &Flags{ZK: "127.0.0.1:1"})
	e.Flags.Timeout = time.Hour
	time.AfterFunc(10*time.Millisecond, func() { cancel(Signal{2}) })
	_, err := e.Connect()
	require.Equal(t, Exit(Signalled+2), err)
}
