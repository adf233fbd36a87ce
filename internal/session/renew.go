package session

import (
	"errors"
	"time"

	"github.com/go-zookeeper/zk"
)

// Keeper is told about the lease that it has kept up. Its methods must not block, and must not call the session.
type Keeper interface {
	// LeaseGood: the lease is good, after a time in which it was not.
	LeaseGood()
	// WitnessLost: the proof failed on this keeper's znode: it is gone (zk.ErrNoNode), or may not be read.
	WitnessLost(err error)
}

type keeper struct {
	path string
	on   Keeper
	lost bool // its znode is of no use for a proof
}

// Keep has the lease renewed until release is called, with the znode at path as a witness. One proof serves all
// keepers of a session.
func (s *Session) Keep(path string, on Keeper) (release func()) {
	k := &keeper{path: path, on: on}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.keepers[k] = struct{}{}
		s.nudge()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.keepers, k)
	}
}

// witness picks a keeper whose znode can be checked; nil when there is nothing to prove, or no connection.
func (s *Session) witness() *keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.Connected {
		return nil
	}
	for k := range s.keepers {
		if !k.lost {
			return k
		}
	}
	return nil
}

// renewLoop proves the lease every T/9 while somebody keeps it.
func (s *Session) renewLoop() {
	defer s.loops.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due time.Time
	eager := true // the next proof may follow at once
	for {
		k := s.witness()
		if k != nil && !time.Now().Before(due) {
			due, eager = s.prove(k, eager)
			continue
		}
		var tick <-chan time.Time
		if k != nil {
			timer.Reset(time.Until(due))
			tick = timer.C
		}
		select {
		case <-tick:
		case <-s.wake: // a keeper came, or the connection: a lease that is not good is proved at once
			if !s.leased() {
				due, eager = time.Time{}, true
			}
		case <-s.Done():
			return
		}
	}
}

// leased reports whether the present session's lease is good.
func (s *Session) leased() bool {
	l := s.Lease(s.State().ID)
	return l != nil && l.Live(time.Now())
}

// prove asks for one proof and says when the next is due. A proof that was answered but leaves the lease short, or not
// good at all, has added to the evidence: one more may follow at once, then they keep a distance.
func (s *Session) prove(k *keeper, eager bool) (due time.Time, eagerNext bool) {
	timeout := s.Timeout()
	sent := time.Now()
	left, err := Call(s.ctx, s, func() (time.Duration, error) {
		reply, err := s.Write(func(c *zk.Conn) error {
			_, err := c.Multi(&zk.CheckVersionRequest{Path: k.path, Version: -1})
			return err
		})
		if l := s.Lease(reply.Session); err == nil && l != nil {
			return l.Remaining(sent), nil
		}
		return 0, err
	})
	switch {
	case left >= timeout/leaseShare-timeout/paceShare:
		return sent.Add(timeout / renewShare), true
	case err == nil && eager:
		return time.Time{}, false
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNoAuth):
		s.loseWitness(k, err)
		return time.Time{}, false
	}
	return time.Now().Add(timeout / paceShare), false
}

func (s *Session) loseWitness(k *keeper, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keepers[k]; ok {
		k.lost = true
		k.on.WitnessLost(err)
	}
}
