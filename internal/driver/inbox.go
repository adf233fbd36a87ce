package driver

import (
	"sync"

	"github.com/zkelection/election/internal/machine"
)

// message is an event for the machine, with what the owner does around it.
type message struct {
	event machine.Event
	first func(*owner) bool // runs on the owner first, and says whether the machine is to take the event; may be nil
	done  chan struct{}     // closed when the message has been taken; may be nil
}

// inbox holds the messages that the owner has still to take. While no owner runs, it is
// shut, and drops them: they are about what is over.
type inbox struct {
	wake chan struct{} // holds a token while there is something to take

	mu  sync.Mutex // guards the following; nothing else is locked under it
	all []message
	up  bool // an owner runs
}

// put never blocks. It returns false if the message is dropped.
func (b *inbox) put(m message) bool {
	b.mu.Lock()
	if !b.up {
		b.mu.Unlock()
		return false
	}
	b.all = append(b.all, m)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// open has messages kept from now on.
func (b *inbox) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = true
}

// shut has messages dropped from now on, if there are none to take.
func (b *inbox) shut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.all) > 0 {
		return false
	}
	b.up = false
	return true
}

// take empties the inbox.
func (b *inbox) take() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.all
	b.all = nil
	return all
}

// close shuts the inbox and ends the waits for messages that will never be taken.
func (b *inbox) close() {
	b.mu.Lock()
	all := b.all
	b.all, b.up = nil, false
	b.mu.Unlock()
	for _, m := range all {
		if m.done != nil {
			close(m.done)
		}
	}
}
