package electionotel

import (
	"sync"
	"time"

	"github.com/zkelection/election"
)

// present knows the candidates that take part, by name.
type present struct {
	mu    sync.Mutex // guards the following; nothing else is locked under it
	names map[string]map[*election.Candidate]*standing
}

// standing is what must be remembered of a candidate that takes part.
type standing struct {
	elected time.Time // when it came to be first in line; zero if it is not, or leads
}

// moved takes a change of state. It reports whether this is the first one of that name,
// and how long a take-over took that ends with it.
func (p *present) moved(name string, info election.StateChangedInfo) (first bool, took time.Duration, led bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, known := p.names[name]
	if !known {
		if p.names == nil {
			p.names = map[string]map[*election.Candidate]*standing{}
		}
		all = map[*election.Candidate]*standing{}
		p.names[name] = all
	}

	if info.To == election.StateIdle || info.To == election.StateClosed {
		delete(all, info.Candidate)
		return !known, 0, false
	}
	s := all[info.Candidate]
	if s == nil {
		s = &standing{}
		all[info.Candidate] = s
	}
	elected := s.elected
	s.elected = time.Time{}
	if info.To == election.StateElected {
		s.elected = info.Since
	}
	led = info.To == election.StateLeading && !elected.IsZero()
	return !known, info.Since.Sub(elected), led
}

// reading is what is the case for a name.
type reading struct {
	leads  bool
	lease  time.Duration // until the term ends, the shortest if several last
	place  int           // the best; 0: not in line
	states map[election.State]int
}

// read asks all candidates. It sends no request.
func (p *present) read() map[string]reading {
	all := map[string]reading{}
	for name, candidates := range p.list() {
		now := reading{states: map[election.State]int{}}
		for _, c := range candidates {
			st := c.Status()
			now.states[st.State]++
			if st.Place > 0 && (now.place == 0 || st.Place < now.place) {
				now.place = st.Place
			}
			if t := c.Term(); t != nil {
				left := max(time.Until(t.Deadline()), 0)
				if !now.leads || left < now.lease {
					now.lease = left
				}
				now.leads = true
			}
		}
		all[name] = now
	}
	return all
}

// list returns the candidates of each name, also of a name without any.
func (p *present) list() map[string][]*election.Candidate {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string][]*election.Candidate{}
	for name, candidates := range p.names {
		list := make([]*election.Candidate, 0, len(candidates))
		for c := range candidates {
			list = append(list, c)
		}
		all[name] = list
	}
	return all
}
