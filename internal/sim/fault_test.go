package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// fault is one fault of the ensemble, the network, or the candidates.
type fault struct {
	name string
	do   func(w *world)
}

// Faults that a mutation needs alone, as values of -sim.focus.
const (
	falseExpiry = "false expiry"
	slowQuorum  = "slow quorum"
	wakeCutOff  = "wake cut off"
	grantedLess = "granted less"
)

var faults = []fault{
	{"cut client from server", func(w *world) { w.e.Cut(w.someone(), w.server()) }},
	{"cut client from all", func(w *world) { w.pause() }},
	{"cut to client", func(w *world) { w.e.CutOneWay(w.server(), w.someone()) }},
	{"cut from client", func(w *world) { w.e.CutOneWay(w.someone(), w.server()) }},
	{"cut servers", func(w *world) { w.e.Cut(w.server(), w.server()) }},
	{"cut servers one way", func(w *world) { w.e.CutOneWay(w.server(), w.server()) }},
	{"isolate server", func(w *world) { w.e.Isolate(w.id()) }},
	{"isolate leader", func(w *world) {
		if id := w.e.Leader(); id != 0 {
			w.e.Isolate(id)
		}
	}},
	{"isolate the leading candidate's server", func(w *world) { w.isolateLeaders() }},
	{"isolate the leading candidate's server", func(w *world) { w.isolateLeaders() }},
	{"pause the leading candidate", func(w *world) { w.pauseLeader() }},
	{"pause the leading candidate", func(w *world) { w.pauseLeader() }},
	{"crash server", func(w *world) { w.e.Crash(w.id()) }},
	{"restart server", func(w *world) { w.e.Restart(w.id()) }},
	{"restart server", func(w *world) { w.e.Restart(w.id()) }},
	{"freeze server", func(w *world) { w.e.Freeze(w.id()) }},
	{"thaw server", func(w *world) { w.e.Thaw(w.id()) }},
	{"thaw server", func(w *world) { w.e.Thaw(w.id()) }},
	{"heal network", func(w *world) { w.heal() }},
	{"heal network", func(w *world) { w.heal() }},
	{"delay client", func(w *world) { w.e.Delay(w.someone(), w.server(), 0, w.ms(500)) }},
	{"delay servers", func(w *world) { w.e.Delay(w.server(), w.server(), 0, w.ms(500)) }},
	{"lag", func(w *world) { w.e.Lag(w.id(), 0, w.ms(3000)) }},
	{"slow disk", func(w *world) { w.e.SlowDisk(w.id(), 0, w.ms(1000)) }},
	{"greet slowly", func(w *world) { w.e.GreetSlowly(w.id(), 0, w.ms(6000)) }},
	{"lose a reply", func(w *world) { w.loseReply() }},
	{"lose a reply", func(w *world) { w.loseReply() }},
	{"overload", func(w *world) { w.overload() }},
	{"reset connection", func(w *world) { pick(w.r, w.players...).reset() }},
	{"expire session", func(w *world) { w.expire() }},
	{"delete znode", func(w *world) { w.deleteOne() }},
	{"delete path", func(w *world) { w.deleteAll() }},
	{"lose all data", func(w *world) { w.wipe() }},
	{"greet a client and never serve it", func(w *world) { w.mute() }},
	{falseExpiry, func(w *world) { w.falseExpiry() }},
	{slowQuorum, func(w *world) { w.slowQuorum() }},
	{wakeCutOff, func(w *world) { w.wakeCutOff() }},
	{grantedLess, func(w *world) { w.grantedLess() }},
	{"grant", func(w *world) { w.e.Grant(w.timeout / time.Duration(1<<w.r.IntN(4))) }},
	{"leader's pings stall", func(w *world) { w.stallPings() }},
	{"resign", func(w *world) { w.resign() }},
	{"candidate leaves", func(w *world) { w.swap() }},
	{"candidate leaves", func(w *world) { w.swap() }},
}

// strike makes one fault happen.
func (w *world) strike() {
	f := pick(w.r, faults...)
	if i := slices.IndexFunc(faults, func(f fault) bool { return f.name == *focus }); i >= 0 {
		f = faults[i]
	}
	if w.spares(f) {
		return
	}
	if w.operated && w.r.IntN(5) == 0 {
		f = pick(w.r, operators...)
	}
	w.note("%s", f.name)
	w.counts.Faults[f.name]++
	w.setStruck(true)
	f.do(w)
}

