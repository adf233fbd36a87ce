package sim

import "time"

// wipe removes the ensemble's data. Nothing is promised for the terms of that time, and
// tokens are not compared with those before it. Schedules do not restore backups: a
// backup brings back znodes that live sessions have removed since, and nothing at all is
// promised then.
func (w *world) wipe() {
	w.loss(true)
	w.e.Wipe()
	w.loss(false)
}

func (w *world) loss(before bool) {
	sessions := w.e.Sessions()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swept = time.Now() // until every client has noticed
	if !before {
		w.last, w.leader, w.made = nil, nil, 0
		clear(w.byHand) // zxids start again
		return
	}
	for _, s := range sessions {
		w.lost[s.ID] = true
	}
	for _, p := range w.everyone {
		if p.cand != nil {
			w.lost[p.cand.Status().SessionID] = true
		}
	}
	delete(w.lost, 0)
}

// mute makes the servers greet one client and never serve it, for up to five session
// timeouts.
func (w *world) mute() {
	p := pick(w.r, w.players...)
	name := p.name
	w.mu.Lock()
	if p.cand != nil {
		w.unserved[p.cand.Status().SessionID] = true
	}
	w.mu.Unlock()
	w.e.Mute(name)
	time.AfterFunc(w.timeout*time.Duration(w.r.IntN(50))/10, func() { w.e.Unmute(name) })
}

// abandoned returns the znodes of sessions that were not served. Their client may have
// given the session up. The znodes go when the session ends. A new leader of the
// ensemble, slow clocks and whole ticks delay that beyond the first check.
func (w *world) abandoned() map[string]bool {
	all := map[string]bool{}
	for _, n := range w.e.Tree() {
		w.mu.Lock()
		if id := n.Stat.EphemeralOwner; id != 0 && w.unserved[id] {
			all[n.Path] = true
		}
		w.mu.Unlock()
	}
	return all
}
