package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// envPlay turns the test binary into a child.
const envPlay = "PROCESS_PLAY"

// patience bounds what a test waits for.
const patience = time.Minute

func TestMain(m *testing.M) {
	switch os.Getenv(envPlay) {
	case "":
		goleak.VerifyTestMain(m)
	case "speaks": // and does not end the last line
		fmt.Print("one\r\ntwo\nthree")
		os.Exit(3)
	case "stays":
		fmt.Println("ready")
		time.Sleep(patience)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(patience)
	}
}

type child struct {
	*Process
	said  Lines
	after bool // written before Done is closed
}

func play(t *testing.T, what string) *child {
	t.Helper()
	c := &child{}
	out := Split(c.said.Add)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPlay+"="+what)
	cmd.Stdout = out
	var err error
	c.Process, err = Start(cmd, out.End, func() { c.after = true })
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Kill(); <-c.Done() })
	return c
}

// until waits for a line and returns the number of the next one.
func (c *child) until(ctx context.Context, from int, line string) (next int, err error) {
	return c.said.Await(ctx, c.Process, from, line, func(said string) bool { return said == line })
}

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryLineIsKeptAndTheLastOneNeedsNoEnd(t *testing.T) {
	c := play(t, "speaks")
	next, err := c.until(within(t, patience), 0, "two")
	require.NoError(t, err)
	require.Equal(t, 2, next)
	next, err = c.until(within(t, patience), next, "three")
	require.NoError(t, err)
	require.Equal(t, 3, next)
	_, err = c.until(within(t, patience), 1, "one")
	require.ErrorContains(t, err, "ended (exit status 3) without one; it printed:\none\ntwo\nthree")

	var exit *exec.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.True(t, c.Ended())
	require.True(t, c.after)
	state, err := c.State()
	require.Equal(t, "exit status 3", state)
	require.ErrorAs(t, err, &exit)
	require.Equal(t, []string{"one", "two", "three"}, c.said.All())
	require.NoError(t, errors.Join(c.Kill(), c.Terminate(), c.Stop(t.Context())), "it has ended already")
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	c := play(t, "stays")
	_, err := c.until(within(t, patience), 0, "ready")
	require.NoError(t, err)
	over := within(t, time.Millisecond)
	_, err = c.until(over, 0, "steady")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "ready", "it tells what was printed instead")
	require.ErrorIs(t, c.Wait(over), context.DeadlineExceeded)
	require.False(t, c.Ended())
}

func TestStopAsksFirstAndKillsAProcessThatDoesNotEnd(t *testing.T) {
	c := play(t, "stays")
	_, err := c.until(within(t, patience), 0, "ready")
	require.NoError(t, err)
	_ = c.Stop(within(t, patience)) // some systems cannot ask
	require.True(t, c.Ended())

	c = play(t, "stubborn")
	_, err = c.until(within(t, patience), 0, "ready")
	require.NoError(t, err)
	err = c.Stop(within(t, 10*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "had to be killed")
	require.True(t, c.Ended())
}

func TestAPausedProcessGoesOn(t *testing.T) {
	c := play(t, "stays")
	if err := c.Pause(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, c.Resume())
	_, err := c.until(within(t, patience), 0, "ready")
	require.NoError(t, err)
}

func TestAProgramThatIsMissingIsNotStarted(t *testing.T) {
	_, err := Start(exec.Command("/no/such/program"), func() { t.Error("it has not ended") })
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestALineMayComeInPieces(t *testing.T) {
	var all []string
	s := Split(func(line string) { all = append(all, line) })
	for _, piece := range []string{"a", "b\nc\n\n", strings.Repeat("d", 100_000), "\n"} {
		n, err := s.Write([]byte(piece))
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
	}
	s.End()
	require.Equal(t, []string{"ab", "c", "", strings.Repeat("d", 100_000)}, all)
}
