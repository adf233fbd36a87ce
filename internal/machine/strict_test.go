package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// So many random histories are walked, of so many steps each.
const (
	manyWalks   = 2000
	shortWalks  = 300 // with the race detector, which finds nothing in one goroutine, or -short
	strictSteps = 250
)

// deeds lists what can happen by itself, and what is a fault or what somebody wills.
func (w *strictWorld) deeds() (progress, faults []strictDeed) {
	for _, c := range w.all {
		if c.dead {
			if c.proved > 0 {
				progress = append(progress, strictDeed{"lapses", nil, c, w.lapse})
			}
			continue
		}
		progress = append(progress, w.progress(c)...)
		faults = append(faults, w.faults(c)...)
	}
	if w.path {
		faults = append(faults, strictDeed{"deletes the path", nil, w.all[0], func(*ruler) { w.deletePath() }})
	}
	return progress, faults
}

// strictDeed is done by, or to, a candidate; of says what with.
type strictDeed struct {
	name string
	of   any
	c    *ruler
	do   func(*ruler)
}

func (d strictDeed) String() string { return fmt.Sprintf("%d %s %+v", d.c.id, d.name, d.of) }

func (w *strictWorld) progress(c *ruler) (all []strictDeed) {
	add := func(can bool, name string, do func(*ruler)) {
		if can {
			all = append(all, strictDeed{name, nil, c, do})
		}
	}
	add(!c.up && c.m.state != Closed && c.m.started, "connects", w.connect)
	if c.up {
		for i, s := range c.out {
			all = append(all, strictDeed{"is served", s.a, c, func(c *ruler) { w.served(c, i) }})
		}
	}
	for i, it := range c.in {
		if c.early(it) {
			continue
		}
		all = append(all, strictDeed{"hears", it.ev, c, func(c *ruler) { w.deliver(c, i) }})
	}
	proving := slices.ContainsFunc(c.out, func(s sending) bool { _, ok := s.a.(proof); return ok })
	add(c.up && c.beats && !proving && c.proved == 0, "sends a proof", w.sendProof)
	add(c.wait != nil, "has waited", w.waited)
	add(c.paused, "tries again", func(c *ruler) { c.paused = false; w.take(c, Retry{}) })
	add(c.tail != 0, "has its work return", func(c *ruler) {
		n := c.tail
		c.tail = 0
		w.take(c, Stopped{Term: n})
	})
	return all
}

// early reports whether a watch's word has to wait: the driver takes up the watch with the answer that left it.
func (c *ruler) early(it word) bool {
	return slices.ContainsFunc(c.in, func(o word) bool {
		if o.at > it.at {
			return false
		}
		switch it.ev.(type) {
		case AheadStale, AheadGone:
			_, waits := o.ev.(AheadRead)
			return waits
		case RecordStale:
			_, waits := o.ev.(RecordRead)
			return waits
		}
		return false
	})
}

func (w *strictWorld) faults(c *ruler) (all []strictDeed) {
	add := func(can bool, name string, do func(*ruler)) {
		if can {
			all = append(all, strictDeed{name, nil, c, do})
		}
	}
	add(!c.m.started && c.m.state == Idle, "starts", func(c *ruler) { w.take(c, Start{}) })
	add(c.m.started, "withdraws", func(c *ruler) { w.take(c, Withdraw{}) })
	add(c.live, "resigns", func(c *ruler) { w.take(c, Resign{}) })
	add(c.m.node != "", "ticks", func(c *ruler) { w.take(c, Tick{}) })
	add(c.proved > 0, "lapses", w.lapse)
	add(c.up && c.beats, "sends a proof", w.sendProof)
	add(c.up, "is cut off", w.cut)
	add(c.m.cfg.Fast && c.up && c.ahead != "" && c.seen > 0, "finds the one ahead silent", w.silence)
	mine := slices.IndexFunc(w.line, func(n strictNode) bool { return n.maker == c.id })
	add(mine >= 0, "has its znode deleted", func(*ruler) { w.remove(w.line[mine].name) })
	add(c.session != 0 && !c.ended, "has its session ended", func(c *ruler) { c.ended = true; w.end(c.session) })
	add(c.id > 0 && c.live, "hangs for ever", func(c *ruler) { c.dead = true; w.end(c.session) })
	return all
}

func (w *strictWorld) sendProof(c *ruler) { c.out = append(c.out, sending{proof{c.node}, w.now}) }

