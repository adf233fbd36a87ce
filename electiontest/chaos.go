package electiontest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zkelection/election/internal/zksim"
)

// Chaos runs replicas of a service for hours of virtual time, and causes all faults that the
// library's guarantees cover. It fails the test if two replicas work at once or a token goes
// back. Call it in a synctest bubble, with the bubble's tb:
//
//	synctest.Test(t, func(t *testing.T) {
//		electiontest.Chaos(t, 1, func(ctx context.Context, r *electiontest.Replica) error {
//			return runService(ctx, r.Name(), r.Begin, r.ConnectString(), r.Options()...)
//		}, electiontest.ChaosFor(2*time.Hour))
//	})
//
// service is one process: it connects, works, and returns soon after ctx has ended. If it
// returns before that, Chaos starts it again after a second, as a supervisor does.
//
// # Faults
//
// Replicas are cut off from one server or all, in one direction or both, for a moment or
// until their sessions have expired. They are paused, killed and started again, or stopped
// in good order. Their connections break. Servers crash, freeze, are cut off from each
// other, lag, and have slow disks and slow networks. Replies are lost after their request
// took effect. The servers' clocks may be fast or slow by 9 %. Now and then all faults end
// for about two session timeouts.
//
// Chaos deletes no znode, ends no session by hand, and loses no data, because the library
// does not promise one leader after that. To pause a process, Chaos holds back all that the
// process sends and receives. The process itself goes on, because a part of the test's
// process cannot be stopped.
//
// # What fails the test
//
// The service reports its work by [Replica.Begin], its writes by [Replica.Write], or both.
// The test fails if
//   - work still runs when its term has been over for longer than the grace ([ChaosGrace]).
//     The library can only end a term's context. It cannot hold back the successor of a
//     process that is cut off. So this work would be done twice, even if no other replica
//     has begun to work within that time;
//   - work begins while another replica works, and both lead;
//   - work begins while the work before it still runs, although that replica gave up
//     leadership: it resigned, closed its candidate or was unhealthy. The library then waits
//     for the function under Run and for all holds. So the replica works outside of both, or
//     it closed its client too soon. The grace does not excuse that;
//   - work begins, or a write is reported, with a smaller token than before;
//   - work begins without a term;
//   - the service reports no work and no write from beginning to end;
//   - no replica works when the faults have been over for the time of [ChaosPatience];
//   - a replica has not returned two hours after the end of its context. This is a panic,
//     because neither the test nor its bubble can end before the replica does.
//
// Other overlaps do not fail the test. Work that stops within the grace may run for a moment
// beside the work of its successor: only the token, checked by the resource, closes that
// gap. A service never fails if it ends its work with the term's context, checks its term
// right before each write, and stops its work before it closes its client. A killed replica
// counts as not working, even if its goroutines run until they notice the end of their
// context.
//
// # Replay
//
// The seed alone fixes the faults and their times, and a failure names the seed. The seed
// does not fix which of two things Go's scheduler does first at one instant, or the random
// numbers of the library and the service. So another replica may lead, and a seed that has
// found a mistake may not find it each time: of four wrong services, with ten seeds each and
// three runs of an hour for each seed, 36 of 40 seeds gave the same verdict three times. Play
// several seeds, and play a failed seed more than once.
func Chaos(tb testing.TB, seed uint64, service func(ctx context.Context, r *Replica) error, opts ...ChaosOption) Report {
	tb.Helper()
	all := chaosOptions{length: time.Hour, replicas: 3, grace: 100 * time.Millisecond}
	for _, o := range opts {
		o(&all)
	}
	if problem := all.check(service == nil); problem != "" {
		tb.Fatalf("electiontest: Chaos: %s", problem)
	}
	if !inBubble() {
		tb.Fatalf("electiontest: Chaos: not in a synctest bubble, where hours of faults take hours: see synctest.Test")
	}

	c := newStorm(seed, service, all)
	why, stuck := c.run()
	if why == "" {
		return c.report()
	}
	text := fmt.Sprintf("electiontest: chaos with seed %d: %s\nplay it again: seed %d, go test -run '%s'\n%s",
		seed, why, seed, pattern(tb.Name()), c.tail())
	if stuck {
		panic(text) // an error would be shown when the test ends, and it does not
	}
	tb.Errorf("%s", text)
	return c.report()
}

// ChaosOption changes what [Chaos] does.
type ChaosOption func(*chaosOptions)

type chaosOptions struct {
	length   time.Duration
	replicas int
	servers  int // 0: by the seed
	grace    time.Duration
	patience time.Duration // 0: any
}

// ChaosFor sets how long the Chaos lasts, in virtual time. The default is an hour.
func ChaosFor(d time.Duration) ChaosOption { return func(o *chaosOptions) { o.length = d } }

