package sim

import (
	"math/rand/v2"
	"time"

	"github.com/zkelection/election/internal/jute"
	"github.com/zkelection/election/internal/zksim"
)

// overload makes the servers refuse some of the requests of one client, or of all, for up
// to 10 s. They answer THROTTLEDOP, which says that nothing was done, or REQUESTTIMEOUT,
// which leaves that open.
func (w *world) overload() {
	code := pick(w.r, jute.CodeThrottled, jute.CodeThrottled, jute.CodeRequestTimeout)
	whose := pick(w.r, "", w.someone())
	dice, share := rand.New(rand.NewPCG(w.r.Uint64(), 9)), 1+w.r.IntN(4)
	end := w.e.Refuse(func(a zksim.Asked) jute.Code {
		if (whose == "" || whose == a.Client) && dice.IntN(4) < share {
			return code
		}
		return jute.CodeOK
	})
	time.AfterFunc(w.ms(10_000), end)
	w.overloads = append(w.overloads, end)
}

// relieve ends all overloads.
func (w *world) relieve() {
	for _, end := range w.overloads {
		end()
	}
	w.overloads = nil
}
