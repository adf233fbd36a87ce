package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election/internal/interop"
)

// options are those of measure.
type options struct {
	out    string // file
	folder string // of the servers' data; empty: a temporary one
	seed   uint64
	rounds int // of hand-overs
	warmup int // rounds before, which do not count
	lines  int // that leave
	inLine int // participants in each of them
	kills  int
	idle   time.Duration
	repeat int    // how often the torture is done
	only   string // names of measures, with commas; empty: all
	beside string // what else runs on the machine
}

// The sessions' timeouts and the servers' ticks. The first are the defaults of ZooKeeper
// and of this library.
var (
	normal = Timing{10 * time.Second, 2 * time.Second}
	short  = Timing{4 * time.Second, 500 * time.Millisecond}
)

// run is a run of measure.
type run struct {
	options
	root     string // folder of all files but the data
	programs programs
	zoo      *zooKeeper
	etcd     *etcdServer
	progress io.Writer
	data     *Data

	mu  sync.Mutex // guards the following
	rng *rand.Rand
	ids int
}

type measureOf struct {
	name string
	do   func(*run, context.Context) error
}

// measures are all that a run does, in this order.
var measures = []measureOf{
	{"rounds", (*run).measureRounds},
	{"lines", (*run).measureLines},
	{"bytes", (*run).measureBytes},
	{"idle", (*run).measureIdle},
	{"crash", (*run).measureCrashes},
	{"torture", (*run).measureTorture},
}

// measure runs all measures and writes the data after each, so that what was measured is
// not lost if a later one fails.
func measure(ctx context.Context, o options, progress io.Writer) (err error) {
	root, err := os.MkdirTemp(o.folder, "sidebyside-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	r := &run{options: o, root: root, progress: progress, data: &Data{}, rng: rand.New(rand.NewPCG(o.seed, 0))}
	if r.programs, err = makePrograms(root); err != nil {
		return err
	}
	if r.data.Made, err = r.describe(root); err != nil {
		return err
	}
	for _, m := range measures {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+m.name+",") {
			continue
		}
		began := time.Now()
		if err := r.with(ctx, m.name, m.do); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(progress, "%s took %v\n", m.name, time.Since(began).Round(time.Second))
		if err := r.data.save(o.out); err != nil {
			return err
		}
	}
	return nil
}

// with starts both servers, calls do and stops them. Torture and crash start their own.
func (r *run) with(ctx context.Context, name string, do func(*run, context.Context) error) (err error) {
	timing := normal
	if name == "torture" {
		timing = short
	}
	stop, err := r.serve(ctx, timing, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if r.data.Made.Versions[0].Version == "" {
		if r.data.Made.Versions[0].Version, err = r.zoo.version(ctx); err != nil {
			return err
		}
	}
	return do(r, ctx)
}

// serve starts both servers without data, or with counters.
func (r *run) serve(ctx context.Context, timing Timing, counters map[string]int32) (stop func() error, err error) {
	folder, err := os.MkdirTemp(r.root, "servers-")
	if err != nil {
		return nil, err
	}
	formerZoo, formerEtcd := r.zoo, r.etcd
	stop = func() error {
		err := errors.Join(r.zoo.stop(), r.etcd.stop(), os.RemoveAll(folder))
		r.zoo, r.etcd = formerZoo, formerEtcd
		return err
	}
	if r.zoo, err = newZooKeeper(folder, timing.Tick, counters); err != nil {
		return nil, err
	}
	if r.etcd, err = newEtcd(folder); err != nil {
		return nil, err
	}
	if err := errors.Join(r.zoo.start(ctx), r.etcd.start(ctx)); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

func (r *run) storeOf(c contender) store {
	if c.etcd {
		return r.etcd
	}
	return r.zoo
}

// id returns a new name for a participant.
func (r *run) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	return fmt.Sprintf("p%d", r.ids)
}

// upTo returns a random duration.
func (r *run) upTo(most time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.rng.Int64N(int64(most)))
}

// shuffled returns contenders in random order.
func (r *run) shuffled(all []contender) []contender {
	r.mu.Lock()
	defer r.mu.Unlock()
	some := make([]contender, len(all))
	for i, j := range r.rng.Perm(len(all)) {
		some[i] = all[j]
	}
	return some
}

