package session

import (
	"encoding/binary"
	"time"

	"github.com/zkelection/election/internal/jute"
)

// holdLimit bounds the wait for the driver to set its watches again. It may have none.
const holdLimit = 50 * time.Millisecond

// hold keeps the requests of one connection back while the driver has not set its watches
// again. Its fields and methods are used with the tap's writing locked.
type hold struct {
	tap   *tap
	some  bool   // there may be watches of an earlier connection to set again
	on    bool   // until the driver has set them again, or has none to set
	old   bool   // the first request that sets them may have been meant for the last connection
	seen  int64  // the zxid that the session had seen last when the connection was made
	held  []byte // the requests that wait meanwhile
	grace *time.Timer
}

// begin begins a connection, and to hold requests if there is anything to wait for. some,
// old and seen are as in the fields.
func (h *hold) begin(some, old bool, seen int64) {
	h.some, h.on, h.old, h.seen = some, some, old, seen
}

// pass sends a request, or holds it until the driver has set its watches again.
//
// A watch of an earlier connection must report what happened in between before the reply
// to a new request shows it. So the requests wait until the watches are set.
//
// The first connection of a session holds nothing: there can be no such watches.
// Afterwards only requests tell that there may be some, and the driver may have none
// left. So the wait has a limit, after which the driver's request can still come
// (settingAgain).
func (h *hold) pass(b []byte) {
	op := opOf(b)
	if leavesWatch(op, b) {
		h.tap.wire.watched.Store(true)
	}
	if op == jute.OpSetWatches {
		b = h.settingAgain(b)
	}

	switch {
	case !h.on || op == jute.OpPing || op == jute.OpAuth:
		h.tap.send(b)
	case op == jute.OpSetWatches && h.old:
		// It may have been meant for the last connection, with another to follow on this
		// one.
		h.tap.send(b)
		h.old = false
		h.letGoLater(holdLimit)
	case op == jute.OpSetWatches:
		h.tap.send(b)
		h.letGo()
	default:
		h.held = append(h.held, b...)
		h.letGoLater(holdLimit)
	}
}

// holdSteps is the number of timers, one after another, that make up a wait. A process
// that gets no processor for a while finds a single timer expired when it goes on, perhaps
// before the driver has run at all. With several, the driver has several turns.
const holdSteps = 5

// letGoLater calls letGo after wait. Only the first call counts.
func (h *hold) letGoLater(wait time.Duration) {
	if h.grace != nil {
		return
	}
	step, left := wait/holdSteps, holdSteps
	h.grace = time.AfterFunc(step, func() {
		h.tap.writing.Lock()
		defer h.tap.writing.Unlock()

		left--
		switch {
		case !h.on:
		case left > 0:
			h.grace.Reset(step)
		default:
			h.letGo()
		}
	})
}

// letGo sends the held requests.
func (h *hold) letGo() {
	held := h.held
	h.on, h.held = false, nil
	if h.grace != nil {
		h.grace.Stop()
	}
	if len(held) > 0 {
		h.tap.send(held)
	}
}

// opOf returns the operation of a request, from behind its length and xid; 0 if it has
// none.
func opOf(b []byte) jute.Op {
	if len(b) < 12 {
		return 0
	}
	return jute.Op(binary.BigEndian.Uint32(b[8:]))
}

// leavesWatch reports whether the request asks for a watch, by a flag at its end.
func leavesWatch(op jute.Op, b []byte) bool {
	switch op {
	case jute.OpExists, jute.OpGetData, jute.OpGetChildren, jute.OpGetChildren2:
		return b[len(b)-1] != 0
	}
	return false
}
