package sim

import "time"

// grantedLess makes the servers grant a fraction of the timeout when the leading
// candidate reconnects, and cuts the candidate's network as soon as it knows. From the
// handshake on its session is short, but its lease was made for the long timeout.
func (w *world) grantedLess() {
	p := w.leading()
	if p == nil {
		return
	}
	before := p.cand.Status().Timeout
	w.e.Grant(w.timeout / 8)
	p.reset()
	for range 3000 {
		if st := p.cand.Status(); st.Connected && st.Timeout < before {
			w.freeze(p, w.timeout)
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(w.timeout)
	w.e.Grant(w.timeout)
	w.heal()
}

// stallPings holds up the pings of the ensemble's leader until sessions end although
// their clients are served all the while (ZOOKEEPER-3774). A client cannot notice that,
// so two may lead for as long as a proof is good.
func (w *world) stallPings() {
	stall := w.timeout + 3*w.tick
	w.mu.Lock()
	w.stalled = time.Now().Add(stall + w.tick + w.timeout/3)
	w.mu.Unlock()
	w.e.StallPings(true)
	time.Sleep(stall)
	w.e.StallPings(false)
}
