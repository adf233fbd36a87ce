//go:build linux

package run_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// page is the documentation of elect run.
const page = "../../../../docs/elect-run.md"

var (
	inConsole = regexp.MustCompile("(?s)\n```console\n(.*?)```")
	uuid      = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// Each session of the page is played in a shell, and has to print what the page shows. It
// has a ZooKeeper of its own.
func TestEachSessionOfThePageIsTrue(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	all := inConsole.FindAllStringSubmatch(string(text), -1)
	require.Len(t, all, 6)
	for i, block := range all {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			play(t, block[1])
		})
	}
}

// play gives the lines that begin with "$ " to a shell, one after another, and waits until
// it has printed those that follow.
func play(t *testing.T, session string) {
	sh := startShell(t)
	steps := strings.Split("\n"+session, "\n$ ")
	require.Empty(t, steps[0], "a session begins with a command")
	for _, step := range steps[1:] {
		command, output, _ := strings.Cut(strings.TrimSuffix(step, "\n")+"\n", "\n")
		sh.run(command, output)
	}
}

// shell is a shell that runs one line after another.
type shell struct {
	t     *testing.T
	input io.Writer
	lines int

	mu     sync.Mutex // guards the following
	output strings.Builder
}

func (s *shell) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

func startShell(t *testing.T) *shell {
	s := &shell{t: t}
	cmd := exec.Command("sh")
	cmd.Env = append(os.Environ(), "ZOOKEEPER_CONNECTION_STRING="+servers(t), "ELECT_SESSION=20s") // a slow machine shall not end a term
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), s, s
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	s.input, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { // twice, so that its jobs end at once
		for range 2 {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // until its jobs have closed their output
	})
	return s
}

// run waits until the line has run and the shell and its jobs have printed this.
func (s *shell) run(line, want string) {
	s.t.Helper()
	s.lines++
	mark := fmt.Sprintf("--%d--\n", s.lines)
	fmt.Fprintf(s.input, "%s\nstatus=$?; printf '%%s\\n' %s; (exit $status)\n", line, strings.TrimSpace(mark))
	var got string
	eventually(s.t, line, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		before, after, ran := strings.Cut(s.output.String(), mark)
		got = uuid.ReplaceAllString(before+after, "{uuid}")
		if ran && got == want {
			s.output.Reset()
		}
		return ran && got == want
	}, func() string { return fmt.Sprintf("want:\n%s\ngot:\n%s", want, got) })
}
