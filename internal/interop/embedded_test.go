package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/zktest"
)

// moreJars are the jars that Curator's discovery and zkCli need besides jars. The
// packages of jars depend on their packages.
var moreJars = []string{"curator-x-discovery", "jackson-core", "jackson-databind", "jackson-annotations", "commons-cli", "netty-all"}

// withMoreJars returns a class path of dir and moreJars.
func withMoreJars(t *testing.T, dir string) string {
	t.Helper()
	paths := []string{dir}
	for _, jar := range moreJars {
		path := filepath.Join(javaDir, jar+".jar")
		require.FileExists(t, path, "on Debian: apt-get install libcurator-discovery-java")
		paths = append(paths, path)
	}
	return strings.Join(paths, ":")
}

// embedded returns a ZooKeeper in memory that Java can connect to.
func embedded(t *testing.T) (e *zksim.Ensemble, connect string) {
	t.Helper()
	require.NoError(t, Require())
	e = zksim.New(zksim.Config{})
	t.Cleanup(e.Close)
	connect, err := e.ListenTCP("127.0.0.1:0")
	require.NoError(t, err)
	return e, connect
}

// dialogue is a running program that reads lines and writes lines.
type dialogue struct {
	*process.Process
	t     *testing.T
	stdin io.WriteCloser
	said  process.Lines

	complaints bytes.Buffer // complete when the program has ended
}

// converse starts a program. It ends with the test at the latest.
func converse(t *testing.T, cmd *exec.Cmd) *dialogue {
	t.Helper()
	d := &dialogue{t: t}
	out := process.Split(d.said.Add)
	cmd.Stdout, cmd.Stderr = out, &d.complaints
	var err error
	d.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	d.Process, err = process.Start(cmd, out.End)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = d.Kill()
		<-d.Done()
		if t.Failed() {
			t.Logf("%s\nsaid:\n%s\nand complained:\n%s", cmd, strings.Join(d.said.All(), "\n"), d.complaints.String())
		}
	})
	return d
}

func (d *dialogue) tell(line string) {
	d.t.Helper()
	_, err := io.WriteString(d.stdin, line+"\n")
	require.NoError(d.t, err)
}

// await skips the first from lines and waits until wanted returns true for a line. It
// returns the number of lines up to that one.
func (d *dialogue) await(from int, wanted func(line string) bool, what string) int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	next, err := d.said.Await(ctx, d.Process, from, what, wanted)
	require.NoError(d.t, err)
	return next
}

func (d *dialogue) awaitLine(from int, line string) int {
	d.t.Helper()
	return d.await(from, func(said string) bool { return said == line }, line)
}

// end closes the program's input and waits until the program has ended.
func (d *dialogue) end() {
	d.t.Helper()
	require.NoError(d.t, d.stdin.Close())
	select {
	case <-d.Done():
	case <-time.After(patience):
		require.FailNow(d.t, "the program does not end")
	}
}

// This is the discovery of the example activepassive. Curator watches its own instance,
// and its cache watches all instances, with persistent watches.
func TestCuratorsDiscoveryWatchesInstancesOnTheEmbeddedServer(t *testing.T) {
	zktest.SkipIfShort(t, "a JDK and Curator")
	e, connect := embedded(t)
	const base = "/services"
	const self, other = base + "/books/self", base + "/books/other"
	classes := t.TempDir()
	path := withMoreJars(t, classes)
	out, err := exec.Command("javac", "-proc:none", "-cp", path+":"+classPath(), "-d", classes, "testdata/ServiceWatch.java").CombinedOutput()
	require.NoError(t, err, "%s", out)
	d := converse(t, Java(path, "ServiceWatch", connect, base))
	at := d.awaitLine(0, "self=first")

	// Others change the registry.
	own, ok := e.Get(self)
	require.True(t, ok)
	like := func(id, payload string) []byte {
		return []byte(strings.NewReplacer(`"id":"self"`, `"id":"`+id+`"`, `"payload":"first"`, `"payload":"`+payload+`"`).Replace(string(own.Data)))
	}
	require.NoError(t, e.Create(other, like("other", "one")))
	at = d.awaitLine(at, "other=one self=first")
	require.NoError(t, e.Set(other, like("other", "two")))
	at = d.awaitLine(at, "other=two self=first")
	require.NoError(t, e.Delete(other))
	at = d.awaitLine(at, "self=first")

	// The connection breaks, and afterwards the watches are set again. Curator then
	// removes its instance and creates it again.
	answers := answered(e)
	e.Crash(1)
	e.Restart(1)
	within(t, func() bool { return answers(jute.OpSetWatches2, "") == 1 }, "watches are set again")
	within(t, func() bool { return answers(jute.OpCreate2, self) == 1 }, "registered again")
	require.NoError(t, e.Create(other, like("other", "three")))
	at = d.awaitLine(at, "other=three self=first")

	// If an instance was changed from outside, Curator registers the changed instance
	// after the session has expired. Two parts of Curator read the change: the cache, and
	// the watch of its own instance.
	before := answers(jute.OpGetData, self)
	require.NoError(t, e.Set(self, like("self", "second")))
	at = d.awaitLine(at, "other=three self=second")
	within(t, func() bool { return answers(jute.OpGetData, self) >= before+2 }, "read by both")
	require.True(t, e.ExpireSession(own.Stat.EphemeralOwner))
	within(t, func() bool {
		now, ok := e.Get(self)
		return ok && now.Stat.EphemeralOwner != own.Stat.EphemeralOwner && bytes.Equal(now.Data, like("self", "second"))
	}, "registered by the next session, as it was changed")
	require.NoError(t, e.Set(other, like("other", "four")))
	d.awaitLine(at, "other=four self=second")

	d.end()
	_, ok = e.Get(self)
	require.False(t, ok, "it has deregistered")
}

