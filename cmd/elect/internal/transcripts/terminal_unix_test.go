//go:build unix

package transcripts

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// screen is what a command has written to its terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// onTerminal runs elect line on a terminal of its own. It returns when the screen is as it
// should be.
func onTerminal(t *testing.T, ts *testscript.TestScript, enough func(string) bool, env string, args ...string) string {
	cmd := exec.Command(filepath.Join(binary, "elect"), append([]string{"line", "/jobs/nightly"}, args...)...)
	cmd.Env = append(append(os.Environ(), "ZOOKEEPER_CONNECTION_STRING="+ts.Getenv("SERVER"), "NO_COLOR=", "TERM=xterm"), env)
	terminal, err := pty.Start(cmd)
	require.NoError(t, err)
	defer terminal.Close()
	var s screen
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&s, terminal) // ends with an error when the command ends
	}()
	waited := until(func() bool { return enough(s.String()) })
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	<-read
	require.NoError(t, waited, "the screen shows %q", s.String())
	return s.String()
}

func TestColoursAndTheLiveViewAreForTerminalsOnly(t *testing.T) {
	p := params()
	p.Files = []string{filepath.Join("testdata", "terminal", "line.txtar")}
	p.Cmds["terminal"] = positive(func(ts *testscript.TestScript, _ *world, _ []string) error {
		ended := func(s string) bool { return bytes.Contains([]byte(s), []byte("second")) }
		require.Contains(t, onTerminal(t, ts, ended, ""), "\x1b[32mfirst   a ")
		require.NotContains(t, onTerminal(t, ts, ended, "NO_COLOR=1"), "\x1b[")
		require.NotContains(t, onTerminal(t, ts, ended, "TERM=dumb"), "\x1b[")

		// It is drawn again each second, for the ages.
		thrice := func(s string) bool { return bytes.Count([]byte(s), []byte("\x1b[H\x1b[2J")) >= 3 }
		require.Contains(t, onTerminal(t, ts, thrice, "", "--watch"), "\x1b[32mfirst   a ")
		return nil
	})
	testscript.Run(t, p)
}
