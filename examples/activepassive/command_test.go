//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

var (
	processes = regexp.MustCompile(`\(process (\d+)\)`)
	balancer  = regexp.MustCompile(`NGINX +http://(\S+) \(configuration: (\S+)\)`)
	zookeeper = regexp.MustCompile(`ZooKeeper (\d\S+:\d+)`)
)

func TestOneCommandRunsItAllAndLeavesNothingBehind(t *testing.T) {
	zktest.SkipIfShort(t, "NGINX")
	t.Setenv("ZOOKEEPER_CONNECTION_STRING", "") // the command's own
	cmd := exec.Command("go", "run", ".")
	terminal, err := cmd.StdinPipe()
	require.NoError(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in a terminal signals the whole group
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	began := time.Now()
	require.NoError(t, cmd.Start())
	stop := time.AfterFunc(3*limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) })
	defer stop.Stop()
	lines := bufio.NewReader(out)
	guide := readGuide(t, lines)
	t.Logf("it was up after %v", time.Since(began).Round(time.Millisecond))
	require.True(t, strings.HasPrefix(guide, demo.Notice+"\n"), "%s", guide)
	require.Regexp(t, `agent +\| .* msg="following the registry" zookeeper=127\.0\.0\.1:\d+ keys=\[/service-discovery/bookService/\]\n`, guide)
	require.Contains(t, guide, "\ncompiling the node and the agent")
	require.NotContains(t, guide, "[error]", "nothing is wrong")
	require.NotContains(t, guide, "[alert]", "nothing is wrong")
	pids := processes.FindAllStringSubmatch(guide, -1)
	require.Len(t, pids, 5, "three nodes, NGINX and its agent: %s", guide)
	at := balancer.FindStringSubmatch(guide)
	write := ask(http.MethodPost, "http://"+at[1]+hello)
	require.True(t, write.ok(), "%+v", write)

	// Kill a node and bring it back.
	require.NoError(t, syscall.Kill(int(number(t, pids[0][1])), syscall.SIGKILL))
	readUntil(t, lines, "node-1 has ended. Enter brings it back.")
	_, err = io.WriteString(terminal, "\n")
	require.NoError(t, err)
	pids = append(pids, processes.FindStringSubmatch(readUntil(t, lines, "node-1 is back (process ")))

	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	_ = cmd.Wait() // go run reports an interrupt as a failure, whatever the program's exit status
	require.True(t, strings.HasSuffix(string(rest), "stopped; nothing is left running\n"), "%s", rest)
	for _, pid := range pids {
		n, err := strconv.Atoi(pid[1])
		require.NoError(t, err)
		require.ErrorIs(t, syscall.Kill(n, 0), syscall.ESRCH, "process %d", n)
	}
	for _, addr := range []string{at[1], zookeeper.FindStringSubmatch(guide)[1]} {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		require.ErrorIs(t, err, syscall.ECONNREFUSED, addr)
	}
	_, err = os.Stat(filepath.Dir(at[2]))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A user who finds that the start takes too long can stop it.
func TestCommandIsInterruptedWhileItStarts(t *testing.T) {
	zktest.SkipIfShort(t, "NGINX")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("ZOOKEEPER_CONNECTION_STRING", "")
	program, err := demo.Build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	for _, at := range []string{"compiling ", "node-1"} { // while it compiles, and while it waits for its nodes
		p, err := demo.Start("", nil, program)
		require.NoError(t, err)
		t.Cleanup(func() { _ = p.Stop(context.Background()) })
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err = p.Expect(ctx, 0, at)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return hasChild(t, p.PID()) }, limit, time.Millisecond)
		require.NoError(t, syscall.Kill(-p.PID(), syscall.SIGINT))
		require.NoError(t, p.Wait(ctx), "to be stopped by a signal is no failure")
		lines := p.Lines()
		require.Equal(t, "stopped; nothing is left running", lines[len(lines)-1])
		left, err := filepath.Glob(filepath.Join(temp, "activepassive-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// hasChild reports whether a process runs another program, on systems where that can be
// seen. The test must not signal the group earlier: before a Go process starts its first
// child, it makes a process that shares its memory, to see whether the kernel supports
// that (os.checkPidfd), and a signal handler that runs in that process breaks the parent.
func hasChild(t *testing.T, pid int) bool {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, list := range lists {
		children, _ := os.ReadFile(list) // the thread may have ended
		for _, child := range strings.Fields(string(children)) {
			if name, _ := os.Readlink("/proc/" + child + "/exe"); filepath.Base(name) != "example.exe" {
				return name != ""
			}
		}
	}
	return len(lists) == 0
}

// The command says in one line what is missing or wrong, before it compiles or starts
// anything.
func TestCommandNamesWhatIsMissingBeforeItStartsAnything(t *testing.T) {
	zktest.SkipIfShort(t, "NGINX")
	program, err := demo.Build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	unheard, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, unheard.Close())
	for name, c := range map[string]struct{ zookeeper, timeout, want string }{
		"a wrong address":      {"127.0.0.1:zk", "4s", "ZOOKEEPER_CONNECTION_STRING: "},
		"nobody answers there": {unheard.Addr().String(), "4s", "connection refused: set it to a ZooKeeper that runs"},
		"a wrong timeout":      {"", "-1s", "-session-timeout -1s is not positive"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "-session-timeout", c.timeout)
			cmd.Env = append(os.Environ(), "ZOOKEEPER_CONNECTION_STRING="+c.zookeeper)
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), c.want)
			require.Equal(t, 1, strings.Count(string(out), "\n"), "%s", out)
		})
	}
}

// readUntil reads until a line contains text, and returns that line.
func readUntil(t *testing.T, lines *bufio.Reader, text string) string {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "the command ended without %q", text)
		if strings.Contains(line, text) {
			return line
		}
	}
}

// readGuide reads what the command prints, up to the end of the guide.
func readGuide(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := lines.ReadString('\n')
		text.WriteString(line)
		require.NoError(t, err, fmt.Sprint("the command ended early:\n", &text))
		if strings.HasPrefix(line, "Ctrl-C") {
			return text.String()
		}
	}
}