// spares reports whether a fault does not happen in this world. If the record of the last
// reign goes with the path, its successor waits by its own session timeout (see package
// reign). So all candidates must have the same.
func (w *world) spares(f fault) bool {
	switch f.name {
	case "grant", grantedLess:
		return w.strict && w.oneTimeout
	case "delete path", "lose all data":
		return w.strict && !w.oneTimeout
	}
	return false
}

func (w *world) id() int                { return 1 + w.r.IntN(w.servers) }
func (w *world) server() string         { return zksim.ServerName(w.id()) }
func (w *world) someone() string        { return pick(w.r, w.players...).name }
func (w *world) ms(n int) time.Duration { return time.Duration(w.r.IntN(n)) * time.Millisecond }

// pause imitates the pause of a process in virtual time. Nothing comes in or goes out for
// part of a session timeout, or a little more, and then everything that was on its way
// arrives.
func (w *world) pause() {
	w.freeze(pick(w.r, w.players...), w.timeout/20*time.Duration(1+w.r.IntN(25)))
}

// pauseLeader pauses the candidate that led last for the most dangerous time: its
// connection just survives the pause, and its session is about to end.
func (w *world) pauseLeader() {
	if p := w.leading(); p != nil {
		w.freeze(p, w.timeout*time.Duration(500+w.r.IntN(180))/1000)
	}
}

// wakeCutOff pauses the candidate that led last for about as long as its connection
// survives, and cuts its server off from the others right after the candidate has woken
// up. Its proof is then answered, perhaps one that has waited all that time. But no touch
// of its session is passed on any more, so the newest touch that the ensemble's leader
// has received is as old as possible.
func (w *world) wakeCutOff() {
	p := w.leading()
	if p == nil {
		return
	}
	pause := w.timeout * time.Duration(600+w.r.IntN(66)) / 1000
	w.freeze(p, pause)
	time.Sleep(pause + w.ms(int(w.tick/time.Millisecond/2)))
	w.isolateLeaders()
	time.Sleep(2 * w.timeout)
	w.heal()
}

// isolateLeaders cuts off the server of the candidate that led last from the other
// servers. The server goes on answering its clients.
func (w *world) isolateLeaders() {
	p := w.leading()
	if p == nil {
		return
	}
	id := p.cand.Status().SessionID
	for _, s := range w.e.Sessions() {
		if s.ID == id && s.Server != 0 {
			w.e.Isolate(s.Server)
		}
	}
}

func (w *world) leading() *player {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader == nil || !slices.Contains(w.players, w.leader) {
		return nil
	}
	return w.leader
}

func (w *world) freeze(p *player, d time.Duration) {
	for id := 1; id <= w.servers; id++ {
		w.e.Cut(p.name, zksim.ServerName(id))
	}
	time.AfterFunc(d, func() {
		for id := 1; id <= w.servers && !w.isDead(p); id++ {
			w.e.Heal(p.name, zksim.ServerName(id))
		}
		if w.isDead(p) { // perhaps only since the last look
			w.cutOff(p)
		}
	})
}

func (w *world) isDead(p *player) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return p.dead
}

// heal undoes all cuts, except for players that have crashed. Those stay cut off all the
// time: what waits in the network would else revive them.
func (w *world) heal() {
	w.mu.Lock()
	var dead []string
	for _, p := range w.everyone {
		if p.dead {
			dead = append(dead, p.name)
		}
	}
	w.mu.Unlock()
	w.e.HealAll(dead...)
}

// calm ends all faults.
func (w *world) calm() {
	w.note("all faults end")
	w.setStruck(false)
	w.e.Grant(w.timeout)
	w.e.StallPings(false)
	w.heal()
	w.relieve()
	for _, p := range w.everyone {
		w.e.Unmute(p.name)
	}
	for id := 1; id <= w.servers; id++ {
		w.e.Thaw(id)
		w.e.Restart(id)
		w.e.Lag(id, 0, 0)
		w.e.SlowDisk(id, 0, 0)
		w.e.GreetSlowly(id, 0, 0)
		for to := 1; to <= w.servers; to++ {
			w.e.Delay(zksim.ServerName(id), zksim.ServerName(to), 0, 0)
		}
		for _, p := range w.everyone {
			w.e.Delay(p.name, zksim.ServerName(id), 0, 0)
			w.e.Delay(zksim.ServerName(id), p.name, 0, 0)
		}
	}
}

