package zksim_test

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

var record = flag.Bool("record", false, "write a real ZooKeeper's answers to testdata")

// realOptions are the settings that zksim keeps to, a sweep for empty containers that a test can wait for, and counters
// that no test can wait for.
var realOptions = []zktest.Option{zktest.WithConfig("extendedTypesEnabled", "false"),
	zktest.WithSystemProperty("znode.container.checkIntervalMs", "500"), zktest.WithCounters(counters())}

func realSite(addrs string) site { return site{strings.Split(addrs, ","), net.DialTimeout} }

// Both answer here and now, and the record is still what the original says.
func TestRealZooKeeperAnswersAsZksimDoes(t *testing.T) {
	at := realSite(zktest.Start(t, realOptions...).Addr())
	got := make(map[string][]string)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			got[sc.name] = play(t, sc, at)
			require.Equal(t, got[sc.name], simulated(t, sc, 1), "the original's answers, and zksim's")
		})
	}
	if *record {
		b, err := json.MarshalIndent(got, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile("testdata/answers.json", append(b, '\n'), 0o644))
	}
	require.Equal(t, recorded(t), got)
}

func TestRealEnsembleAnswersAsZksimDoes(t *testing.T) {
	at := realSite(zktest.StartEnsemble(t, 3, realOptions...).ConnectString())
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			require.Equal(t, play(t, sc, at), simulated(t, sc, 3), "the original's answers, and zksim's")
		})
	}
}
