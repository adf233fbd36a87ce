package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// limit bounds a test. Starting ZooKeeper may include making its image.
const limit = 6 * time.Minute

// electionPath is the path that the program in app uses.
const electionPath = "/testing-leadership"

// slack bounds what takes as long as a session, on a machine that is busy with other
// tests.
const slack = 30 * time.Second

// program compiles the example (".") or the program to take home ("./app").
func program(t *testing.T, dir string) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, dir, t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// start runs a program and ends it with the test.
func start(t *testing.T, connect, program string, args ...string) *demo.Process {
	t.Helper()
	p, err := demo.Start(connect, nil, program, args...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

// Runs the README's command without naming an ensemble.
func TestSixInstancesLeadOneAfterTheOtherWithGoAlone(t *testing.T) {
	zktest.SkipIfShort(t, "half a minute")
	t.Parallel() // what it takes is waiting for sessions to end
	allLead(t, "", demo.Notice)
}

func TestSixInstancesLeadOneAfterTheOtherWithFastFailover(t *testing.T) {
	t.Parallel()
	requireShortGaps(t, allLead(t, "", demo.Notice, "-failover", "1s"))
}

// requireShortGaps requires what needs fast failover. An instance that tips over has proved
// its session within a twelfth of the session timeout before. So without the option no gap
// is as short as most are with it.
func requireShortGaps(t *testing.T, reigns []demo.Reign) {
	t.Helper()
	var gaps []time.Duration
	for i := 1; i < len(reigns); i++ {
		gaps = append(gaps, reigns[i].First.Sub(reigns[i-1].Last))
	}
	slices.Sort(gaps)
	require.Less(t, gaps[len(gaps)/2], sessionTimeout*11/12, "the median of %v", gaps)
}

// The same crashes on a real ensemble.
func TestSixInstancesLeadOneAfterTheOtherOnThreeRealServers(t *testing.T) {
	t.Parallel()
	zoo := zktest.StartEnsemble(t, 3)
	says := func(connect string) string { return "ZooKeeper is " + connect + ", as " + demo.Env + " says" }
	allLead(t, zoo.ConnectString(), says(zoo.ConnectString()))
	fast := zoo.ConnectString() + "/fast"
	requireShortGaps(t, allLead(t, fast, says(fast), "-failover", "1s"))
}

// allLead runs the example on the ensemble connect, or on its own if connect is empty. It
// returns who led when.
func allLead(t *testing.T, connect, firstLine string, args ...string) []demo.Reign {
	t.Helper()
	ctx, example := program(t, ".")
	p := start(t, connect, example, args...)
	err := p.Wait(ctx)
	output := strings.Join(p.Lines(), "\n")
	t.Log("\n" + output)
	require.NoError(t, err)
	require.Equal(t, firstLine, p.Lines()[0])
	require.Contains(t, output, "All 6 have led, one at a time.")
	return requireTable(t, p.Lines())
}

var tableRow = regexp.MustCompile(`^(client_\d) +(\d\d:\d\d:\d\d\.\d{3}) +(\d\d:\d\d:\d\d\.\d{3}) +(0x[0-9a-f]+) +(\S+)$`)

// requireTable compares the table with the lines that the instances logged, and returns
// who led when.
func requireTable(t *testing.T, lines []string) (reigns []demo.Reign) {
	t.Helper()
	var log demo.Journal
	var rows [][]string
	for _, line := range lines {
		log.Take(line)
		if m := tableRow.FindStringSubmatch(line); m != nil {
			rows = append(rows, m[1:])
		}
	}
	reigns = log.Reigns()
	require.Len(t, rows, len(reigns), "a row for each reign")
	led := map[string]bool{}
	for i, r := range reigns {
		const clock = "15:04:05.000"
		gap := "-"
		if i > 0 {
			gap = r.First.Sub(reigns[i-1].Last).Round(time.Millisecond).String()
			require.Positive(t, r.First.Sub(reigns[i-1].Last))
		}
		require.Equal(t, []string{r.Name, r.First.Format(clock), r.Last.Format(clock), fmt.Sprintf("%#x", r.Token), gap}, rows[i])
		led[r.Name] = true
	}
	require.Len(t, led, instances)
	return reigns
}

// place returns a connect string with a chroot in the shared server that no other run
// uses.
func place(t *testing.T, name string) (connect string) {
	t.Helper()
	return fmt.Sprintf("%s/%s-%d", zktest.Shared(t).Addr(), name, time.Now().UnixNano())
}

// observer returns a client for the test itself.
func observer(t *testing.T, ctx context.Context, connect string) *election.Client {
	t.Helper()
	client, err := election.Connect(ctx, connect)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// standing waits until exactly the candidates with these names are in line, in this
// order.
func standing(t *testing.T, ctx context.Context, client *election.Client, names ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		line, err := client.Participants(ctx, electionPath)
		if len(names) > 0 {
			assert.NoError(c, err)
		}
		found := []string{}
		for _, p := range line {
			found = append(found, p.ID)
		}
		assert.Equal(c, append([]string{}, names...), found)
	}, slack, 50*time.Millisecond)
}

func TestInstanceStoppedBeforeItsTurnLeavesTheLine(t *testing.T) {
	ctx, example := program(t, "./app")
	connect := place(t, "stopped")
	client := observer(t, ctx, connect)
	holder, err := election.NewCandidate(client, electionPath, election.WithID("holder"))
	require.NoError(t, err)
	term, err := holder.Await(ctx) // so that client_1 has to wait
	require.NoError(t, err)
	waiting := start(t, connect, example, "-name", "client_1")
	standing(t, ctx, client, "holder", "client_1")
	require.NoError(t, waiting.Terminate())
	require.NoError(t, waiting.Wait(ctx), "SIGTERM is no failure")
	line, err := client.Participants(ctx, electionPath)
	require.NoError(t, err)
	require.Len(t, line, 1, "its znode went when it was stopped, not when its session ended: %v", line)
	require.NoError(t, term.Err())
	require.Len(t, waiting.Lines(), 1, "it has only waited: %q", waiting.Lines())
}

var process = regexp.MustCompile(`(client_\d) waits, process (\d+)`)

func TestInterruptedRunLeavesNothingBehind(t *testing.T) {
	ctx, example := program(t, ".")
	connect := place(t, "interrupted")
	p := start(t, connect, example)
	next, err := 0, error(nil)
	for range instances {
		next, err = p.Expect(ctx, next, " waits, process ")
		require.NoError(t, err)
	}
	_, err = p.Expect(ctx, 0, "leads")
	require.NoError(t, err)
	require.NoError(t, p.Terminate())
	require.Error(t, p.Wait(ctx), "not all have led")

	found := process.FindAllStringSubmatch(strings.Join(p.Lines(), "\n"), -1)
	require.Len(t, found, instances)
	for _, m := range found {
		pid, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		left, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.ErrorIs(t, left.Signal(syscall.Signal(0)), os.ErrProcessDone, "%s is left", m[1])
	}
	standing(t, ctx, observer(t, ctx, connect)) // nobody is left: sessions of instances that tipped over have ended by now
}

// goodLog is the log of six leaders in a row, with the names of those that tipped over.
func goodLog() (log []demo.Reign, killed []string) {
	start := time.Unix(0, 0)
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		from := start.Add(time.Duration(i) * time.Second)
		log = append(log, demo.Reign{Name: name, Token: int64(i + 1), First: from, Last: from.Add(time.Millisecond),
			What: []string{"leads", "tips-over"}})
		killed = append(killed, name)
	}
	return log, killed
}

func TestTableSaysWhoLedWhenWithWhichTokenAndTheGap(t *testing.T) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	require.Equal(t, ""+
		"leader     from           to             token   gap before\n"+
		"client_2   09:00:00.000   09:00:00.300   0x10    -\n"+
		"client_1   09:00:03.500   09:00:03.800   0x1a    3.2s\n",
		table([]demo.Reign{
			{Name: "client_2", Token: 0x10, First: at, Last: at.Add(300 * time.Millisecond)},
			{Name: "client_1", Token: 0x1a, First: at.Add(3500 * time.Millisecond), Last: at.Add(3800 * time.Millisecond)},
		}))
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	log, killed := goodLog()
	require.NoError(t, check(log, killed))
	require.ErrorContains(t, check(log[:5], killed), "f led to the end of its job 0 times")
	require.ErrorContains(t, check(log, killed[:5]), "5 were killed")

	log[5].What = []string{"leads"}
	require.ErrorContains(t, check(log, killed), "f led to the end of its job 0 times")
	log, _ = goodLog()
	log[2].Token = log[1].Token
	require.ErrorContains(t, check(log, killed), "c's token 0x2 is not larger")
}
