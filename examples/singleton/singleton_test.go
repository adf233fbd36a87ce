package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// limit bounds a test; starting ZooKeeper may include making its image.
const limit = 6 * time.Minute

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
}

func TestInstanceStoppedBeforeItsTurnLeavesTheLine(t *testing.T) {
	ctx, example := program(t)
	server := zktest.Shared(t)
	waiting := start(t, server.Addr(), example, "-instance", "client_1")
	_, err := waiting.Expect(ctx, 0, "client_1 waits")
	require.NoError(t, err)
	require.NoError(t, waiting.Terminate())
	require.NoError(t, waiting.Wait(ctx), "SIGTERM is no failure")
}

func TestInterruptedRunLeavesNothingBehind(t *testing.T) {
	ctx, example := program(t)
	p := start(t, zktest.Shared(t).Addr(), example)
	_, err := p.Expect(ctx, 0, "leads")
	require.NoError(t, err)
	require.NoError(t, p.Terminate())
	require.Error(t, p.Wait(ctx), "not all have led")
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