func (w *strictWorld) served(c *ruler, i int) {
	s := c.out[i]
	c.out = slices.Delete(c.out, i, i+1)
	if ev := w.serve(c, s); ev != nil {
		c.in = append(c.in, word{ev, w.now, s.sent})
	}
}

// waited is the end of a wait: what rests on proofs from before it began to count is over by then.
func (w *strictWorld) waited(c *ruler) {
	for _, o := range w.all {
		w.outlast(o, c.alone)
	}
	a := *c.wait
	c.wait = nil
	w.take(c, Waited{a.NodeGen, a.Version})
}

// silence is the end of one: see waited.
func (w *strictWorld) silence(c *ruler) {
	if i := w.find(c.ahead); i >= 0 {
		w.outlast(w.all[w.line[i].maker], c.seenAt)
	}
	w.take(c, AheadSilent{c.m.nodeGen, c.ahead, c.seen})
}

func (w *strictWorld) connect(c *ruler) {
	if c.ended || c.session == 0 {
		if c.session != 0 {
			w.take(c, Expired{})
		}
		c.session, c.ended = int64(1000*(c.id+1)+w.now), false
	}
	c.up = true
	w.take(c, Online{c.session})
	w.notify(c)
}

// cut breaks the connection. Of the requests under way each second is carried out, and all answers are lost.
func (w *strictWorld) cut(c *ruler) {
	c.up = false
	for i, s := range c.out {
		if (i+w.now)%2 == 0 && !c.ended {
			w.serve(c, s)
		}
		c.in = append(c.in, word{lost(s.a), w.now, s.sent})
	}
	c.out = nil
	w.take(c, Offline{})
}

func (w *strictWorld) deletePath() {
	for _, n := range slices.Clone(w.line) {
		w.remove(n.name)
	}
	w.path, w.version, w.reign, w.left = false, 0, 0, false
}

// faultEvery is how rare faults are among all that happens.
const faultEvery = 14

// step makes one of the deeds that can be made now. In calm there are no faults.
func (w *strictWorld) step(r *rand.Rand, calm bool) (d strictDeed, any bool) {
	all, faults := w.deeds()
	if !calm && (len(all) == 0 || r.IntN(faultEvery) == 0) {
		all = faults
	}
	if len(all) == 0 {
		return strictDeed{}, false
	}
	d = all[r.IntN(len(all))]
	w.now++
	d.do(d.c)
	w.check()
	return d, true
}

func TestNoTwoRulersWhateverIsDeletedAndOneInTheEnd(t *testing.T) {
	walks, terms := manyWalks, 0
	if raceEnabled || testing.Short() {
		walks = shortWalks
	}
	for seed := range uint64(walks) {
		w := walkStrict(seed, nil)
		if w.bad != "" {
			var way []string
			walkStrict(seed, func(d strictDeed) { way = append(way, d.String()) })
			require.FailNow(t, w.bad, "seed %d:\n%s", seed, strings.Join(way, "\n"))
		}
		for _, c := range w.all {
			terms += int(c.m.term)
		}
	}
	require.Greater(t, terms, 2*walks, "so few terms show nothing")
	t.Logf("%d terms in %d walks", terms, walks)
}

// walkStrict walks one history, and then lets all come to rest: one leads if anybody stands.
func walkStrict(seed uint64, tell func(strictDeed)) *strictWorld {
	w, r := newStrictWorld(seed%2 == 1), rand.New(rand.NewPCG(seed, 5))
	step := func(calm bool) bool {
		d, any := w.step(r, calm)
		if any && tell != nil {
			tell(d)
		}
		return any && w.bad == ""
	}
	for i := 0; i < strictSteps && step(false); i++ {
	}
	if w.bad != "" {
		return w
	}
	if tell != nil {
		tell(strictDeed{name: "all faults end", c: w.all[0]})
	}
	w.settle()
	const far = 3000
	for i := 0; step(true); i++ {
		if i > far {
			w.wrong("does not come to rest")
		}
	}
	w.judgeRest()
	return w
}

// settle has all take part and look whether watches were lost.
func (w *strictWorld) settle() {
	for _, c := range w.all {
		if c.dead {
			continue
		}
		if c.ended && c.up {
			w.cut(c)
		}
		w.take(c, Start{})
		w.take(c, Tick{})
	}
}

func (w *strictWorld) judgeRest() {
	leading, standing := 0, 0
	for _, c := range w.all {
		if c.live {
			leading++
		}
		if !c.dead {
			standing++
		}
	}
	if leading != min(1, standing) {
		w.wrong("%d lead, %d stand", leading, standing)
	}
}
