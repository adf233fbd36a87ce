package sectest

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zktest"
)

// password derives a session's password as the server does
// (ZooKeeperServer.generatePasswd). It is 16 bytes from a random generator that is seeded
// with the session's id and a constant, the same for all servers. The generator is
// java.util.Random, and its documentation gives the formula.
func password(id int64) []byte {
	const (
		secret     = 0xB3415C00
		multiplier = 0x5DEECE66D
		increment  = 0xB
		mask       = 1<<48 - 1
	)
	seed := (uint64(id) ^ secret ^ multiplier) & mask
	var p []byte
	for range 4 {
		seed = (seed*multiplier + increment) & mask
		p = binary.LittleEndian.AppendUint32(p, uint32(seed>>16))
	}
	return p
}

// This is a limit, not a guarantee. The package documentation names it under "What is not
// promised": the leader's ACL does not keep a stranger from ending its session. The
// evicted leader considers itself leader for T/3 at most, and enters the election again.
func TestAStrangerWhoReadsASessionsIDCanEndIt(t *testing.T) {
	addr, ctx := zktest.Shared(t).Addr(), within(t, patience)
	const path = "/closed/evicted"
	ours := func() *election.Client { return connect(t, addr, election.WithAuth("digest", []byte("us:ours"))) }
	leader, next := candidate(t, ours(), path), candidate(t, ours(), path)
	term, err := leader.Await(ctx)
	require.NoError(t, err)
	require.NoError(t, next.Start(ctx))

	stranger, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(mute{}))
	require.NoError(t, err)
	defer stranger.Close()
	require.ErrorIs(t, stranger.Delete(leader.Status().Znode, -1), zk.ErrNoAuth)
	_, stat, err := stranger.Exists(leader.Status().Znode)
	require.NoError(t, err)
	ended := make(chan time.Time, 1)
	go func() {
		<-term.Done()
		ended <- time.Now()
	}()
	require.NoError(t, zktest.ExpireSession(ctx, addr, stat.EphemeralOwner, password(stat.EphemeralOwner)))

	_, err = next.Await(ctx)
	require.NoError(t, err)
	began := time.Now()
	overlap := (<-ended).Sub(began)
	t.Logf("two believed for %v", max(overlap, 0))
	require.LessOrEqual(t, overlap, next.Status().Timeout/3)
	require.Eventually(t, func() bool { return leader.Status().Place == 2 }, patience, 5*time.Millisecond,
		"it stands again")
}

// TLS protects: without a certificate a stranger does not reach the server, if its plain
// port is closed.
func TestAStrangerWithoutACertificateCannotConnect(t *testing.T) {
	id, config, err := zktest.NewTLS(true)
	require.NoError(t, err)
	addr := zktest.Start(t, zktest.WithTLS(id)).SecureAddr()
	leader := candidate(t, connect(t, addr, election.WithTLS(config)), "/certified")
	_, err = leader.Await(within(t, patience))
	require.NoError(t, err)

	none := config.Clone()
	none.Certificates = nil
	err = refused(t, addr, none)
	require.ErrorContains(t, err, "certificate")
	_, foreign, err := zktest.NewTLS(true) // a certificate from another authority
	require.NoError(t, err)
	foreign.RootCAs = config.RootCAs
	require.ErrorContains(t, refused(t, addr, foreign), "certificate")
	require.True(t, leader.HasLeadership())
}

// A client certificate is an identity for ACLs, by the scheme x509. It does not change
// the default ACL.
func TestAClientCertificateAloneLeavesTheZnodesOpen(t *testing.T) {
	id, config, err := zktest.NewTLS(true)
	require.NoError(t, err)
	addr := zktest.Start(t, zktest.WithTLS(id)).SecureAddr()
	c := connect(t, addr, election.WithTLS(config))
	operator, _, err := zk.Connect([]string{addr}, 10*time.Second, zk.WithLogger(mute{}),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			return tls.Dial(network, address, config)
		}))
	require.NoError(t, err)
	defer operator.Close()
	for path, want := range map[string]struct {
		opts []election.Option
		acl  []zk.ACL
	}{
		"/open": {nil, zk.WorldACL(zk.PermAll)},
		"/closed": {[]election.Option{election.WithACL(zk.AuthACL(zk.PermAll))},
			[]zk.ACL{{Perms: zk.PermAll, Scheme: "x509", ID: "CN=client"}}},
	} {
		cand := candidate(t, c, path, want.opts...)
		_, err := cand.Await(within(t, patience))
		require.NoError(t, err)
		acl, _, err := operator.GetACL(cand.Status().Znode)
		require.NoError(t, err, path)
		require.Equal(t, want.acl, acl, path)
	}
}