// answered returns a function that counts the server's answers without error from now on,
// by operation and path.
func answered(e *zksim.Ensemble) (answers func(op jute.Op, path string) int) {
	type what struct {
		op   jute.Op
		path string
	}
	var mu sync.Mutex
	count := make(map[what]int)
	e.OnReply(func(r zksim.Reply) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Code == jute.CodeOK {
			count[what{r.Op, r.Path}]++
		}
		return false
	})
	return func(op jute.Op, path string) int {
		mu.Lock()
		defer mu.Unlock()
		return count[what{op, path}]
	}
}

// within waits for a state of the server of which there is no event.
func within(t *testing.T, done func() bool, what string) {
	t.Helper()
	require.Eventually(t, done, patience, 10*time.Millisecond, what)
}

// zkCliSession is what is typed, and zkCliLast is the last event that it causes. Standard
// and persistent watches are on different nodes, because ZooKeeper 3.8 has only one mode
// for the watches of a client on a node.
var zkCliSession = []string{
	"create /a", "create /a/b data", "create -e /a/e", "create -s /a/s", "create -c /a/c", "create -t 1000 /a/t", "ls -R /", "ls -s /a",
	"get -w /a/b", "set /a/b x", "set /a/b y", "stat -w /a/e", "ls -w /a/c", "create /a/c/kid",
	"create /p", "addWatch -m PERSISTENT /p", "set /p x", "create /p/kid", "set /p/kid y", "delete /p/kid",
	"create /r", "addWatch -m PERSISTENT_RECURSIVE /r", "set /r x", "create /r/kid", "set /r/kid y", "delete /r/kid",
	"getEphemerals", "getEphemerals /a", "getEphemerals /p", "getAllChildrenNumber /", "getAllChildrenNumber /a", "getAllChildrenNumber /none",
	"whoami", "addauth digest bob:secret", "whoami", "getAcl -s /a", "setAcl /a/s0000000002 auth::r", "getAcl /a/s0000000002",
	"removewatches /a/e", "removewatches /p", "removewatches /r", "removewatches /none", "set /p x", "set /r x",
	"sync /a", "reconfig -remove 3", "delete /a", "delete /a/b", "deleteall /a", "ls /", "ls /none", "stat /a",
	"create /last", "get -w /last", "set /last x",
}

const zkCliLast = "WatchedEvent state:SyncConnected type:NodeDataChanged path:/last"

// zkCli prints the same on the embedded server as on a real one.
func TestZkCliOnTheEmbeddedServerSaysWhatItSaysOnARealOne(t *testing.T) {
	zktest.SkipIfShort(t, "a JDK, and a real ZooKeeper")
	_, connect := embedded(t)
	here := typed(t, connect)
	require.Contains(t, here.answers, "[/a/e]", "ephemerals")
	require.Contains(t, here.errors, "Created /a/c/kid")
	require.Contains(t, here.events, "WatchedEvent state:SyncConnected type:NodeDeleted path:/r/kid")
	require.Equal(t, typed(t, zktest.Start(t, zktest.WithConfig("extendedTypesEnabled", "false")).Addr()), here)
}

// transcript is what zkCli prints. Events come on a thread of their own, so their order
// among the answers does not count.
type transcript struct{ answers, events, errors []string }

func typed(t *testing.T, connect string) (said transcript) {
	t.Helper()
	// zkCli may or may not log the end of a connection. So the log is off, by an option
	// before the class.
	d := converse(t, Java(withMoreJars(t, t.TempDir()), "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
		"org.apache.zookeeper.ZooKeeperMain", "-server", connect))
	for _, line := range zkCliSession {
		d.tell(line)
	}
	d.awaitLine(0, zkCliLast)
	d.tell("quit")
	d.end()
	for _, line := range d.said.All() {
		switch line = varying(line); {
		case line == "", line == "WATCHER::", strings.HasPrefix(line, "Connecting to"):
		case strings.HasPrefix(line, "WatchedEvent state:Closed"): // may or may not come in time
		case strings.HasPrefix(line, "WatchedEvent"):
			said.events = append(said.events, line)
		default:
			said.answers = append(said.answers, line)
		}
	}
	for line := range strings.Lines(d.complaints.String()) {
		said.errors = append(said.errors, strings.TrimSpace(line))
	}
	return said
}

var (
	times     = regexp.MustCompile(`^([cm]time) = .*`)
	zxids     = regexp.MustCompile(`^([cmp]Zxid) = 0x([0-9a-f]+)$`)
	sessions  = regexp.MustCompile(`^ephemeralOwner = 0x[0-9a-f]{2,}`)
	addresses = regexp.MustCompile(`^ip: .*`)
)

// varying leaves out what differs between any two runs. Of a zxid that is the epoch,
// which is its upper half.
func varying(line string) string {
	if zxid := zxids.FindStringSubmatch(line); zxid != nil {
		n, _ := strconv.ParseUint(zxid[2], 16, 64)
		return fmt.Sprint(zxid[1], " ", uint32(n))
	}
	line = times.ReplaceAllString(line, "$1")
	line = sessions.ReplaceAllString(line, "ephemeralOwner = somebody")
	return addresses.ReplaceAllString(line, "ip")
}
