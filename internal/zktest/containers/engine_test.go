package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

// envProgram turns the test binary into the program.
const envProgram = "ZKTEST_CONTAINERS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a running program. The test sends it one request at a time.
type program struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

func startProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), envProgram+"=1")
	p.cmd.Stderr = os.Stderr
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.answers = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.in.Close(); _ = p.cmd.Wait() })
	return p
}

func (p *program) ask(method string, params, result any) {
	p.t.Helper()
	require.NoError(p.t, json.NewEncoder(p.in).Encode(map[string]any{"id": 1, "method": method, "params": params}))
	require.True(p.t, p.answers.Scan(), "it ended: %v", p.answers.Err())
	var a struct {
		Result json.RawMessage
		Error  string
	}
	require.NoError(p.t, json.Unmarshal(p.answers.Bytes(), &a))
	require.Empty(p.t, a.Error)
	require.NoError(p.t, json.Unmarshal(a.Result, result))
}

// make makes a container and a network, and returns their IDs.
func (p *program) make() (container, network string) {
	p.t.Helper()
	var made target
	p.ask("create", blueprint{}, &made)
	var net struct{ Network string }
	p.ask("network", map[string]int{"bits": 28}, &net)
	require.NotEmpty(p.t, made.Container)
	require.NotEmpty(p.t, net.Network)
	return made.Container, net.Network
}

// inspect asks the engine whether it has the two.
func inspect(t *testing.T, e *engine, container, network string) (errContainer, errNetwork error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, errContainer = e.cli.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
	_, errNetwork = e.cli.NetworkInspect(ctx, network, client.NetworkInspectOptions{})
	return errContainer, errNetwork
}

func requireEngine(t *testing.T) *engine {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: it needs a Docker engine")
	}
	e, err := connect()
	require.NoError(t, err)
	return e
}

func TestTheEndOfTheInputRemovesWhatIsLeft(t *testing.T) {
	e := requireEngine(t)
	p, other := startProgram(t), startProgram(t)
	container, network := p.make()
	living, livingNetwork := other.make()
	errContainer, errNetwork := inspect(t, e, container, network)
	require.NoError(t, errContainer)
	require.NoError(t, errNetwork)

	require.NoError(t, p.in.Close())
	require.NoError(t, p.cmd.Wait())
	errContainer, errNetwork = inspect(t, e, container, network)
	require.ErrorContains(t, errContainer, "No such container")
	require.ErrorContains(t, errNetwork, "not found")
	errContainer, errNetwork = inspect(t, e, living, livingNetwork)
	require.NoError(t, errContainer, "what another process has made is left alone")
	require.NoError(t, errNetwork)
}

func TestSweepRemovesWhatACrashLeft(t *testing.T) {
	e := requireEngine(t)
	p, other := startProgram(t), startProgram(t)
	container, network := p.make()
	living, livingNetwork := other.make()
	require.NoError(t, p.cmd.Process.Kill())
	require.Error(t, p.cmd.Wait())
	errContainer, errNetwork := inspect(t, e, container, network)
	require.NoError(t, errContainer)
	require.NoError(t, errNetwork)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e.sweep(ctx)
	errContainer, errNetwork = inspect(t, e, container, network)
	require.ErrorContains(t, errContainer, "No such container")
	require.ErrorContains(t, errNetwork, "not found")
	errContainer, errNetwork = inspect(t, e, living, livingNetwork)
	require.NoError(t, errContainer, "the living must be left alone")
	require.NoError(t, errNetwork)
}

func TestOrphanedJudgesOnlyProcessesOfThisMachine(t *testing.T) {
	own := ownerLabels()
	require.False(t, orphaned(own))
	own[labelStart] += "0"
	require.True(t, orphaned(own), "the number was given to another process")
	own[labelMachine] = "elsewhere"
	require.False(t, orphaned(own))
	require.False(t, orphaned(nil))
}

func TestParseLddKeepsSystemLibraries(t *testing.T) {
	const out = `/tmp/jre/bin/java:
	linux-vdso.so.1 (0x00007ffd)
	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f01)
	libjli.so => /tmp/jre/bin/../lib/libjli.so (0x00007f02)
	libjvm.so => not found
	/lib64/ld-linux-x86-64.so.2 (0x00007f03)
/tmp/jre/lib/libnet.so:
	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f04)
`
	require.Equal(t, []string{"/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"}, parseLdd([]byte(out), "/tmp/jre"))
}

func TestPackagesThatCannotBeHadFailWithTheWayOut(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: it needs Debian's apt-get")
	}
	b := &builder{dir: t.TempDir(), release: release{version: "0.0.1", official: "zookeeper:0.0.1", suite: "no-such-suite",
		packages: basePackages}}
	err := b.download(t.Context())
	require.ErrorContains(t, err, "package lists of Debian's suite no-such-suite")
	require.ErrorContains(t, err, "load the image zookeeper:0.0.1 into the Docker engine")
}
