package sim

import (
	"cmp"
	"context"
	"flag"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkelection/election"
)

var focus = flag.String("sim.focus", "", "play this fault only, by its name")

var oneSeed = flag.Uint64("sim.seed", 0, "play this schedule only")

// virtual is how long a schedule lasts.
const virtual = 10 * time.Minute

func timeoutContext(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// play runs one schedule in virtual time.
func play(t *testing.T, seed uint64, length time.Duration) (total counts) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		for range 2 + w.r.IntN(4) {
			w.join()
		}
		for time.Since(w.began) < length && !w.hasFailed() {
			w.round()
		}
		w.end()
		total = w.counts
	})
	return total
}

// round is a time of faults, and then one of calm in which the promises about its end fall due.
func (w *world) round() {
	until := time.Now().Add(time.Duration(5+w.r.IntN(60)) * time.Second)
	for time.Now().Before(until) && !w.hasFailed() {
		w.strike()
		time.Sleep(w.ms(pick(w.r, 300, 2000, 8000)))
	}
	w.calm()
	w.awaitEnsemble()
	synctest.Wait()
	w.judgeLeader(true)
	w.judgeOrphans()
	time.Sleep(w.timeout + 3*time.Second) // work takes up to three to stop
	synctest.Wait()
	w.judgeLeader(false)
	w.judgeZnodes()
}

// awaitEnsemble returns when the time of G6 is over, counted from when the ensemble was whole: all servers answer, and
// no further election has been held. Until then ZooKeeper itself is still recovering.
func (w *world) awaitEnsemble() {
	const step = 50 * time.Millisecond
	whole, elections := time.Duration(0), w.e.Stats().Elections
	for tries := 0; whole < w.timeout+2*time.Second && tries < 2000; tries++ {
		time.Sleep(step)
		whole += step
		if now := w.e.Stats().Elections; now != elections || !w.allServe() {
			whole, elections = 0, now
		}
	}
}

func (w *world) allServe() bool {
	for id := 1; id <= w.servers; id++ {
		if !w.e.Serving(id) {
			return false
		}
	}
	return true
}

// handedOn reports whether a leader has just left office of its own accord: its successor may still have its lease to
// prove, which takes a renewal's time at most.
func (w *world) handedOn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.resigned) < w.timeout/9
}

// judgeLeader is G6. An ex-leader whose work has not returned is an excuse, at first: nobody leads rather than two.
func (w *world) judgeLeader(first bool) {
	if w.handedOn() {
		time.Sleep(w.timeout / 9)
		synctest.Wait()
	}
	znodes, sessions := w.e.Children(path), w.e.Sessions()
	w.mu.Lock()
	defer w.mu.Unlock()
	var leading, all []string
	var stopping bool
	for _, p := range w.players {
		if p.cand == nil {
			all = append(all, p.name+" is still connecting")
			continue
		}
		st := p.cand.Status()
		all = append(all, st.String())
		stopping = stopping || first && st.State == election.StateStopping
		if st.Leading {
			leading = append(leading, p.name)
		}
	}
	if n := len(leading); n > 1 || n == 0 && !stopping {
		w.fail("G6", "%d lead: %v\n%v\nznodes %v\nsessions %+v", len(leading), leading, all, znodes, sessions)
	}
}

// judgeOrphans is the half of G5 that falls due first: by now no znode stands that nobody owns.
func (w *world) judgeOrphans() {
	have := w.e.Children(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	owned := map[string]bool{}
	for _, p := range w.everyone {
		if p.cand != nil && !p.dead {
			owned[p.cand.Status().Znode] = true
		}
	}
	for _, name := range have {
		if !owned[path+"/"+name] {
			w.fail("G5", "%s is nobody's", name)
		}
	}
}

// judgeZnodes is G5.
func (w *world) judgeZnodes() {
	have := slices.Sorted(slices.Values(w.e.Children(path)))
	w.mu.Lock()
	defer w.mu.Unlock()
	var want []string
	for _, p := range w.players {
		if p.cand != nil {
			if s := p.cand.Status(); s.Znode != "" {
				want = append(want, s.Znode[len(path)+1:])
			} else {
				w.fail("G5", "%s has no znode: %v", p.name, s)
			}
		}
	}
	slices.Sort(want)
	if !slices.Equal(want, have) {
		w.fail("G5", "znodes %v, candidates have %v", have, want)
	}
}

// schedules plays n of them.
func schedules(t *testing.T, n int, first uint64) {
	schedulesUntil(t, first, func(k uint64) bool { return k >= uint64(n) })
}

// schedulesUntil plays schedules on all processors, from a first seed on, and says what was in them.
func schedulesUntil(t *testing.T, first uint64, enough func(uint64) bool) {
	// Every connection of the driver takes buffers of megabytes: collecting them more rarely saves a tenth of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	start := time.Now()
	var next, played atomic.Uint64
	var mu sync.Mutex
	sum := counts{Faults: map[string]int{}}
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					k := next.Add(1) - 1
					if enough(k) {
						return
					}
					played.Add(1)
					c := play(t, first+k, virtual)
					mu.Lock()
					sum.Terms += c.Terms
					for name, k := range c.Faults {
						sum.Faults[name] += k
					}
					mu.Unlock()
				}
			})
		}
	})
	report(t, int(played.Load()), sum, time.Since(start))
}

func report(t *testing.T, played int, sum counts, took time.Duration) {
	all := 0
	for _, name := range slices.Sorted(maps.Keys(sum.Faults)) {
		t.Logf("%8d × %s", sum.Faults[name], name)
		all += sum.Faults[name]
	}
	t.Logf("%d schedules, %v of virtual time in %v: %d faults, %d terms", played,
		time.Duration(played)*virtual, took.Round(time.Second), all, sum.Terms)
}

// count reads a number from the environment.
func count(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of schedules", name, s)
	}
	return n
}

func TestSchedules(t *testing.T) {
	if *oneSeed != 0 {
		play(t, *oneSeed, virtual)
		return
	}
	schedules(t, count(t, "SIM_SCHEDULES", defaultSchedules), uint64(count(t, "SIM_FIRST", 1)))
}

// TestSoak plays schedules for as long as SIM_SOAK says ("1h"), from a seed that the clock gives.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("SIM_SOAK"), "5s"))
	if err != nil {
		t.Fatalf("SIM_SOAK: %v", err)
	}
	stop := time.Now().Add(length)
	first := uint64(time.Now().UnixNano())
	t.Logf("first seed %d", first)
	schedulesUntil(t, first, func(uint64) bool { return time.Now().After(stop) })
}
