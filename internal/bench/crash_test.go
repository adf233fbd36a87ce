package bench

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

// lockEnv has this binary wait for a lock instead of testing: see lockMain.
const lockEnv = "BENCH_LOCK"

// lockProgram is a process that waits for go-zookeeper's Lock.
func lockProgram() interop.Program {
	return interop.Program{Recipe: "zk.Lock", Command: func(server string, timeout time.Duration) (*exec.Cmd, error) {
		self, err := os.Executable()
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), lockEnv+"="+server+" "+timeout.String())
		return cmd, err
	}}
}

// lockMain obeys one command, "start ID PATH LINGER", and says when it has the lock.
func lockMain(what string) int {
	server, text, _ := strings.Cut(what, " ")
	timeout, err := time.ParseDuration(text)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	conn, events, err := zk.Connect([]string{server}, timeout, zk.WithLogInfo(false))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for ev := range events {
		if ev.State == zk.StateHasSession {
			break
		}
	}
	fmt.Println(interop.Now(), "-", "ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		go func() {
			if err := zk.NewLock(conn, words[2], zk.WorldACL(zk.PermAll)).Lock(); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(interop.Now(), words[1], "gained")
		}()
	}
	return 0
}

// office is an election with one process that leads, and one that waits.
type office struct {
	*testing.B
	program interop.Program
	server  string
	timeout time.Duration
	path    string
	log     *interop.Log
	eyes    *zk.Conn

	n           int
	leads, next stand
	took        []time.Duration
}

// stand is a process with one participant.
type stand struct {
	*interop.Process
	id string
}

func (o *office) launch() stand {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := interop.Launch(ctx, o.program, o.server, o.timeout, o.log)
	require.NoError(o, err)
	o.Cleanup(func() { p.Close() })
	o.n++
	id := fmt.Sprintf("%s-%d", strings.TrimPrefix(o.path, "/"), o.n)
	before, _, err := o.eyes.Children(o.path)
	if err != nil {
		require.ErrorIs(o, err, zk.ErrNoNode)
	}
	require.NoError(o, p.Start(id, o.path, 0))
	require.Eventually(o, func() bool {
		line, _, err := o.eyes.Children(o.path)
		return err == nil && len(line) == len(before)+1
	}, patience, time.Millisecond)
	return stand{p, id}
}

func (o *office) open() {
	mark := o.log.Len()
	o.leads = o.launch()
	o.gained(mark, o.leads)
	o.next = o.launch()
}

func (o *office) gained(mark int, s stand) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := o.log.Await(ctx, mark, s.id, "gained")
	require.NoError(o, err)
	return e.At
}

// crash kills the leader and measures until the next one leads. It then starts another one, which waits.
func (o *office) crash() {
	// So that the kill does not come at a certain moment between two pings or beats.
	<-time.After(rand.N(o.timeout / 3))
	mark, began := o.log.Len(), interop.Now()
	o.leads.Kill()
	o.took = append(o.took, time.Duration(o.gained(mark, o.next)-began))
	require.NoError(o, o.leads.Close())
	require.Eventually(o, func() bool {
		line, _, err := o.eyes.Children(o.path)
		return err == nil && len(line) == 1
	}, patience, time.Millisecond)
	o.leads, o.next = o.next, o.launch()
}

// BenchmarkCrash kills a process that leads (SIGKILL) and measures the time until the next one leads: with Curator's
// LeaderLatch, go-zookeeper's Lock, our candidates, and ours with fast failover. All take turns on one server. An
// iteration has three kills of each, and takes half a minute to a minute.
func BenchmarkCrash(b *testing.B) {
	require.NoError(b, interop.Require())
	for _, c := range []struct{ tick, timeout time.Duration }{
		{2 * time.Second, 10 * time.Second}, // the defaults of ZooKeeper and of this library
		{500 * time.Millisecond, 4 * time.Second},
	} {
		b.Run(fmt.Sprintf("T=%v/tick=%v", c.timeout, c.tick), func(b *testing.B) { benchmarkCrash(b, c.tick, c.timeout) })
	}
}

func benchmarkCrash(b *testing.B, tick, timeout time.Duration) {
	const rounds = 3
	server := zktest.Start(b, zktest.WithConfig("tickTime", fmt.Sprint(tick.Milliseconds())), zktest.WithConfig("forceSync", "yes"))
	ours := interop.Ours(election.CuratorLatch)
	second, third := ours, ours
	second.Within, third.Within = time.Second, 300*time.Millisecond
	names := []string{"LeaderLatch", "zk.Lock", "ours", "ours-1s", "ours-300ms"}
	var offices []*office
	for i, program := range []interop.Program{interop.Latch, lockProgram(), ours, second, third} {
		o := &office{B: b, program: program, server: server.Addr(), timeout: timeout, path: "/crash-" + names[i],
			log: interop.NewLog(), eyes: dial(b, server.Addr())}
		o.open()
		offices = append(offices, o)
	}
	for b.Loop() {
		for range rounds {
			for _, o := range offices {
				o.crash()
			}
		}
	}

	for i, o := range offices {
		slices.Sort(o.took)
		b.Logf("%s: %d kills, %v at the median, %v to %v", names[i], len(o.took), median(o.took), o.took[0], o.took[len(o.took)-1])
		b.ReportMetric(median(o.took).Seconds(), "s/"+names[i])
	}
}