// ChaosReplicas sets how many replicas the service has. The default is 3.
func ChaosReplicas(n int) ChaosOption { return func(o *chaosOptions) { o.replicas = n } }

// ChaosServers sets how many servers ZooKeeper has. By default it is one, three or five, by
// the seed.
func ChaosServers(n int) ChaosOption { return func(o *chaosOptions) { o.servers = n } }

// ChaosGrace sets how long work may go on after its term's context has ended. The default is
// 100 ms, which suits a service that stops at once, because in a bubble only waits take time.
// Set it to the time that the longest step of the work takes.
func ChaosGrace(d time.Duration) ChaosOption { return func(o *chaosOptions) { o.grace = d } }

// ChaosPatience makes the test fail if no replica works when all faults have been over for d.
// A service that works for as long as it leads needs the session timeout, and some seconds
// to start: 30 s with the default timeout. Default: the test does not check this, because a
// service may do its work once a night.
func ChaosPatience(d time.Duration) ChaosOption { return func(o *chaosOptions) { o.patience = d } }

func (o chaosOptions) check(noService bool) string {
	switch {
	case noService:
		return "the service is nil"
	case o.length <= 0:
		return fmt.Sprintf("ChaosFor: %v is not positive", o.length)
	case o.replicas < 1 || o.replicas > 26:
		return fmt.Sprintf("ChaosReplicas: %d is not from 1 to 26", o.replicas)
	case o.servers < 0 || o.servers > mostServers:
		return fmt.Sprintf("ChaosServers: %d is not from 1 to %d", o.servers, mostServers)
	case o.grace < 0:
		return fmt.Sprintf("ChaosGrace: %v is negative", o.grace)
	case o.patience < 0:
		return fmt.Sprintf("ChaosPatience: %v is negative", o.patience)
	}
	return ""
}

// Report is what a [Chaos] contained.
type Report struct {
	Seed   uint64
	Lasted time.Duration // in virtual time
	Works  int           // that began
	Writes int           // that were reported
	Faults []string      // with their times, which are the same for the same seed
}

// inBubble reports whether the caller is in a synctest bubble. Only the panic of Wait tells.
func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }()
	synctest.Wait()
	return yes
}

// pattern is what selects one test for go test -run.
func pattern(name string) string {
	return "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
}

// storm is one run of [Chaos].
type storm struct {
	chaosOptions
	seed     uint64
	service  func(context.Context, *Replica) error
	r        *rand.Rand // only run's goroutine draws from it, as often whatever happens: so the seed gives the faults
	servers  *Servers
	ledger   *ledger
	began    time.Time
	timeout  time.Duration // the session timeout that faults go by; only run's goroutine uses it
	lasted   time.Duration // from began to the last fault; only run's goroutine uses it
	services sync.WaitGroup

	mu     sync.Mutex // guards the following; nothing else is called under it
	slots  []*slot
	ending bool
	sealed bool // the log ends: what follows a violation does not explain it
	log    []string
	faults []string
}

// slot is a place for one replica. At most one process lives in it, or none for a pause.
type slot struct {
	name    string
	current *Replica
}

const tick = 2 * time.Second // ZooKeeper's default

func newStorm(seed uint64, service func(context.Context, *Replica) error, o chaosOptions) *storm {
	const drift = 0.09
	r := rand.New(rand.NewPCG(seed, 0xc4a05))
	servers, apart := pick(r, 1, 3, 3, 3, 5), pick(r, 0, 0, drift, -drift/(1-drift))
	if o.servers > 0 {
		servers = o.servers
	}
	o.servers = servers
	c := &storm{chaosOptions: o, seed: seed, service: service, r: r, began: time.Now(), timeout: 10 * time.Second,
		servers: serve(zksim.Config{Servers: servers, Tick: tick, Seed: seed, Drift: apart})}
	c.ledger = newLedger(o.grace, c.note)
	for i := range o.replicas {
		c.slots = append(c.slots, &slot{name: string(rune('a' + i))})
	}
	return c
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// run plays the faults. It returns what is wrong, or "", and whether a replica is still there.
func (c *storm) run() (why string, stuck bool) {
	c.note("%d servers, %d replicas", c.chaosOptions.servers, c.replicas)
	for _, s := range c.slots {
		c.launch(s)
	}
	c.sleep(time.Second) // until they are connected, and the session timeout is known
	for time.Since(c.began) < c.length && c.ledger.verdict() == "" && why == "" {
		why = c.round()
	}

	c.lasted = time.Since(c.began)
	c.seal(why != "" || c.ledger.verdict() != "")
	stuck = !c.end()
	begun, writes := c.ledger.counts()
	switch v := c.ledger.verdict(); {
	case v != "":
		why = v
	case why == "" && !stuck && begun+writes == 0:
		why = "the service has reported no work and no write, so nothing was tested: see Replica.Begin"
	}
	if stuck {
		why += fmt.Sprintf("\na replica has not returned %v after the end of its context", lastWait)
	}
	return strings.TrimPrefix(why, "\n"), stuck
}

// round is a time of faults and then a calm time.
func (c *storm) round() (why string) {
	for until := time.Now().Add(time.Duration(5+c.r.IntN(60)) * time.Second); time.Now().Before(until); {
		c.strike()
		if !c.sleep(c.ms(pick(c.r, 300, 2000, 8000))) {
			return ""
		}
	}
	before, _ := c.ledger.counts()
	c.calm()
	calm := max(2*c.timeout+3*tick, c.patience)
	// The whole time, also when somebody works: the times of the faults to come must not
	// depend on that.
	if !c.sleep(calm) || c.patience == 0 {
		return ""
	}
	after, _ := c.ledger.counts()
	if _, works := c.ledger.working(); works || after > before {
		return ""
	}
	return fmt.Sprintf("nobody works %v after the last fault", calm)
}

// sleep lets d pass. It returns false early when there is a violation.
func (c *storm) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ledger.failed:
		return false
	}
}

