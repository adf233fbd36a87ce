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
)

var (
	processes = regexp.MustCompile(`\(process (\d+)\)`)
	balancer  = regexp.MustCompile(`NGINX +http://(\S+) \(configuration: (\S+)\)`)
	zookeeper = regexp.MustCompile(`ZooKeeper (\d\S+:\d+)`)
)

func TestOneCommandRunsItAllAndLeavesNothingBehind(t *testing.T) {
	t.Setenv("ZOOKEEPER_CONNECTION_STRING", "") // the command's own
	cmd := exec.Command("go", "run", ".")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a terminal's Ctrl-C reaches
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	began := time.Now()
	require.NoError(t, cmd.Start())
	stop := time.AfterFunc(3*limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) })
	defer stop.Stop()
	lines := bufio.NewReader(out)
	guide := readGuide(t, lines)
	t.Logf("it stood after %v", time.Since(began).Round(time.Millisecond))
	require.True(t, strings.HasPrefix(guide, demo.Notice+"\n"), "%s", guide)
	require.Regexp(t, `agent +\| .* msg="following the registry" zookeeper=127\.0\.0\.1:\d+ keys=\[/service-discovery/bookService/\]\n`, guide)
	pids := processes.FindAllStringSubmatch(guide, -1)
	require.Len(t, pids, 5, "three nodes, NGINX and its agent: %s", guide)
	at := balancer.FindStringSubmatch(guide)
	write := ask(http.MethodPost, "http://"+at[1]+hello)
	require.True(t, write.ok(), "%+v", write)

	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	_ = cmd.Wait() // go run calls an interrupt a failure, whatever its program makes of it
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

// Whoever sees that it takes long must not have to wait for it.
func TestCommandIsInterruptedWhileItStarts(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("ZOOKEEPER_CONNECTION_STRING", "")
	program, err := demo.Build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	for _, at := range []string{"starting; ", "node-1"} { // while it compiles, and while it waits for its nodes
		p, err := demo.Start("", nil, program)
		require.NoError(t, err)
		t.Cleanup(func() { _ = p.Stop(context.Background()) })
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err = p.Expect(ctx, 0, at)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return hasChild(t, p.PID()) }, limit, time.Millisecond)
		require.NoError(t, syscall.Kill(-p.PID(), syscall.SIGINT))
		require.NoError(t, p.Wait(ctx), "being told to stop is no failure")
		lines := p.Lines()
		require.Equal(t, "stopped; nothing is left running", lines[len(lines)-1])
		left, err := filepath.Glob(filepath.Join(temp, "activepassive-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// hasChild reports whether a process has begun to run another, on systems that tell. What a signal to the whole group does
// earlier is not the command's to answer for: before its first child a Go process makes one that shares its memory, to see
// whether the kernel can (os.checkPidfd), and a signal handler that runs in it breaks the parent.
func hasChild(t *testing.T, pid int) bool {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	for _, list := range lists {
		children, _ := os.ReadFile(list) // its thread may have ended
		for _, child := range strings.Fields(string(children)) {
			if name, _ := os.Readlink("/proc/" + child + "/exe"); filepath.Base(name) != "example.exe" {
				return name != ""
			}
		}
	}
	return len(lists) == 0
}

// readGuide reads what the command prints up to the end of what there is to try.
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
