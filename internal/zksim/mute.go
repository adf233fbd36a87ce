package zksim

// Mute lets a client connect, and ends each of its connections at the first request after
// the greeting. A server does that if the client's list of watches is larger than what it
// reads (jute.maxbuffer), or if it does not accept the client's credentials. Each
// greeting renews the client's session.
func (e *Ensemble) Mute(client string) { e.do(func() { e.muted[client] = true }) }

// Unmute undoes [Ensemble.Mute].
func (e *Ensemble) Unmute(client string) { e.do(func() { delete(e.muted, client) }) }