func (w *world) loseReply() {
	op := pick(w.r, jute.OpCreate, jute.OpCreate, jute.OpDelete, jute.OpMulti, jute.OpGetData,
		jute.OpGetChildren2,
		jute.OpSync, jute.OpCreateSession, jute.OpSetWatches, jute.OpCreateContainer)
	remove := w.e.LoseReply(func(r zksim.Reply) bool { return r.Op == op })
	time.AfterFunc(5*time.Second, remove)
}

// expire ends a session early. That removes its znodes, as an operator's deletion would.
func (w *world) expire() {
	all := w.e.Sessions()
	if len(all) == 0 {
		return
	}
	id := pick(w.r, all...).ID
	var czxids []int64
	for _, n := range w.e.Tree() {
		if n.Stat.EphemeralOwner == id {
			czxids = append(czxids, n.Stat.Czxid)
		}
	}
	end := func(ended bool) { // its znodes that are being created go, too
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended[id] = ended
	}
	end(true)
	w.byHandWhile(czxids, func() bool {
		done := w.e.ExpireSession(id)
		end(done)
		return done
	})
}

// deleteOne deletes a candidate's znode as an operator. If it is the leader's, G1
// promises nothing for that term.
func (w *world) deleteOne() {
	if names := w.e.Children(path); len(names) > 0 {
		w.deleteByHand(path + "/" + pick(w.r, names...))
	}
}

func (w *world) deleteByHand(p string) {
	if n, ok := w.e.Get(p); ok {
		w.byHandWhile([]int64{n.Stat.Czxid}, func() bool { return w.e.Delete(p) == nil })
	}
}

// byHandWhile marks znodes as deleted by hand before it deletes them, because candidates
// may be notified first. It removes the mark if the deletion fails.
func (w *world) byHandWhile(czxids []int64, remove func() bool) {
	mark := func(by int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range czxids {
			w.byHand[id] += by
		}
	}
	mark(1)
	if !remove() {
		mark(-1)
	}
}

func (w *world) deleteAll() {
	if w.plainNames {
		return
	}
	w.mu.Lock()
	w.swept = time.Now()
	w.mu.Unlock()
	for _, name := range w.e.Children(path) {
		w.deleteByHand(path + "/" + name)
	}
	_ = w.e.DeleteTree(strings.TrimSuffix(path, "/job"))
}

// falseExpiry cuts the ensemble's leader off from the others until it has expired their
// clients' sessions, which no quorum confirms. Then it lets those clients connect to that
// leader, which says that their session is over although its znodes still exist.
func (w *world) falseExpiry() {
	id := w.e.Leader()
	if id == 0 {
		return
	}
	w.e.Isolate(id)
	time.Sleep(w.timeout + w.tick + w.ms(2000))
	for range 4 { // enough tries to reach the leader
		for _, p := range w.players {
			if w.r.IntN(2) == 0 {
				p.reset()
			}
		}
		time.Sleep(w.ms(800))
	}
	w.e.Crash(id) // the other servers never receive the expiry: it is held until they follow another leader
	for _, p := range w.players {
		w.hearLate(p, w.ms(300))
	}
	time.Sleep(2 * syncLimit * w.tick)
	w.e.Restart(id)
	w.heal()
}

// slowQuorum deletes znodes as an operator while messages between servers are slow, and
// resets connections while the new znodes are being created. The answers are lost, and
// the znodes appear later.
func (w *world) slowQuorum() {
	late := w.ms(600)
	for from := 1; from <= w.servers; from++ {
		for to := 1; to <= w.servers; to++ {
			w.e.Delay(zksim.ServerName(from), zksim.ServerName(to), late, late)
		}
	}
	for range 10 {
		w.deleteOne()
		time.Sleep(late + w.ms(1500))
		for _, p := range w.players {
			if w.r.IntN(2) == 0 {
				p.reset()
			}
		}
		time.Sleep(w.ms(300))
	}
}

func (w *world) hearLate(p *player, d time.Duration) {
	for id := 1; id <= w.servers; id++ {
		w.e.Delay(zksim.ServerName(id), p.name, d, d)
	}
}

func (w *world) resign() { w.resignOne(pick(w.r, w.players...)) }

func (w *world) resignOne(p *player) {
	w.mu.Lock()
	cand := p.cand
	w.mu.Unlock()
	if cand == nil {
		return
	}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		ctx, cancel := timeoutContext(5 * time.Second)
		defer cancel()
		_ = cand.Resign(ctx)
	}()
}

// swap makes one player leave and another join, or only one of the two, so that there are
// 2 to 6 players.
func (w *world) swap() {
	if len(w.players) > 2 {
		w.leave(pick(w.r, w.players...))
	}
	if len(w.players) < 6 {
		w.join()
	}
}
