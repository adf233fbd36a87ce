package zksim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zksim"
)

// Without clients the scheduler has nothing to decide. (The client library's goroutines
// use Go's random select among things that happen at the same instant, which no seed
// controls.)
func TestSameSeedGivesTheSameRun(t *testing.T) {
	run := func(seed uint64) (story []string) {
		inBubble(t, zksim.Config{Servers: 5, Seed: seed}, func(t *testing.T, e *zksim.Ensemble) {
			r := rand.New(rand.NewPCG(seed, 2))
			for i := range 500 {
				chaos(e, r, []string{"nobody"})
				err := e.Create(fmt.Sprintf("/%d", i), nil)
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				story = append(story, fmt.Sprintf("%d %v %+v", e.Leader(), err, e.Stats()))
			}
		})
		return story
	}
	for seed := range uint64(5) {
		require.Equal(t, run(seed), run(seed))
	}
}
