package zktest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

func TestTheServerIsOfTheVersionThatIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.9.3", "3.4.13"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := zktest.Start(t, zktest.WithVersion(version))
			is, err := s.Version(timeout(t))
			require.NoError(t, err)
			require.Equal(t, version, is)
			conn, _ := session(t, s.Addr())
			_, _, err = conn.Exists("/")
			require.NoError(t, err)
		})
	}
}

func TestAVersionThatCannotBeHadIsAnError(t *testing.T) {
	zktest.SkipIfShort(t, "a Docker engine")
	t.Setenv("ZKTEST_VERSION", "3.3.1")
	_, err := zktest.Launch(timeout(t))
	require.ErrorContains(t, err, "ZooKeeper 3.3.1 cannot be had (ZKTEST_VERSION): want one of 3.9.3 3.8.0 3.4.13")
}
