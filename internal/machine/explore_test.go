package machine

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const fullExploration = 55 * time.Second

// exploreFor is how long each exploration may take, and how many faults more than it otherwise does: as
// MACHINE_EXPLORE (a duration) and MACHINE_FAULTS (a number) say. What bounds the race detector's run is that it finds
// nothing here that it would not find in a second: each exploration is one goroutine.
func exploreFor(t *testing.T) (d time.Duration, further int) {
	d = fullExploration
	if raceEnabled || testing.Short() {
		d = 3 * time.Second
	}
	var err error
	if s := os.Getenv("MACHINE_EXPLORE"); s != "" {
		d, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	if s := os.Getenv("MACHINE_FAULTS"); s != "" {
		further, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	return d, further
}

// Where the random model samples deep histories, this walks all of them: every order in which three candidates'
// requests, answers and notifications can come, with first no fault, then each single one wherever it can strike, then
// each two. A state counts as known if a canonical form of it is (explore_encode_test.go).
//
// What is walked at least, in whatever time that takes, is some hundred states in one exploration and two thousand in
// the other. How far the rest came, the log says.
func TestExploringEveryInterleavingFindsNoTwoLeadersAndNobodyStuck(t *testing.T) {
	limit, further := exploreFor(t)
	for name, from := range map[string]struct {
		root        func() *world
		least, most int // faults: with so many, all is walked in whatever time; with more than so many, nothing
	}{
		"from nothing":         {func() *world { return nobodyYet(manyAhead) }, 0, 1},
		"from a standing line": {func() *world { return atRest(nobodyYet(manyAhead)) }, 1, 2},
		// The third in line keeps the name of the second only, and lists again when that one is gone.
		"from a standing line of which one name is kept": {func() *world { return atRest(nobodyYet(1)) }, 1, 2},
		// The second in line has just begun to look for lost watches.
		"from a standing line that looks": {func() *world {
			w := atRest(nobodyYet(manyAhead))
			return w.after(move{who: w.nodes[1].maker, what: tick})
		}, 1, 2},
		// These two take half the time each (explore_fast_test.go).
		"from a standing line with fast failover":            {func() *world { return lineWith(0, 1, 2) }, 0, 2},
		"from a standing line of which some can be replaced": {func() *world { return lineWith(1, 2) }, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, limit := from.root(), limit
			if root.fast() {
				limit /= 2
			}
			floor := 500
			if limit >= fullExploration { // a tenth of what a machine of two cores comes to
				floor = 40_000
			}
			x := &explorer{t: t, root: root, least: from.least, most: from.most + further, floor: floor,
				known: map[key]bool{}, begun: time.Now(), end: time.Now().Add(limit)}
			x.explore()
			require.Greater(t, x.states, floor, "so few states show nothing")
			require.Positive(t, x.began, "nobody ever led")
		})
	}
}

type key = [16]byte

// explorer is one search, breadth first: by the number of faults, then by the number of steps.
//
// All states that take the same number of faults are walked twice. The first walk makes no further fault, and need not
// make moves in every order where the order cannot matter (explore_reduce_test.go): it is quick, and shows all that can
// come of the faults so far. The second one makes all moves in every order, to find each state that one more fault can
// strike; the last such walk is made for its other use: both must come to rest in the same states, which holds the first
// to its claim.
type explorer struct {
	t      *testing.T
	root   *world
	least  int
	most   int
	floor  int          // on a slow machine it goes on until it has found so many states
	known  map[key]bool // states from which everything has been walked
	log    []visit
	begun  time.Time
	end    time.Time
	states int
	steps  int
	began  int // states in which somebody believes in a term
}

// visit is how a state was first come to; log[from] came before it.
type visit struct {
	from  int32
	depth int32
	by    move
}

// place is a state that is to be visited. Those that follow a fault are kept as the state that it strikes, which many
// share.
type place struct {
	visit
	w      *world
	struck bool
	key    key
}

func (x *explorer) explore() {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // nearly all that is made is a state to keep
	start := []place{{w: x.root, visit: visit{from: -1}, key: x.root.digest()}}
	for faults := 0; faults <= x.most; faults++ {
		mark := len(x.log)
		quick := x.walk(start, kindOfWalk{reduced: true, patient: faults <= x.least})
		x.states += len(quick.ids)
		x.report(faults, "what comes of them", quick)
		if !quick.done {
			break
		}
		quick.allComeToRest()
		x.log = x.log[:mark] // nothing refers to that walk any more
		full := x.walk(start, kindOfWalk{strikes: faults < x.most, patient: faults < x.least, rests: quick.rests})
		x.report(faults, "in every order", full)
		if !full.done {
			break
		}
		require.Len(x.t, full.rests, len(quick.rests), "the walk in every order has missed something")
		for k := range full.ids {
			x.known[k] = true
		}
		start = full.next
	}
	x.t.Logf("%d states, %d steps; in %d states somebody leads", x.states, x.steps, x.began)
}

func (x *explorer) report(faults int, what string, wk *walk) {
	all := "all"
	if !wk.done {
		all = "the time is up"
	}
	x.t.Logf("%d faults, %s: %d states to the depth of %d steps, %d of them at rest; %s, after %v",
		faults, what, len(wk.ids), wk.deepest, len(wk.rests), all, time.Since(x.begun).Round(time.Millisecond))
}

type kindOfWalk struct {
	reduced bool         // not all orders are walked
	strikes bool         // what takes one fault more is gathered
	patient bool         // the time does not matter
	rests   map[key]bool // what the reduced walk found, for the other to be held against
}

// walk is one walk through the states that take one number of faults.
type walk struct {
	x       *explorer
	kind    kindOfWalk
	first   int32         // where its states begin in the log
	ids     map[key]int32 // of states found, by the order of finding
	queue   []place       // the same states
	edges   []edge        // of a reduced walk
	rests   map[key]bool  // states in which nothing more happens by itself
	sure    []int32       // states that come to rest, as far as is seen at once: they rest, or lead to what is known
	next    []place       // what takes one fault more
	more    map[key]bool  // the same states
	deepest int32
	done    bool
}

// edge is a step between two states of a walk.
type edge struct{ from, to int32 }

// Every so many states one is followed to its rest, for the sake of walks that are not finished. It is as dear as
// exploring a few dozen.
const restEvery = 512

// enough reports whether the walk may end when the time is up.
func (wk *walk) enough() bool {
	states := wk.x.states
	if wk.kind.reduced {
		states += len(wk.ids)
	}
	return states > wk.x.floor
}

func (x *explorer) walk(start []place, kind kindOfWalk) *walk {
	wk := &walk{x: x, kind: kind, first: int32(len(x.log)), ids: map[key]int32{}, rests: map[key]bool{}, more: map[key]bool{}}
	for _, p := range start {
		wk.find(p)
	}
	for i := 0; i < len(wk.queue); i++ {
		if i%64 == 0 && !kind.patient && wk.enough() && time.Now().After(x.end) {
			return wk
		}
		p := wk.queue[i]
		wk.queue[i].w = nil // let it go
		if p.struck {
			p.w = p.w.after(p.by)
		}
		wk.visit(p, int32(i))
	}
	wk.done = true
	return wk
}

// find notes a state as one to be visited unless it has been found before.
func (wk *walk) find(p place) (id int32, here bool) {
	if wk.x.known[p.key] {
		return 0, false
	}
	id, here = wk.ids[p.key]
	if !here {
		id = int32(len(wk.queue))
		wk.ids[p.key] = id
		wk.queue = append(wk.queue, p)
	}
	return id, true
}

func (wk *walk) visit(p place, id int32) {
	x := wk.x
	x.log = append(x.log, p.visit)
	at := int32(len(x.log) - 1)
	wk.deepest = max(wk.deepest, p.depth)
	if wk.kind.reduced && slices.ContainsFunc(p.w.all[:], func(c *contender) bool { return c.believes }) {
		x.began++
	}
	if id%restEvery == 0 {
		x.must(at, atRest(p.w).unrest())
	}
	progress, faults := p.w.moves()
	if len(progress) == 0 {
		wk.rests[p.key] = true
		wk.sure = append(wk.sure, id)
		x.must(at, p.w.unrest())
		if wk.kind.rests != nil && !wk.kind.rests[p.key] {
			x.must(at, "the reduced walk has not found this rest")
		}
	}
	for _, q := range wk.steps(p, at, progress) {
		if to, here := wk.find(q); !here {
			wk.sure = append(wk.sure, id)
		} else if wk.kind.reduced {
			wk.edges = append(wk.edges, edge{id, to})
		}
	}
	if wk.kind.strikes {
		wk.strike(p, at, faults)
	}
}

// steps makes the moves; in a reduced walk, those of one candidate alone if all of them are its private matter.
func (wk *walk) steps(p place, at int32, moves []move) []place {
	var all []place
	for from := 0; from < len(moves); {
		to := from
		for to < len(moves) && moves[to].who == moves[from].who {
			all = append(all, wk.x.step(p, moves[to], at))
			to++
		}
		if own := all[from:to]; wk.kind.reduced && p.w.private(own) {
			return own
		}
		from = to
	}
	return all
}

// strike notes what every fault makes of this state.
func (wk *walk) strike(p place, at int32, faults []move) {
	for _, mv := range faults {
		q := wk.x.step(p, mv, at)
		if !wk.x.known[q.key] && !wk.more[q.key] {
			wk.more[q.key] = true
			q.w, q.struck = p.w, true
			wk.next = append(wk.next, q)
		}
	}
}

func (x *explorer) step(p place, mv move, at int32) place {
	x.steps++
	w := p.w.after(mv)
	q := place{w: w, visit: visit{from: at, by: mv, depth: p.depth + 1}, key: w.digest()}
	if w.bad != "" {
		x.log = append(x.log, q.visit)
		x.must(int32(len(x.log)-1), w.bad)
	}
	return q
}

// must fails unless nothing is bad, and tells the way to the state.
func (x *explorer) must(at int32, bad string) {
	if bad == "" {
		return
	}
	var way []string
	for ; x.log[at].from >= 0; at = x.log[at].from {
		way = append(way, x.log[at].by.String())
	}
	slices.Reverse(way)
	require.FailNow(x.t, bad, strings.Join(way, "\n"))
}

// allComeToRest checks that from every state one of the rests can be reached without a fault. So nobody is stuck, and
// no move that the reduced walk put off is put off for ever. It goes back from the rests.
func (wk *walk) allComeToRest() {
	first := make([]int32, len(wk.queue)+1) // of the edges to a state, once they are in that order
	for _, e := range wk.edges {
		first[e.to+1]++
	}
	for id := range wk.queue {
		first[id+1] += first[id]
	}
	from, next := make([]int32, len(wk.edges)), slices.Clone(first)
	for _, e := range wk.edges {
		from[next[e.to]] = e.from
		next[e.to]++
	}
	rests := make([]bool, len(wk.queue))
	for _, id := range wk.sure {
		rests[id] = true
	}
	for i := 0; i < len(wk.sure); i++ {
		to := wk.sure[i]
		for _, id := range from[first[to]:first[to+1]] {
			if !rests[id] {
				rests[id] = true
				wk.sure = append(wk.sure, id)
			}
		}
	}
	if id := slices.Index(rests, false); id >= 0 {
		wk.x.must(wk.first+int32(id), "this can never come to rest")
	}
}

// atRest is where a world comes to when nothing fails any more, in a fixed order of events.
func atRest(w *world) *world {
	const far = 400
	for range far {
		moves, _ := w.moves()
		moves = slices.DeleteFunc(moves, func(mv move) bool { return mv.what == lapse || mv.what == starve || mv.what == silence })
		if len(moves) == 0 || w.bad != "" {
			return w
		}
		w = w.after(moves[0])
	}
	w.wrong("does not come to rest")
	return w
}

// unrest says what is not as it should be in a world at rest: one leads if anybody stands, everybody else follows, and
// no znode is left of those who were closed.
func (w *world) unrest() string {
	leaders, standing := 0, 0
	for _, c := range w.all {
		switch at := w.find(c.m.node); {
		case c.closed:
			if c.m.state != Closed {
				w.wrong("candidate %d is closed, and comes to rest as %v", c.id, c.m.state)
			}
			continue
		case at < 0:
			w.wrong("candidate %d comes to rest without a znode, as %v", c.id, c.m.state)
		case at == 0 && c.believes && c.m.state == Leading:
			leaders++
		case at == 0 || c.m.state != Following:
			w.wrong("candidate %d has place %d and comes to rest as %v", c.id, at+1, c.m.state)
		}
		standing++
	}
	if leaders != min(1, standing) || len(w.nodes) != standing {
		w.wrong("%d stand, %d lead, and there are %d znodes", standing, leaders, len(w.nodes))
	}
	return w.bad
}
