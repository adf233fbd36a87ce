package machine

import (
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// exploreFor is how long each exploration may take unless MACHINE_EXPLORE says otherwise. What bounds the race detector's
// run is that it finds nothing here that it would not find in a second: all is one goroutine.
func exploreFor(t *testing.T) time.Duration {
	if s := os.Getenv("MACHINE_EXPLORE"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	if raceEnabled {
		return 3 * time.Second
	}
	return 13 * time.Second
}

// Where the random model samples deep histories, this walks all of them: every order in which three candidates'
// requests, answers and notifications can come, with first no fault, then each single one wherever it can strike, then
// each two, until the time is up. A state counts as known if a canonical form of it is (explore_encode_test.go).
func TestNoInterleavingMakesTwoLeadersOrNone(t *testing.T) {
	for name, root := range map[string]func() *world{
		"from nothing":         nobodyYet,
		"from a standing line": func() *world { return atRest(nobodyYet()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &explorer{t: t, root: root(), seen: map[[16]byte]bool{}, end: time.Now().Add(exploreFor(t))}
			x.explore()
			require.Greater(t, len(x.log), 1000, "so few states show nothing")
			require.Positive(t, x.began, "nobody ever led")
		})
	}
}

// explorer is one search, breadth first: by the number of faults, then by the number of steps.
type explorer struct {
	t     *testing.T
	root  *world
	seen  map[[16]byte]bool
	log   []visit
	end   time.Time
	moves int
	began int // states in which somebody believes in a term
	rests int // states that were followed to their rest
}

// visit is how a state was first come to; log[by.from] came before it.
type visit struct {
	from  int
	by    move
	depth int
}

type place struct {
	w *world
	visit
	key [16]byte
}

// Every so many states one is followed to its rest. It is as dear as exploring a few dozen.
const restEvery = 32

func (x *explorer) explore() {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // nearly all that is made is a state to keep
	start := []place{{w: x.root, visit: visit{from: -1}, key: x.root.digest()}}
	for faults := 0; ; faults++ {
		next, deepest, done := x.layer(start)
		if !done {
			x.t.Logf("%d faults: to the depth of %d steps", faults, deepest)
			break
		}
		x.t.Logf("%d faults: all, to the depth of %d steps; %d states so far", faults, deepest, len(x.log))
		start = next
	}
	x.t.Logf("%d states, %d steps; in %d states somebody leads; %d followed to their rest", len(x.log), x.moves, x.began, x.rests)
}

// layer visits all states that take one number of faults, and returns those that take one more.
func (x *explorer) layer(queue []place) (next []place, deepest int, done bool) {
	queue = slices.DeleteFunc(queue, func(p place) bool { return !x.isNew(p.key) })
	more := map[[16]byte]bool{}
	slices.SortStableFunc(queue, func(a, b place) int { return a.depth - b.depth })
	for i := 0; i < len(queue); i++ {
		if time.Now().After(x.end) {
			return nil, deepest, false
		}
		p := queue[i]
		queue[i].w = nil // let it go
		deepest = max(deepest, p.depth)
		x.visit(p)
		id := len(x.log) - 1
		for _, mv := range p.w.moves() {
			q := x.step(p, mv, id)
			if mv.fault() && !x.seen[q.key] && !more[q.key] {
				more[q.key] = true
				next = append(next, q)
			} else if !mv.fault() && x.isNew(q.key) {
				queue = append(queue, q)
			}
		}
	}
	return next, deepest, true
}

func (x *explorer) isNew(key [16]byte) bool {
	old := x.seen[key]
	x.seen[key] = true
	return !old
}

func (x *explorer) visit(p place) {
	x.log = append(x.log, p.visit)
	if slices.ContainsFunc(p.w.all[:], func(c *contender) bool { return c.believes }) {
		x.began++
	}
	if len(x.log)%restEvery == 1 {
		x.rests++
		if bad := atRest(p.w).unrest(); bad != "" {
			x.fail(len(x.log)-1, bad)
		}
	}
}

func (x *explorer) step(p place, mv move, id int) place {
	x.moves++
	w := p.w.after(mv)
	q := place{w: w, visit: visit{from: id, by: mv, depth: p.depth + 1}, key: w.digest()}
	if w.bad != "" {
		x.log = append(x.log, q.visit)
		x.fail(len(x.log)-1, w.bad)
	}
	return q
}

// fail tells the way to a state, which is a shortest one.
func (x *explorer) fail(id int, bad string) {
	var way []string
	for ; x.log[id].from >= 0; id = x.log[id].from {
		way = append(way, x.log[id].by.String())
	}
	slices.Reverse(way)
	require.FailNow(x.t, bad, strings.Join(way, "\n"))
}

// atRest is where a world comes to when nothing fails any more, in a fixed order of events.
func atRest(w *world) *world {
	const far = 400
	for range far {
		moves := slices.DeleteFunc(w.moves(), func(mv move) bool { return mv.fault() || mv.what == lapse })
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
