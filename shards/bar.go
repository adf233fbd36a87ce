package shards

import (
	"maps"
	"time"
)

// bar says until when a member gets no election, or does not get a certain one.
type bar struct {
	until time.Time
	last  time.Duration // how long it was
}

// longestBar is how long a bar lasts at most, in session timeouts.
const longestBar = 32

func (b *bar) holds(now time.Time) bool { return b != nil && now.Before(b.until) }

// forgotten reports whether b no longer counts.
func (b *bar) forgotten(now time.Time, timeout time.Duration) bool {
	return b == nil || now.Sub(b.until) > longestBar*timeout
}

// longer returns the bar that follows b: twice as long, unless b is forgotten.
func (b *bar) longer(now time.Time, timeout time.Duration) *bar {
	d := timeout
	if !b.forgotten(now, timeout) {
		d = min(2*b.last, longestBar*timeout)
	}
	return &bar{now.Add(d), d}
}

// bar keeps a member from getting elections for a while. It does nothing while an earlier bar
// holds.
func (b *balancer) bar(m member, now time.Time, why, path string) {
	if b.barred[m].holds(now) {
		return
	}
	next := b.barred[m].longer(now, b.client.Status().Timeout)
	b.barred[m] = next
	b.log.Debug("a participant is given nothing for a while", "participant", m.id, "why", why, "election", path, "pause", next.last)
}

// forget drops bars that are no longer needed. Each start of a process makes a new member, and
// old members do not come back.
func (b *balancer) forget(now time.Time) {
	timeout := b.client.Status().Timeout
	old := func(_ member, b *bar) bool { return b.forgotten(now, timeout) }
	maps.DeleteFunc(b.barred, old)
	for _, s := range b.shards {
		maps.DeleteFunc(s.refused, old)
	}
}

// calm knows when the picture has settled.
type calm struct {
	settle      time.Duration
	first, last time.Time // the first and last disturbance since it was calm; zero if there is none
}

// longestUnrest is how long balancing waits for calm at most, in settle times.
const longestUnrest = 5

func (c *calm) disturb(now time.Time) {
	if c.last.IsZero() {
		c.first = now
	}
	c.last = now
}

// wait returns how long to wait until it is calm, or until longestUnrest is over. It returns 0
// if there is no need to wait.
func (c *calm) wait(now time.Time) time.Duration {
	if c.last.IsZero() {
		return 0
	}
	end := c.last.Add(c.settle)
	if latest := c.first.Add(longestUnrest * c.settle); latest.Before(end) {
		end = latest
	}
	if now.Before(end) {
		return end.Sub(now)
	}
	c.first, c.last = time.Time{}, time.Time{}
	return 0
}
