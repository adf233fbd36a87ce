package transcripts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zkelection/election"
)

// commands are what scripts may do beside what testscript has.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"candidate": positive(candidate),
	"leave":     positive(leave),
	"znode":     positive(makeZnode),
	"write":     positive(writeZnode),
	"delete":    positive(deleteZnode),
	"forbid":    positive(forbid),
	"counter":   positive(counter),
	"line":      positive(line),
	"absent":    positive(absent),
	"present":   positive(present),
	"network":   positive(network),
	"code":      positive(code),
	"start":     positive(start),
	"until":     positive(untilOutput),
	"interrupt": positive(interrupt),
	"shows":     positive(shows),
	"uses":      positive(uses),
}

// positive is a command that may not be negated.
func positive(f func(ts *testscript.TestScript, w *world, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		ts.Check(f(ts, worldOf(ts), args))
	}
}

// candidate ID PATH [fast=DURATION] [strict] [deaf] [KEY=VALUE…] makes a candidate of this library, and
// waits until it is in line.
func candidate(ts *testscript.TestScript, w *world, args []string) error {
	id, path := args[0], args[1]
	opts, metadata := []election.Option{election.WithID(id)}, map[string]string{}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "fast":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			opts = append(opts, election.WithFastFailover(d))
		case "strict":
			opts = append(opts, election.WithStrictHandover())
		case "deaf":
			opts = append(opts, election.WithoutRequests())
		case "naming":
			opts = append(opts, election.WithNaming(election.Naming(value)))
		default:
			metadata[key] = value
		}
	}
	if len(metadata) > 0 {
		opts = append(opts, election.WithMetadata(metadata))
	}
	client, err := w.client(id)
	if err != nil {
		return err
	}
	c, err := election.NewCandidate(client, path, opts...)
	if err != nil {
		return err
	}
	w.cands[id+" "+path] = c
	ctx, cancel := bounded()
	defer cancel()
	if err := c.Start(ctx); err != nil {
		return err
	}
	if strings.Contains(strings.Join(args, " "), "strict") && len(w.ids(path)) == 1 {
		_, err = c.Await(ctx)
	}
	return err
}

// leave ID PATH has a candidate leave in good order.
func leave(_ *testscript.TestScript, w *world, args []string) error {
	c := w.cands[args[0]+" "+args[1]]
	if c == nil {
		return fmt.Errorf("there is no candidate %s at %s", args[0], args[1])
	}
	ctx, cancel := bounded()
	defer cancel()
	return c.Shutdown(ctx)
}

// znode SESSION FLAGS PATH [DATA] makes a znode as another library does: e is for ephemeral,
// s for sequential, p for neither. Missing parents are made.
func makeZnode(_ *testscript.TestScript, w *world, args []string) error {
	conn, err := w.session(args[0])
	if err != nil {
		return err
	}
	flags := int32(0)
	for _, r := range args[1] {
		flags |= map[rune]int32{'e': zk.FlagEphemeral, 's': zk.FlagSequence, 'p': 0}[r]
	}
	path := args[2]
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if _, err := conn.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
	}
	_, err = conn.Create(path, []byte(strings.Join(args[3:], " ")), flags, zk.WorldACL(zk.PermAll))
	return err
}

// write PATH DATA writes a znode that is there.
func writeZnode(_ *testscript.TestScript, w *world, args []string) error {
	return w.ensemble.Set(args[0], []byte(args[1]))
}

// delete PATH deletes a znode.
func deleteZnode(_ *testscript.TestScript, w *world, args []string) error {
	return w.ensemble.Delete(args[0])
}

// forbid PATH PERMISSIONS leaves everybody only these permissions: r, w, c, d or a.
func forbid(_ *testscript.TestScript, w *world, args []string) error {
	perms := int32(0)
	if len(args) > 1 {
		for _, r := range args[1] {
			perms |= map[rune]int32{'r': zk.PermRead, 'w': zk.PermWrite, 'c': zk.PermCreate, 'd': zk.PermDelete, 'a': zk.PermAdmin}[r]
		}
	}
	return w.ensemble.SetACL(args[0], zk.WorldACL(perms))
}

