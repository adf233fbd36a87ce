package session

import (
	"sync/atomic"
	"time"
)

// An Expiry says until when something is certain, such as that a session is alive. The
// zero value is over. It is safe for concurrent use.
type Expiry struct {
	end atomic.Pointer[expiry] // nil: nothing is proved yet; replaced, never changed, so that one load is enough
}

// expiry is d after from, on both clocks.
type expiry struct {
	from time.Time
	wall int64 // from on the wall clock, in nanoseconds
	d    time.Duration
}

func (e *expiry) good(now time.Time) bool {
	return e != nil && now.Sub(e.from) < e.d && now.UnixNano()-e.wall < int64(e.d)
}

func (x *Expiry) load() *expiry { return x.end.Load() }

// Live reports whether the end has not come yet at now. It must not have come by either
// clock: the monotonic clock stands still while a machine sleeps, and the wall clock may
// be set back.
func (x *Expiry) Live(now time.Time) bool { return x.load().good(now) }

// End returns the end as known now. It is zero if nothing is proved yet.
func (x *Expiry) End() time.Time {
	if e := x.load(); e != nil {
		return e.from.Add(e.d)
	}
	return time.Time{}
}

// Remaining returns the time left until the end, by the clock that has advanced more. It
// is negative after the end, and 0 if nothing is proved yet.
func (x *Expiry) Remaining(now time.Time) time.Duration {
	e := x.load()
	if e == nil {
		return 0
	}
	return e.d - AtMost(e.from, now)
}

// Ended reports whether the end has come at now, and when it came, which may be long
// before now in a process that was paused. The end is zero if nothing was ever proved. On
// a machine that slept the end is right by the wall clock, which is the clock that logs
// show.
func (x *Expiry) Ended(now time.Time) (at time.Time, over bool) {
	e := x.load() // once, so that a late proof cannot change the answer half-way
	switch {
	case e == nil:
		return time.Time{}, true
	case e.good(now):
		return time.Time{}, false
	}
	return e.from.Add(e.d), true
}

// Extend moves the end to d after from, but never back.
func (x *Expiry) Extend(from time.Time, d time.Duration) {
	if d <= 0 {
		return
	}
	if e := x.load(); e != nil && from.Add(d).Before(e.from.Add(e.d)) {
		return
	}
	x.end.Store(&expiry{from, from.UnixNano(), d})
}

// Renew is Extend. again reports whether the end has not come yet now, and somebody may
// have found before that it had. So the question is whether the old end has passed by now,
// when nobody can see it any more.
func (x *Expiry) Renew(from time.Time, d time.Duration) (again bool) {
	before := x.load()
	x.Extend(from, d)
	now := time.Now()
	return x.Live(now) && !before.good(now)
}

// shorten moves the end back to d after from, and reports whether it did. It keeps the
// start from which the end is counted, so that what is over by one of the clocks stays
// over.
func (x *Expiry) shorten(from time.Time, d time.Duration) bool {
	e := x.load()
	if e == nil {
		return false
	}
	d += AtLeast(e.from, from)
	if d >= e.d {
		return false
	}
	x.end.Store(&expiry{e.from, e.wall, d})
	return true
}

// provedAt returns when the write was sent that the end rests on. If that made, or left,
// less than d, it returns a time as much earlier: the next write is due sooner. It is zero
// if nothing is proved yet.
func (x *Expiry) provedAt(d time.Duration) time.Time {
	if e := x.load(); e != nil {
		return e.from.Add(min(0, e.d-d))
	}
	return time.Time{}
}

// AtMost returns the time between two readings by the clock that has advanced more. It
// never underestimates, so it decides whether a lease may have ended. The monotonic clock
// alone would not do: it stands still while a machine sleeps.
func AtMost(from, to time.Time) time.Duration {
	return max(to.Sub(from), time.Duration(to.UnixNano()-from.UnixNano()))
}

// AtLeast returns the time between two readings by the clock that has advanced less. It
// never overestimates, so it decides whether something has had enough time to happen. The
// wall clock alone would not do: it may be set forward.
func AtLeast(from, to time.Time) time.Duration {
	return min(to.Sub(from), time.Duration(to.UnixNano()-from.UnixNano()))
}

// A Belief holds as long as all that it rests on is good.
type Belief struct {
	Lease *Expiry // the session's
	Beat  *Expiry // of the znode's beats; nil if it does not beat
}

// Live reports whether the belief holds at now.
func (b Belief) Live(now time.Time) bool {
	return b.Lease.Live(now) && (b.Beat == nil || b.Beat.Live(now))
}

// End returns the end as known now. It is zero if something is not proved yet.
func (b Belief) End() time.Time {
	end := b.Lease.End()
	if b.Beat != nil {
		if e := b.Beat.End(); e.Before(end) {
			return e
		}
	}
	return end
}

// Remaining returns the time left until the end: see [Expiry.Remaining].
func (b Belief) Remaining(now time.Time) time.Duration {
	left := b.Lease.Remaining(now)
	if b.Beat != nil {
		left = min(left, b.Beat.Remaining(now))
	}
	return left
}

// Ended reports whether the belief is over at now, and since when: see [Expiry.Ended].
func (b Belief) Ended(now time.Time) (at time.Time, over bool) {
	at, over = b.Lease.Ended(now)
	if b.Beat == nil {
		return at, over
	}
	short, shortOver := b.Beat.Ended(now)
	if shortOver && (!over || short.Before(at)) {
		return short, true
	}
	return at, over
}
