package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/zkelection/election/internal/beat"
	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Fast configures the fast failover of a candidate: see package beat.
type Fast struct {
	Within time.Duration                     // how long the candidate may be silent; half a session timeout at most
	Data   func(within time.Duration) []byte // what its znode holds
	Kind   string                            // what all names in line contain, unless another library takes part
}

// beating is the owner's state of fast failover and of strict hand-over. It is empty
// without them, and before the first znode.
type beating struct {
	within   time.Duration   // S, as its znodes publish it; 0 before the first
	short    *session.Expiry // the lease of the present znode; nil without fast failover and strict hand-over
	reigning                 // of strict hand-over
	version  int32           // of the present znode, as last read
	beat     *beat.Beat      // nil while the znode does not beat
	heard    silenceOf       // the last reading of the znode ahead, if the znode ahead beats
	silence  *time.Timer     // fires when heard has been silent for too long; nil before the first reading
	tried    bool            // the candidate is known to have all write permissions that it needs
	warned   bool            // the owner has warned that others take part without fast failover
}

// settle decides, before the first znode is created, how long the candidate may be silent.
// The time never changes afterwards.
func (o *owner) settle() {
	f := o.cfg.Fast
	if f == nil || o.beating.within > 0 {
		return
	}
	t := o.cfg.Session.Timeout()
	o.beating.within = min(f.Within, t/2).Truncate(time.Millisecond)
	o.cfg.Entry.Data = f.Data(o.beating.within)
	if f.Within > t/2 {
		o.cfg.Host.Log(slog.LevelWarn, "fast failover takes longer than asked for: the server granted a short session timeout",
			"asked", f.Within, "timeout", t, "within", o.beating.within)
	}
}

// renew forgets the last znode and all that belonged to it.
func (b *beating) renew(cfg *Config) {
	b.version, b.tried = 0, false
	b.stop()
	b.reigning = reigning{}
	if cfg.Fast != nil || cfg.Strict {
		b.short = new(session.Expiry)
	}
}

// stop ends the beats and the timers, which would otherwise outlive the znode.
func (b *beating) stop() {
	b.end()
	b.hear(silenceOf{})
	if b.waiting != nil {
		b.waiting.Stop()
	}
}

// hear stores a reading of the znode ahead and stops the timer of the last reading. The
// zero reading only forgets the last one.
func (b *beating) hear(s silenceOf) {
	b.heard = s
	if b.silence != nil {
		b.silence.Stop()
	}
}

// belief returns what a term rests on: the session's lease l, and the short lease of the
// present znode, if it has one.
func (b *beating) belief(l *session.Lease) session.Belief {
	return session.Belief{Lease: &l.Expiry, Beat: b.short}
}

func (b *beating) end() {
	if b.beat != nil {
		b.beat.End()
		b.beat = nil
	}
}

// known notes which version the candidate's own znode had when it was read.
func (b *beating) known(version int32) {
	b.version = version
	if b.beat != nil {
		b.beat.Known(version)
	}
}

// keepBeat starts or stops the beats of the own znode.
func (o *owner) keepBeat(a machine.Beat) {
	b := &o.beating
	b.end()
	if !a.On {
		return
	}
	b.beat = o.cfg.Beats.Begin(beat.Config{Path: o.cfg.Entry.Node(a.Node), Data: o.cfg.Entry.Data, Within: b.within, Lease: b.short,
		Most: b.lasts, Listener: beatListener{o.Driver, a.NodeGen}})
	b.beat.Known(b.version)
}

// beatListener reports the results of the beats to the owner (beat.Listener).
type beatListener struct {
	d       *Driver
	nodeGen uint64
}

func (l beatListener) Good() {
	l.d.problems.setLease(nil)
	l.d.Post(machine.LeaseGood{})
}

func (l beatListener) Missed(foreign bool) {
	l.d.inbox.put(message{event: machine.OwnStale{NodeGen: l.nodeGen}, first: func(o *owner) bool {
		if foreign {
			o.cfg.Host.Log(slog.LevelWarn, "somebody else has written to the candidate's znode, which delays its own beats")
		}
		return true
	}})
}

