package zksim_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// recorded returns the answers of a real ZooKeeper to the scenarios.
func recorded(t *testing.T) map[string][]string { return recordedIn(t, "testdata/answers.json") }

func recordedIn(t *testing.T, file string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var out map[string][]string
	require.NoError(t, json.Unmarshal(b, &out))
	return out
}

// simulated plays a scenario on n servers in memory.
func simulated(t *testing.T, sc scenario, n int) (answers []string) {
	inBubble(t, conformant(n), func(t *testing.T, e *zksim.Ensemble) {
		prepare(t, e, sc)
		answers = play(t, sc, site{servers: strings.Split(e.ConnectString(), ","), dial: e.Dialer()})
	})
	return answers
}

// prepare gives the scenario's directory the counter that it has in the real site's
// snapshot.
func prepare(t *testing.T, e *zksim.Ensemble, sc scenario) {
	counter, ok := counters()[sc.dir()]
	if !ok {
		return
	}
	c := client(t, e, "operator", 10*time.Second)
	mustCreate(t, c, sc.dir(), 0)
	c.Close()
	e.SetCversion(sc.dir(), counter)
}

// conformant returns the settings of the real servers in these tests.
func conformant(n int) zksim.Config {
	return zksim.Config{Servers: n, Tick: 500 * time.Millisecond, MaxSession: 10 * time.Minute,
		ContainerCheck: 500 * time.Millisecond, OpenExists: true} // Debian's 3.8.0
}

func TestAnswersAreThoseOfARealZooKeeper(t *testing.T) {
	want := recorded(t)
	require.Len(t, want, len(scenarios()))
	for _, n := range []int{1, 3} {
		for _, sc := range scenarios() {
			t.Run(zksim.ServerName(n)+"/"+sc.name, func(t *testing.T) {
				require.Equal(t, want[sc.name], simulated(t, sc, n))
			})
		}
	}
}
