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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/reign"
)

var focus = flag.String("sim.focus", "", "play this fault only, by its name")

var oneSeed = flag.Uint64("sim.seed", 0, "play this schedule only")

// virtual is how long a schedule lasts in virtual time.
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

// round is a time of faults and then a calm time, in which the guarantees about the end
// of faults are checked.
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
	time.Sleep(w.timeout + 3*time.Second) // work takes up to 3 s to stop
	synctest.Wait()
	w.judgeLeader(false)
	w.judgeZnodes()
	w.judgeRequests()
	w.judgeFollowers()
}

// awaitEnsemble waits for the time of G6. It counts from the moment at which the ensemble
// is whole: all servers answer, and no further election has been held. Until then
// ZooKeeper itself is still recovering.
func (w *world) awaitEnsemble() {
	const step = 50 * time.Millisecond
	bound := w.timeout + 2*time.Second
	if w.strict { // what the next one waits for, which is a third of the timeout at most
		bound += reign.Wait(w.timeout / 3)
	}
	if w.crashedStand() {
		bound = max(bound, w.outlives())
	}
	whole, elections := time.Duration(0), w.e.Stats().Elections
	for tries := 0; whole < bound && tries < 2000; tries++ {
		time.Sleep(step)
		whole += step
		if now := w.e.Stats().Elections; now != elections || !w.allServe() {
			whole, elections = 0, now
		}
	}
}

// crashedStand reports whether the znode of a player that has crashed is still there.
func (w *world) crashedStand() bool {
	have := w.e.Children(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.everyone, func(p *player) bool {
		return p.dead && p.cand != nil && slices.Contains(have, znodeName(p.cand.Status().Znode))
	})
}

func znodeName(full string) string { return full[strings.LastIndexByte(full, '/')+1:] }

// outlives is how long the session of a crashed client may last from the moment on at
// which the ensemble is whole. A server that was frozen may still read what the client
// sent, and passes that touch on up to half a tick later. The leader ends the session on
// one of its ticks. All of that is by the servers' clocks, which may be slow.
func (w *world) outlives() time.Duration {
	return time.Duration(float64(w.timeout+w.tick+w.tick/2)*(1+lag)) + 100*time.Millisecond
}

func (w *world) allServe() bool {
	for id := 1; id <= w.servers; id++ {
		if !w.e.Serving(id) {
			return false
		}
	}
	return true
}

// handedOn reports whether a leader has just resigned or left. Its successor may still
// have to prove its lease, which takes at most the time between two proofs.
func (w *world) handedOn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.resigned) < w.timeout/9
}

// judgeLeader checks G6. At first it excuses a missing leader if the work of the last one
// has not returned: it is better that no one leads than two.
func (w *world) judgeLeader(first bool) {
	for tries := 0; w.handedOn() && tries < 30; tries++ { // the next leader may resign meanwhile
		time.Sleep(w.timeout / 9)
		synctest.Wait()
	}
	znodes, sessions := w.e.Children(path), w.e.Sessions()
	abandoned := w.abandoned()
	w.mu.Lock()
	defer w.mu.Unlock()
	var leading, all []string
	stopping := first && len(abandoned) > 0
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

// judgeOrphans checks the first half of G5: no znode without an owner is left.
func (w *world) judgeOrphans() {
	have := w.e.Children(path)
	owned := w.abandoned()
	w.mu.Lock()
	defer w.mu.Unlock()
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

// judgeZnodes checks G5.
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

// schedules plays n schedules.
func schedules(t *testing.T, n int, first uint64) {
	schedulesUntil(t, first, func(k uint64) bool { return k >= uint64(n) })
}

// schedulesUntil plays schedules on all processors, from a first seed on, and logs what
// they contained.
func schedulesUntil(t *testing.T, first uint64, enough func(uint64) bool) {
	// Each connection of the driver has buffers of megabytes. Collecting garbage less
	// often saves a tenth of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	start := time.Now()
	var next, played atomic.Uint64
	var mu sync.Mutex
	sum := counts{Faults: map[string]int{}}
	var violations []string
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
					if c.Violation != "" {
						violations = append(violations, c.Violation)
					}
					mu.Unlock()
				}
			})
		}
	})
	report(t, int(played.Load()), sum, time.Since(start))
	for _, v := range violations { // again, as the last lines: the schedules' logs are long
		t.Log(v)
	}
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

// count returns a number from the environment.
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

// shortSchedules is how many schedules go test -short plays. The log says so.
const shortSchedules = 20

func TestSchedules(t *testing.T) {
	if *oneSeed != 0 {
		play(t, *oneSeed, virtual)
		return
	}
	n := defaultSchedules
	if testing.Short() {
		n = min(n, shortSchedules)
		t.Logf("-short: %d schedules instead of %d", n, defaultSchedules)
	}
	schedules(t, count(t, "SIM_SCHEDULES", n), uint64(count(t, "SIM_FIRST", 1)))
}

// TestSoak plays schedules for the time in SIM_SOAK ("1h"), from a seed that the clock
// gives.
func TestSoak(t *testing.T) {
	otherwise := "5s"
	if testing.Short() {
		otherwise = "1s"
	}
	length, err := time.ParseDuration(cmp.Or(os.Getenv("SIM_SOAK"), otherwise))
	if err != nil {
		t.Fatalf("SIM_SOAK: %v", err)
	}
	stop := time.Now().Add(length)
	first := uint64(time.Now().UnixNano())
	t.Logf("first seed %d", first)
	schedulesUntil(t, first, func(uint64) bool { return time.Now().After(stop) })
}
