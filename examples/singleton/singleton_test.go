package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
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

// limit bounds a test; starting ZooKeeper may include making its image.
const limit = 6 * time.Minute

// slack bounds what takes a session's end at most, on a machine that is busy with other tests.
const slack = 30 * time.Second

func program(t *testing.T) (context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	path, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	return ctx, path
}

// start runs the example and sees to its end.
func start(t *testing.T, connect, program string, args ...string) *demo.Process {
	t.Helper()
	p, err := demo.Start(connect, nil, program, args...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

// The README's command, on a machine where no ensemble is named.
func TestSixInstancesLeadOneAfterTheOtherWithGoAlone(t *testing.T) {
	t.Parallel() // what it takes is waiting for sessions to end
	allLead(t, "", demo.Notice)
}

// What it is about: crashes, on an ensemble that means it.
func TestSixInstancesLeadOneAfterTheOtherOnThreeRealServers(t *testing.T) {
	t.Parallel()
	zoo := zktest.StartEnsemble(t, 3)
	allLead(t, zoo.ConnectString(), "ZooKeeper is "+zoo.ConnectString()+", as "+demo.Env+" says")
}

// allLead runs the example against the ensemble connect, or its own.
func allLead(t *testing.T, connect, firstLine string) {
	t.Helper()
	ctx, example := program(t)
	p := start(t, connect, example)
	err := p.Wait(ctx)
	output := strings.Join(p.Lines(), "\n")
	t.Log("\n" + output)
	require.NoError(t, err)
	require.Equal(t, firstLine, p.Lines()[0])
	require.Contains(t, output, "All 6 have led, one at a time.")
	requireTable(t, p.Lines())
}

var tableRow = regexp.MustCompile(`^(client_\d) +(\d\d:\d\d:\d\d\.\d{3}) +(\d\d:\d\d:\d\d\.\d{3}) +(0x[0-9a-f]+) +(\S+)$`)

// requireTable compares the table with the lines that the instances logged.
func requireTable(t *testing.T, lines []string) {
	t.Helper()
	var log demo.Journal
	var rows [][]string
	for _, line := range lines {
		log.Take(line)
		if m := tableRow.FindStringSubmatch(line); m != nil {
			rows = append(rows, m[1:])
		}
	}
	reigns := log.Reigns()
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
}

// place is one in the shared server that no other run uses.
func place(t *testing.T, name string) (connect string) {
	t.Helper()
	return fmt.Sprintf("%s/%s-%d", zktest.Shared(t).Addr(), name, time.Now().UnixNano())
}

// observer is a session of the test's own.
func observer(t *testing.T, ctx context.Context, connect string) *election.Client {
	t.Helper()
	client, err := election.Connect(ctx, connect)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// standing waits until those stand, in this order.
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
	ctx, example := program(t)
	connect := place(t, "stopped")
	client := observer(t, ctx, connect)
	holder, err := election.NewCandidate(client, electionPath, election.WithID("holder"))
	require.NoError(t, err)
	term, err := holder.Await(ctx) // so that it is not client_1's turn
	require.NoError(t, err)
	waiting := start(t, connect, example, "-instance", "client_1")
	standing(t, ctx, client, "holder", "client_1")
	require.NoError(t, waiting.Terminate())
	require.NoError(t, waiting.Wait(ctx), "SIGTERM is no failure")
	line, err := client.Participants(ctx, electionPath)
	require.NoError(t, err)
	require.Len(t, line, 1, "its znode is gone with it, not with its session: %v", line)
	require.NoError(t, term.Err())
	require.Len(t, waiting.Lines(), 1, "it has waited, and no more: %q", waiting.Lines())
}

var process = regexp.MustCompile(`(client_\d) waits \(process (\d+)\)`)

func TestInterruptedRunLeavesNothingBehind(t *testing.T) {
	ctx, example := program(t)
	connect := place(t, "interrupted")
	p := start(t, connect, example)
	next, err := 0, error(nil)
	for range instances {
		next, err = p.Expect(ctx, next, " waits (process ")
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
	standing(t, ctx, observer(t, ctx, connect)) // nobody; whoever had tipped over is missed by now
}

// goodLog is that of six leaders in a row, and who was killed.
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
