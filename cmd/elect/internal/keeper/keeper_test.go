//go:build linux

package keeper

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Name {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// patience bounds what a test waits for.
const patience = time.Minute

// keep has a keeper run a script, with a lease that ends at end.
func keep(t *testing.T, end Instant, script string, change ...func(*Config)) *Keeper {
	t.Helper()
	return keepCommand(t, end, []string{"/bin/sh", "-c", script}, change...)
}

func keepCommand(t *testing.T, end Instant, command []string, change ...func(*Config)) *Keeper {
	t.Helper()
	cfg := Config{Command: command, Env: os.Environ(), Grace: time.Hour, Early: 200 * time.Millisecond, Margin: 10 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	k, err := Start(cfg, end)
	require.NoError(t, err)
	t.Cleanup(func() { k.Finish(&Adopter{}) })
	return k
}

// news returns all reports until the last one.
func news(t *testing.T, k *Keeper) (all []Report) {
	t.Helper()
	for over := time.After(patience); ; {
		select {
		case r, alive := <-k.Reports():
			require.True(t, alive, "the keeper has ended without a last report")
			if all = append(all, r); r.Ended {
				return all
			}
		case <-over:
			require.FailNow(t, "the keeper does not report the end", "%v", all)
		}
	}
}

// A keeper has to start before soon is there, and later is when no test waits any more.
func soon() Instant  { return At(time.Now().Add(soonAfter)) }
func later() Instant { return At(time.Now().Add(10 * patience)) }

const soonAfter = 5 * time.Second

// ignores is a script that ignores TERM.
const ignores = "trap '' TERM; while :; do /bin/sleep 0.05; done"

func TestACommandThatEndsIsReportedWithItsCode(t *testing.T) {
	require.Equal(t, []Report{{Started: true}, {Ended: true, Started: true, Code: 3}}, news(t, keep(t, later(), "exit 3")))
	require.Equal(t, []Report{{Started: true}, {Ended: true, Started: true, Code: 128 + 9}}, news(t, keep(t, later(), "kill -9 $$")))
}

func TestACommandIsKilledAtTheEndOfItsLease(t *testing.T) {
	k := keep(t, later(), ignores)
	awaitTrap(t, k)
	k.Extend(soon())
	require.Equal(t, []Report{{Started: true, Stopping: ByLease}, {Ended: true, Started: true, Code: killed}}, news(t, k))
}

func TestALeaseThatIsExtendedLetsTheCommandRunOn(t *testing.T) {
	k := keep(t, soon(), "/bin/sleep 6")
	k.Extend(later())
	require.Equal(t, []Report{{Started: true}, {Ended: true, Started: true}}, news(t, k))
}

// A wrapper may be stopped between reading its clock and telling the end.
func TestAnEndThatIsToldLateIsNoLater(t *testing.T) {
	end := soon()
	time.Sleep(soonAfter) // the wrapper is stopped: nothing to wait for
	k := keep(t, end, "exit 0")
	k.Stop()
	require.True(t, news(t, k)[0].Late, "the command was not started")

	end = soon()
	k = keep(t, later(), ignores)
	time.Sleep(soonAfter)
	k.Extend(end)
	require.Equal(t, killed, last(news(t, k)).Code)
}

// A keeper may take longer to start than the lease lasts that it is told first.
func TestACommandIsStartedWhenALaterEndIsTold(t *testing.T) {
	k := keep(t, At(time.Now()), "exit 3")
	k.Extend(later())
	require.Equal(t, []Report{{Started: true}, {Ended: true, Started: true, Code: 3}}, news(t, k))
}

func last(all []Report) Report { return all[len(all)-1] }

func TestWhenThePipeIsClosedTheCommandIsAskedAndKilledAtTheEndOfItsLease(t *testing.T) {
	asked := []Report{{Started: true}, {Started: true, Stopping: ByOrphan}, {Ended: true, Started: true, Code: 5}}
	k := keep(t, later(), "trap 'exit 5' TERM; echo; while :; do /bin/sleep 0.05; done")
	awaitTrap(t, k)
	require.NoError(t, k.orders.Close())
	require.Equal(t, asked[1:], news(t, k))

	k = keep(t, later(), ignores)
	awaitTrap(t, k)
	_, err := fmt.Fprintf(k.orders, "%s %v\n", lease, soon()) // not by Extend, which writes when it comes to that
	require.NoError(t, err)
	require.NoError(t, k.orders.Close())
	require.Equal(t, killed, last(news(t, k)).Code)

	k = keep(t, later(), ignores, func(c *Config) { c.Grace = 100 * time.Millisecond })
	awaitTrap(t, k)
	require.NoError(t, k.orders.Close())
	require.Equal(t, killed, last(news(t, k)).Code)
}

// awaitTrap waits until the script has come as far as its loop, whose first child says so.
func awaitTrap(t *testing.T, k *Keeper) {
	t.Helper()
	require.Equal(t, Report{Started: true}, <-k.Reports())
	k.mu.Lock()
	pid := k.pid
	k.mu.Unlock()
	for over := time.After(patience); ; {
		for _, p := range processes() {
			if parent, ok := parentOf(p); ok && parent == pid {
				return
			}
		}
		select {
		case <-over:
			require.FailNow(t, "the script does not run")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAnOrderToKillLeavesNoTime(t *testing.T) {
	k := keep(t, later(), "trap 'exit 5' TERM; while :; do /bin/sleep 0.05; done")
	awaitTrap(t, k)
	k.Kill()
	require.Equal(t, Report{Ended: true, Started: true, Code: killed}, last(news(t, k)))
}

func TestACommandThatCannotRunIsReported(t *testing.T) {
	r := last(news(t, keepCommand(t, later(), []string{"no-such-command"})))
	require.Equal(t, [2]any{127, false}, [2]any{r.Code, r.Started})
	require.Contains(t, r.Problem, "executable file not found")
	r = last(news(t, keepCommand(t, later(), []string{"/dev/null"})))
	require.Equal(t, [2]any{126, false}, [2]any{r.Code, r.Started})
}

// A process that begins life as a child of this one's predecessor is none of ours.
func TestChildrenFromBeforeAreLeftAlone(t *testing.T) {
	k := keep(t, later(), "/bin/sleep 1000")
	awaitStart(t, k)
	a, err := Adopt()
	require.NoError(t, err)
	require.NotEmpty(t, a.not)
	require.Empty(t, family(a.not))
	require.NotEmpty(t, family(nil))
}

func awaitStart(t *testing.T, k *Keeper) {
	t.Helper()
	require.Equal(t, Report{Started: true}, <-k.Reports())
}

func TestAKeeperStartedByHandDoesNothing(t *testing.T) {
	for _, args := range [][]string{nil, {"--", "/bin/echo"}, {"-grace", "soon", "--", "/bin/echo"}} {
		var exit *exec.ExitError
		out, err := exec.Command("/proc/self/exe", append([]string{Name}, args...)...).Output()
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 2, exit.ExitCode())
		require.Empty(t, out)
	}
}