func (l beatListener) Gone() { l.d.Post(machine.OwnGone{NodeGen: l.nodeGen}) }

func (l beatListener) Refused(err error) {
	l.d.problems.setLease(fmt.Errorf("beat for fast failover: %w", err))
}

// silenceOf is a reading of the znode ahead. The silence of that znode counts from the
// reading.
type silenceOf struct {
	nodeGen uint64
	name    string
	version int32
	within  time.Duration // how long the znode ahead may be silent, as its own data says
	since   time.Time     // when the answer arrived
}

// watchSilence begins to count the silence of the znode ahead, if that znode beats.
func (o *owner) watchSilence(s silenceOf) {
	if o.cfg.Fast == nil {
		return
	}
	if s.within == 0 {
		o.warnOfOthers("the candidate ahead has no fast failover", s.name)
	}
	if !s.beats() {
		s = silenceOf{}
	}
	o.beating.heard = s
	o.awaitSilence()
}

func (s silenceOf) beats() bool { return s.within > 0 && s.version > 0 }

// left returns how long the znode may still be silent. It uses the clock that has advanced
// less, so neither the sleep of a machine nor a clock that was set counts as silence.
func (s silenceOf) left() time.Duration { return s.within - session.AtLeast(s.since, time.Now()) }

// awaitSilence sets a timer that notifies the machine when the znode ahead has been silent
// for too long. The timer fires again and again as long as nothing changes. Without a
// connection awaitSilence sets no timer, because the candidate could not evict anyway.
// onSession calls awaitSilence again when there is a connection.
func (o *owner) awaitSilence() {
	d, s := o.Driver, o.beating.heard
	o.beating.hear(s) // stops the last timer, so there is at most one
	if !s.beats() || !o.view.Connected {
		return
	}
	after := min(max(s.left(), s.within/10), s.within) // a clock that was set back may leave more
	o.beating.silence = time.AfterFunc(after, func() {
		d.inbox.put(message{first: func(o *owner) bool { return o.silent(s) },
			event: machine.AheadSilent{NodeGen: s.nodeGen, Name: s.name, Version: s.version}})
	})
}

// silent reports whether the znode ahead has been silent for too long since reading s. It
// returns false if there is a newer reading by now, which has a timer of its own.
func (o *owner) silent(s silenceOf) bool {
	if s != o.beating.heard || o.watches.ahead == nil {
		return false
	}
	o.awaitSilence()
	return s.left() <= 0
}

// evict deletes the znode ahead, which has been silent for too long. It runs on the
// request's goroutine.
func (d *Driver) evict(a machine.Evict, own string, ahead queue.Member) {
	err := d.cfg.Entry.Evict(own, a.Name, a.Version)
	ev := machine.Evicted{NodeGen: a.NodeGen, Name: a.Name}
	if err != nil { // after any error the znode may still be there
		ev.Fault = machine.Failed
	}
	if errors.Is(err, queue.ErrChanged) {
		err = nil
	}
	d.answer(err, ev, func(o *owner) {
		if ev.Fault == machine.OK {
			o.cfg.Host.Evicted(ahead)
		}
	})
}

// warnOfOthers logs one warning that fast failover may harm others in line. Further calls
// do nothing.
func (o *owner) warnOfOthers(why, name string) {
	if o.beating.warned {
		return
	}
	o.beating.warned = true
	o.cfg.Host.Log(slog.LevelWarn, "fast failover is for elections in which all candidates have it: other libraries' may lose"+
		" their watch when the znode ahead is written, and a candidate without it is replaced only when its session expires",
		"why", why, "znode", znode.Brief(name))
}

// warnOfNames warns if another library's names are in line.
func warnOfNames(o *owner, line []string) {
	if o.cfg.Fast == nil {
		return
	}
	for _, name := range line {
		if !strings.Contains(name, o.cfg.Fast.Kind) {
			o.warnOfOthers("another library's candidate is in line", name)
		}
	}
}
