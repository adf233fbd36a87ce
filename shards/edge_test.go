package shards_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/shards"
)

// untilDone is work that goes on for as long as it may.
func untilDone(ctx context.Context, _ string, _ *election.Term) error {
	<-ctx.Done()
	return ctx.Err()
}

// slowly connects a client whose requests each take a while.
func slowly(t *testing.T, zk *electiontest.Ensemble) *election.Client {
	dial := zk.Dialer("a")
	client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithClientLogger(silent),
		election.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			conn, err := dial(network, address, timeout)
			return slow{conn}, err
		}))
	require.NoError(t, err)
	return client
}

// panicEnv makes this binary a process whose work panics on one path: the address.
const panicEnv = "SHARDS_TEST_PANIC"

// panicMain panics once it leads on three paths.
func panicMain(address string) int {
	client, err := election.Connect(context.Background(), address, election.WithClientLogger(silent))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	leads := make(chan struct{}, 3)
	err = shards.Run(context.Background(), client, pathsOf(3), func(ctx context.Context, path string, _ *election.Term) error {
		leads <- struct{}{}
		if path != "/shards/001" {
			return untilDone(ctx, path, nil)
		}
		for len(leads) < cap(leads) {
			time.Sleep(time.Millisecond)
		}
		panic("no such table")
	}, shards.WithLogger(silent))
	fmt.Fprintln(os.Stderr, "Run has returned:", err)
	return 0
}

// The candidate has left its line before the panic ends the program. What else the process led stays until its session
// expires, as after any crash.
func TestWorkThatPanicsEndsTheProgramAndLeavesItsLine(t *testing.T) {
	zk := electiontest.New(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), panicEnv+"="+zk.ListenTCP())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.Equal(t, 2, exit.ExitCode(), "%s", out)
	require.Contains(t, string(out), "panic: no such table")
	require.NotContains(t, string(out), "Run has returned")
	require.Zero(t, zk.Leader("/shards/001"))
	require.NotZero(t, zk.Leader("/shards/000"))
	require.NotZero(t, zk.Leader("/shards/002"))
}

func TestOnePathWithoutPermissionEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ensemble, paths := electiontest.New(t), pathsOf(4)
		client := slowly(t, ensemble)
		defer client.Close()
		require.NoError(t, client.Do(t.Context(), func(conn *zk.Conn) error {
			_, err := conn.Create("/shards", nil, 0, zk.WorldACL(zk.PermAll))
			if err == nil {
				_, err = conn.Create(paths[2], nil, 0, zk.WorldACL(zk.PermRead))
			}
			return err
		}))
		running := make(chan int, 100)
		err := shards.Run(t.Context(), client, paths, func(ctx context.Context, path string, term *election.Term) error {
			running <- 1
			defer func() { running <- -1 }()
			return untilDone(ctx, path, term)
		}, shards.WithLogger(silent), shards.WithCandidate(election.WithRequeue(time.Second, time.Minute)))
		require.ErrorIs(t, err, zk.ErrNoAuth)
		require.ErrorContains(t, err, "shards: "+paths[2]+": ")
		require.NotContains(t, err.Error(), "\n", "what else ended is a consequence")
		n := 0
		for len(running) > 0 {
			n += <-running
		}
		require.Zero(t, n, "all work has returned")
		for _, path := range paths {
			require.Zero(t, ensemble.Leader(path), "Run has left %s", path)
		}
	})
}

// ctx ends at each moment of the start, or the client is closed.
func TestRunEndsAtAnyMomentOfItsStart(t *testing.T) {
	paths := pathsOf(4)
	for after := time.Duration(0); after < 1200*time.Millisecond; after += 67 * time.Millisecond {
		for _, closes := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				zk := electiontest.New(t)
				client := slowly(t, zk)
				ctx, cancel := context.WithCancelCause(t.Context())
				began, closed := time.Now(), make(chan struct{})
				time.AfterFunc(after, func() {
					defer close(closed)
					if closes {
						client.Close()
						return
					}
					cancel(errStop)
				})
				err := shards.Run(ctx, client, paths, untilDone, shards.WithLogger(silent))
				require.LessOrEqual(t, time.Since(began), after+1100*time.Millisecond)
				<-closed
				if closes {
					require.ErrorIs(t, err, election.ErrClosed)
					require.NotContains(t, err.Error(), "\n", "once, not for each path")
				} else {
					require.Equal(t, errStop, err)
					client.Close()
				}
				cancel(errors.New("the test is over"))
				for _, path := range paths {
					require.Zero(t, zk.Leader(path), "%s, %v after the begin", path, after)
				}
			})
		}
	}
}

func TestRunWaitsForZooKeeperUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		zk.StopServer(1)
		client, err := election.Open(zk.ConnectString(), election.WithDialer(zk.Dialer("a")), election.WithClientLogger(silent))
		require.NoError(t, err)
		defer client.Close()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errStop)
		defer cancel()
		began := time.Now()
		require.Equal(t, errStop, shards.Run(ctx, client, pathsOf(4), untilDone, shards.WithLogger(silent)))
		require.LessOrEqual(t, time.Since(began), time.Minute+100*time.Millisecond)
	})
}

// A path is one election whatever its place in the list, and Run says which ones it was given twice.
func TestRunRefusesAPathThatIsThereTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		client := slowly(t, zk)
		defer client.Close()
		err := shards.Run(t.Context(), client, []string{"/a", "/b", "/c", "/b", "/a"}, untilDone)
		require.EqualError(t, err, strings.Join([]string{`shards: Run: path 3, "/b", is there twice`, `path 4, "/a", is there twice`}, "\n"))
		for _, path := range []string{"/a", "/b", "/c"} {
			require.Zero(t, zk.Leader(path), "nothing has begun")
		}
	})
}