// pass lets some time pass.
func pass(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// settle waits until all that a round has prepared is done, such as the watch of the one
// that waits. It is the same for all contenders, because nobody can see the watches of all.
func (r *run) settle(ctx context.Context) {
	pass(ctx, 100*time.Millisecond+r.upTo(50*time.Millisecond))
}

// awaitEntries waits until the election at path has n entries.
func (r *run) awaitEntries(ctx context.Context, s store, path string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return until(ctx, func(ctx context.Context) error {
		all, err := s.entries(ctx, path)
		if err == nil && len(all) != n {
			err = fmt.Errorf("%s has %d entries, not %d", path, len(all), n)
		}
		return err
	})
}

// waiting is how many entries an election has with a leader and n that wait.
func waiting(c contender, n int) int {
	if c.Key == "bare" {
		return 1 // who waits has none
	}
	return 1 + n
}

// pair is two peers of a contender, of which the first will lead.
type pair struct {
	contender
	path        string
	first, next *proc
}

// newPair starts two peers and makes the path of an election.
func (r *run) newPair(ctx context.Context, c contender, what string, timeout time.Duration, behindProxy bool) (*pair, error) {
	p := &pair{contender: c, path: "/" + what + "-" + c.Key}
	s := r.storeOf(c)
	err := s.makePath(ctx, p.path)
	if err == nil {
		p.first, err = r.launch(ctx, c, s, timeout, behindProxy)
	}
	if err == nil {
		p.next, err = r.launch(ctx, c, s, timeout, behindProxy)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) close() error { return errors.Join(p.first.close(), p.next.close()) }

// lead lets the first one enter the election, and returns how long it took to lead.
func (r *run) lead(ctx context.Context, p *pair, limit time.Duration) (leader string, took int64, err error) {
	leader = r.id()
	mark := p.first.log.Len()
	if err := p.first.send("join", leader, p.path); err != nil {
		return leader, 0, err
	}
	e, err := p.first.await(ctx, mark, leader, limit, "leads", "error")
	if err == nil && e.What == "error" {
		err = fmt.Errorf("%s: %s", p.Label, e.Text)
	}
	return leader, e.At - stamp(e), err
}

// stand lets the first one lead, and the next one wait. It returns how long the first one
// took to lead.
func (r *run) stand(ctx context.Context, p *pair) (leader, follower string, took int64, err error) {
	if leader, took, err = r.lead(ctx, p, patience); err != nil {
		return leader, "", 0, err
	}
	if err = r.awaitEntries(ctx, p.first.store, p.path, 1); err != nil {
		return leader, "", 0, err
	}
	follower = r.id()
	if err = p.next.send("join", follower, p.path); err == nil {
		err = r.awaitEntries(ctx, p.first.store, p.path, waiting(p.contender, 1))
	}
	r.settle(ctx)
	return leader, follower, took, err
}

// handOver lets the leader leave, and returns how long it took until the next one led.
func (r *run) handOver(ctx context.Context, p *pair, leader, follower string) (took int64, err error) {
	mark, markNext := p.first.log.Len(), p.next.log.Len()
	if err := p.first.send("leave", leader); err != nil {
		return 0, err
	}
	at, err := p.next.leads(ctx, markNext, follower)
	if err != nil {
		return 0, err
	}
	left, err := p.first.await(ctx, mark, leader, patience, "left")
	return at - stamp(left), err
}

// clear lets the one that leads leave, and changes places.
func (r *run) clear(ctx context.Context, p *pair, leads string) error {
	if err := r.awaitEntries(ctx, p.first.store, p.path, 1); err != nil {
		return err
	}
	mark := p.next.log.Len()
	if err := p.next.send("leave", leads); err != nil {
		return err
	}
	if _, err := p.next.await(ctx, mark, leads, patience, "left"); err != nil {
		return err
	}
	p.first, p.next = p.next, p.first
	return r.awaitEntries(ctx, p.first.store, p.path, 0)
}

// together calls f for each contender at the same time, and returns when all have ended.
func together(all []contender, f func(contender) error) error {
	errs := make([]error, len(all))
	var work sync.WaitGroup
	for i, c := range all {
		work.Go(func() { errs[i] = f(c) })
	}
	work.Wait()
	return errors.Join(errs...)
}

// ms converts nanoseconds.
func ms(nanos int64) float64 { return float64(nanos) / 1e6 }

// since is the time in ms from a moment of this process to an event.
func since(began int64, e interop.Event) *float64 {
	v := ms(e.At - began)
	return &v
}
