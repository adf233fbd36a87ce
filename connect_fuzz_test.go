package election

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/znode"
)

// FuzzConnectString takes any connect string apart. It is refused with an error that names
// it, or every server has a host and a port, the chroot is a path, and the string put
// together again means the same.
func FuzzConnectString(f *testing.F) {
	for _, s := range []string{"", "zk1", "zk1:2181,zk2:2181,zk3:2181/my-app", " a:1 , b:2 /x", "[::1]:1,[::1]/app:2", "::1", "a:1/app,b:2/app",
		"a:1;b:2", "a:1/", "a:0", "a:65536", "a:1//x", "[]:1", "a b:1", "a:1,/x", "a:1/a;b", "[fe80::1%eth0]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		servers, chroot, err := parseConnectString(s)
		if err != nil {
			require.Contains(t, err.Error(), "connectString")
			return
		}

		require.NotEmpty(t, servers)
		for _, server := range servers {
			host, port, err := net.SplitHostPort(server)
			require.NoError(t, err)
			require.NotEmpty(t, host)
			require.NotEmpty(t, port)
		}
		if chroot != "" {
			require.NoError(t, znode.CheckPath(chroot))
			require.NotEqual(t, "/", chroot)
		}
		sameServers, sameChroot, err := parseConnectString(strings.Join(servers, ",") + chroot)
		require.NoError(t, err)
		require.Equal(t, servers, sameServers)
		require.Equal(t, chroot, sameChroot)
	})
}
