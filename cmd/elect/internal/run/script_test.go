//go:build linux

package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zkelection/election"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ZOOKEEPER_CONNECTION_STRING", servers(env.T().(testing.TB)))
			env.Values["client"] = connect(env.T().(testing.TB), env.Getenv("ZOOKEEPER_CONNECTION_STRING"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "candidate": candidate, "line": line, "absent": absent, "forbid": forbid, "stopped": stopped,
		},
	})
}

// bounded is how long a step of a script may take.
func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// code N PROGRAM … runs the program, which has to end with this exit code. stdin, stdout and
// stderr are as with exec.
func code(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := bounded()
	defer cancel()
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.CommandContext(ctx, path, args[2:]...)
	var out, complaints bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), &out, &complaints
	if text, err := os.ReadFile(ts.MkAbs("text")); err == nil {
		cmd.Stdin = bytes.NewReader(text)
	}
	cmd.Env = append(os.Environ(), "ZOOKEEPER_CONNECTION_STRING="+ts.Getenv("ZOOKEEPER_CONNECTION_STRING"))
	for _, name := range []string{"COMP_LINE", "ELECT_SESSION"} { // the first is there only while a shell completes
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	err = cmd.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), complaints.String())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	if got := cmd.ProcessState.ExitCode(); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, not %s\n%s%s", got, args[0], &out, &complaints)
	}
}

func client(ts *testscript.TestScript) *election.Client { return ts.Value("client").(*election.Client) }

// candidate ID PATH makes a candidate.
func candidate(ts *testscript.TestScript, _ bool, args []string) {
	c, err := election.NewCandidate(client(ts), args[1], election.WithID(args[0]))
	ts.Check(err)
	ctx, cancel := bounded()
	defer cancel()
	ts.Check(c.Start(ctx))
}

// line PATH [ID…] checks who is in line.
func line(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := bounded()
	defer cancel()
	all, err := client(ts).Participants(ctx, args[0])
	ts.Check(err)
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	if got := strings.Join(ids, " "); got != strings.Join(args[1:], " ") {
		ts.Fatalf("in line at %s: %s", args[0], got)
	}
}

// absent PATH checks that there is no such znode.
func absent(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := bounded()
	defer cancel()
	ts.Check(client(ts).Do(ctx, func(conn *zk.Conn) error {
		there, _, err := conn.Exists(args[0])
		if err == nil && there {
			err = fmt.Errorf("%s is there", args[0])
		}
		return err
	}))
}

// forbid PATH makes a znode that nobody may use.
func forbid(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := bounded()
	defer cancel()
	ts.Check(client(ts).Do(ctx, func(conn *zk.Conn) error {
		_, err := conn.Create(args[0], nil, 0, zk.WorldACL(zk.PermAdmin))
		return err
	}))
}

// stopped FILE checks that the process with the id in the file is gone.
func stopped(ts *testscript.TestScript, _ bool, args []string) {
	pid := strings.TrimSpace(ts.ReadFile(args[0]))
	if _, err := strconv.Atoi(pid); err != nil {
		ts.Fatalf("%q is no process id", pid)
	}
	if _, err := os.Stat(filepath.Join("/proc", pid)); err == nil {
		ts.Fatalf("process %s is still there", pid)
	}
}
