package shards

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSharesDifferByOneAtMostAndStayWhereTheyAre(t *testing.T) {
	a, b, c := member{"a", 1}, member{"b", 2}, member{"c", 3}
	for _, each := range []struct{ led, want map[member]int }{
		{map[member]int{a: 7, b: 0, c: 0}, map[member]int{a: 3, b: 2, c: 2}},
		{map[member]int{a: 2, b: 2, c: 3}, map[member]int{a: 2, b: 2, c: 3}},
		{map[member]int{a: 3, b: 3, c: 1}, map[member]int{a: 3, b: 2, c: 2}},
		{map[member]int{a: 0, b: 1, c: 1}, map[member]int{a: 0, b: 1, c: 1}},
		{map[member]int{a: 0, b: 2, c: 0}, map[member]int{a: 1, b: 1, c: 0}},
		{map[member]int{}, map[member]int{}},
	} {
		require.Equal(t, each.want, shares(each.led))
	}
}

// All members that have a surplus act on the same picture, each handing over one election, before any of them sees what
// the others do. No hand-over is more than the fewest that there can be.
func TestMembersThatSeeTheSameHandOverAsLittleAsPossible(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		led := map[member]int{}
		for i := range 1 + rng.IntN(8) {
			led[member{fmt.Sprint("p", rng.IntN(3)), int64(i)}] = rng.IntN(2) * rng.IntN(30)
		}
		fewest := 0
		for m, share := range shares(led) {
			fewest += max(led[m]-share, 0)
		}

		moved := 0
		for more := true; more; {
			more = false
			seen := maps.Clone(led)
			for _, m := range slices.SortedFunc(maps.Keys(seen), compareMembers) {
				to, ok := next(seen, m)
				if !ok || rng.IntN(3) == 0 && more {
					continue // some are slower
				}
				require.GreaterOrEqual(t, seen[m]-seen[to], 2, "seed %d: %v gives to %v: %v", seed, m, to, seen)
				led[m]--
				led[to]++
				moved++
				more = true
			}
		}
		counts := slices.Collect(maps.Values(led))
		require.LessOrEqual(t, slices.Max(counts)-slices.Min(counts), 1, "seed %d", seed)
		require.Equal(t, fewest, moved, "seed %d", seed)
	}
}

var epoch = time.Unix(1e9, 0)

func TestABarGrowsWhileItsReasonComesBack(t *testing.T) {
	var b *bar
	var got []int
	now := epoch
	for range 7 {
		b = b.longer(now, 10)
		got = append(got, int(b.last))
		require.True(t, b.holds(now))
		now = now.Add(b.last)
		require.False(t, b.holds(now))
	}
	require.Equal(t, []int{10, 20, 40, 80, 160, 320, 320}, got)
	require.EqualValues(t, 10, b.longer(now.Add(longestBar*10+1), 10).last, "it is forgotten after a while")
}

func TestUnrestEndsAfterFiveSettleTimes(t *testing.T) {
	c := calm{settle: 10}
	require.Zero(t, c.wait(epoch))
	for i := range 4 {
		c.disturb(epoch.Add(time.Duration(10 * i)))
	}
	require.EqualValues(t, 10, c.wait(epoch.Add(30)))
	for i := range 4 {
		c.disturb(epoch.Add(time.Duration(9 * (4 + i))))
	}
	require.EqualValues(t, 1, c.wait(epoch.Add(49)))
	require.Zero(t, c.wait(epoch.Add(50)))
	c.disturb(epoch.Add(60))
	require.EqualValues(t, 10, c.wait(epoch.Add(60)), "that began another one")
}