// launch starts a process in a slot, if there is none and the run goes on.
func (c *storm) launch(s *slot) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Replica{name: s.name, storm: c, cancel: cancel, net: newLines(c.servers.Dialer(s.name)),
		order: rand.New(rand.NewPCG(c.seed, uint64(s.name[0])))}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || s.current != nil {
		cancel()
		return
	}
	s.current = r
	c.services.Go(func() {
		err := c.service(ctx, r)
		c.ledger.leave(r, fmt.Sprintf("returns: %v", err))
		c.exited(s, r)
	})
}

// exited starts a process that has returned again: after a second if nobody told it to end.
// A killed one has left its slot already.
func (c *storm) exited(s *slot, r *Replica) {
	r.cancel()
	r.net.kill()
	c.mu.Lock()
	pause := time.Second
	if r.stopping {
		pause = r.again
	}
	mine := s.current == r
	if mine {
		s.current = nil
	}
	c.mu.Unlock()
	if mine {
		time.AfterFunc(pause, func() { c.launch(s) })
	}
}

// stop tells the process in a slot to end in good order. It is started again some time
// after it has.
func (c *storm) stop(s *slot, again time.Duration) {
	c.mu.Lock()
	r := s.current
	if r != nil {
		r.stopping, r.again = true, again
	}
	c.mu.Unlock()
	if r != nil {
		r.cancel()
	}
}

// kill ends the process in a slot at once. Its goroutines go on until they notice that
// their context has ended, but nothing of it leaves the process any more.
func (c *storm) kill(s *slot, again time.Duration) {
	c.mu.Lock()
	r := s.current
	s.current = nil
	c.mu.Unlock()
	if r == nil {
		return
	}
	r.net.kill()
	c.ledger.leave(r, "is killed")
	r.cancel()
	time.AfterFunc(again, func() { c.launch(s) })
}

// lastWait is how long a replica may take to return at the end. The two hours pass in an
// instant unless it is stuck.
const lastWait = 2 * time.Hour

// end ends all faults, then the service, then the servers. It returns false if a replica
// does not return.
func (c *storm) end() (ended bool) {
	c.note("the end")
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	c.calm()
	for _, s := range c.slots {
		c.stop(s, 0)
	}

	all := make(chan struct{})
	go func() {
		defer close(all)
		c.services.Wait()
	}()
	select {
	case <-all:
		ended = true
	case <-time.After(lastWait):
	}
	c.servers.Close()
	// A bubble must not end before its goroutines. A Connect that was given up closes its
	// client for a second or two more.
	time.Sleep(time.Minute)
	return ended
}

// note adds a line to the log.
func (c *storm) note(format string, args ...any) {
	line := fmt.Sprintf("%10.3fs  ", time.Since(c.began).Seconds()) + fmt.Sprintf(format, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sealed {
		c.log = append(c.log, line)
	}
}

func (c *storm) seal(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = yes
}

// tail returns the end of the log, which is what explains a violation.
func (c *storm) tail() string {
	const most = 80
	c.mu.Lock()
	defer c.mu.Unlock()
	log, head := c.log, fmt.Sprintf("what happened, after %d faults:\n", len(c.faults))
	if earlier := len(log) - most; earlier > 0 {
		head += fmt.Sprintf("  (%d earlier lines)\n", earlier)
		log = log[earlier:]
	}
	return head + strings.Join(log, "\n")
}

func (c *storm) report() Report {
	begun, writes := c.ledger.counts()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Report{Seed: c.seed, Lasted: c.lasted, Works: begun, Writes: writes, Faults: c.faults}
}
