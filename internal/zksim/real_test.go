package zksim_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

var record = flag.Bool("record", false, "write a real ZooKeeper's answers to testdata")

// realOptions gives the real server zksim's settings, a sweep for empty containers that
// is short enough to wait for, and counters near their wrap, which no test could wait
// for.
var realOptions = []zktest.Option{zktest.WithConfig("extendedTypesEnabled", "false"),
	zktest.WithSystemProperty("znode.container.checkIntervalMs", "500"), zktest.WithCounters(counters())}

func realSite(addrs string) site {
	servers := strings.Split(addrs, ",")
	return site{servers, net.DialTimeout, func(t *testing.T) { settle(t, servers) }}
}

var lastZxid = regexp.MustCompile(`Zxid: 0x([0-9a-f]+)`)

// settle waits until the servers have applied what any of them has.
func settle(t *testing.T, servers []string) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	zxid := func(addr string) (uint64, error) {
		text, err := zktest.FourLetterAt(ctx, addr, "srvr")
		if err != nil {
			return 0, err
		}
		found := lastZxid.FindStringSubmatch(text)
		if found == nil {
			return 0, fmt.Errorf("no zxid in %q", text)
		}
		return strconv.ParseUint(found[1], 16, 64)
	}
	var newest uint64
	for _, addr := range servers {
		n, err := zxid(addr)
		require.NoError(t, err)
		newest = max(newest, n)
	}
	for _, addr := range servers {
		require.Eventually(t, func() bool {
			n, err := zxid(addr)
			return err == nil && n >= newest
		}, patience, time.Millisecond)
	}
}

// Both play the scenarios now. Their answers must be equal, and equal to the recorded
// ones.
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