// counter PATH N sets the counter that the next sequential child gets.
func counter(_ *testscript.TestScript, w *world, args []string) error {
	n, err := strconv.ParseInt(args[1], 10, 32)
	if err == nil {
		w.ensemble.SetCversion(args[0], int32(n))
	}
	return err
}

// line PATH [ID…] waits until these are in line.
func line(_ *testscript.TestScript, w *world, args []string) error {
	return w.awaitLine(args[0], args[1:])
}

// absent PATH waits until there is no such znode.
func absent(_ *testscript.TestScript, w *world, args []string) error {
	if until(func() bool { _, there := w.ensemble.Get(args[0]); return !there }) != nil {
		return fmt.Errorf("%s is there", args[0])
	}
	return nil
}

// present PATH waits until there is such a znode.
func present(_ *testscript.TestScript, w *world, args []string) error {
	if until(func() bool { _, there := w.ensemble.Get(args[0]); return there }) != nil {
		return fmt.Errorf("%s is not there", args[0])
	}
	return nil
}

// network cut|heal takes the network of all commands away, or gives it back.
func network(_ *testscript.TestScript, w *world, args []string) error {
	if args[0] == "cut" {
		w.ensemble.Unplug("tcp")
	} else {
		w.ensemble.Plug("tcp")
	}
	return nil
}

// execute runs elect, and returns its exit code.
func execute(ts *testscript.TestScript, args []string) (stdout, stderr string, code int, err error) {
	path, err := exec.LookPath(binary + "/" + args[0])
	if err != nil {
		return "", "", 0, err
	}
	ctx, cancel := bounded()
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	var out, complaints strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), environment(ts), &out, &complaints
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		code, err = exit.ExitCode(), nil
	}
	return out.String(), complaints.String(), code, err
}

func environment(ts *testscript.TestScript) []string {
	return append(os.Environ(), "ZOOKEEPER_CONNECTION_STRING="+ts.Getenv("ZOOKEEPER_CONNECTION_STRING"), "NO_COLOR=", "TERM=xterm",
		"ELECT_AUTH="+ts.Getenv("ELECT_AUTH"))
}

// code N elect … runs the command, which has to end with this exit code. stdout and stderr
// look at its output.
func code(ts *testscript.TestScript, _ *world, args []string) error {
	stdout, stderr, code, err := execute(ts, args[1:])
	fmt.Fprint(ts.Stdout(), stdout)
	fmt.Fprint(ts.Stderr(), stderr)
	if err == nil && strconv.Itoa(code) != args[0] {
		return fmt.Errorf("exit code %d, not %s\n%s%s", code, args[0], stdout, stderr)
	}
	return err
}

// start NAME elect … starts the command in the background. Its output goes to NAME.out.
func start(ts *testscript.TestScript, w *world, args []string) error {
	return w.start(ts.Getenv("WORK"), environment(ts), args[0], args[1:])
}

// until NAME REGEXP waits until the output of a process matches.
func untilOutput(ts *testscript.TestScript, w *world, args []string) error {
	p := w.processes[args[0]]
	if p == nil {
		return fmt.Errorf("there is no process %s", args[0])
	}
	re, err := regexp.Compile("(?m)" + args[1])
	if err != nil {
		return err
	}
	var text []byte
	if until(func() bool { text, err = os.ReadFile(p.out); return err == nil && re.Match(text) }) != nil {
		return fmt.Errorf("the output of %s does not match %s:\n%s", args[0], re, text)
	}
	return nil
}

// interrupt NAME CODE interrupts a process as Ctrl-C does, and checks its exit code.
func interrupt(_ *testscript.TestScript, w *world, args []string) error {
	code, err := w.end(args[0], syscall.SIGINT)
	if err == nil && strconv.Itoa(code) != args[1] {
		return fmt.Errorf("%s has ended with %d, not %s", args[0], code, args[1])
	}
	return err
}

// uses NAME makes the server that a process has announced the one of the commands that follow.
func uses(ts *testscript.TestScript, w *world, args []string) error {
	text, err := os.ReadFile(w.processes[args[0]].out)
	first, _, _ := strings.Cut(string(text), "\n")
	ts.Setenv("ZOOKEEPER_CONNECTION_STRING", first)
	return err
}
