package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(candidateEnv); text != "" {
		os.Exit(candidateMain(text))
	}
	os.Exit(interop.Main(func() int { return zktest.Main(m) }))
}

// It is long and needs a quiet machine, so it is only run when asked for: CHAOS=2m, or longer.
func TestNoTwoLeadAndNoStaleWriteIsAcceptedWhateverFails(t *testing.T) {
	text := os.Getenv("CHAOS")
	if text == "" {
		t.Skip("minutes of faults on three real servers: CHAOS=2m says for how long")
	}
	zktest.SkipIfShort(t, "three real ZooKeeper servers, and Java with Curator")
	require.NoError(t, interop.RequireJava())
	duration, err := time.ParseDuration(text)
	require.NoError(t, err, "CHAOS")
	o := options{duration: duration, seed: uint64(time.Now().UnixNano()), timeout: 4 * time.Second, within: time.Second,
		dir: t.TempDir(), withJava: true}
	if dir := os.Getenv("CHAOS_OUT"); dir != "" {
		o.dir = dir
	}
	t.Logf("seed %d", o.seed)
	report, err := run(t.Context(), o, t.Output())
	report.print(t.Output())
	require.NoError(t, err)
	require.Empty(t, report.Wrong)
	require.NotEmpty(t, report.Faults)
	require.Greater(t, report.Terms, 2*len(elections), "or the run is about nothing")
	require.NotZero(t, report.Writes)
	require.NotZero(t, report.Refused, "no stale write was tried: the registers were not tested")

	for _, name := range []string{"timeline.jsonl", "timeline.svg", "report.json"} {
		info, err := os.Stat(filepath.Join(o.dir, name))
		require.NoError(t, err)
		require.NotZero(t, info.Size(), name)
	}
}
