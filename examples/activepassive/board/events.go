package board

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// aliveEvery is well within the minute after which a balancer considers a silent stream
// dead.
const aliveEvery = 15 * time.Second

// events streams views to a page: the present view, and then every change. If there is
// nothing new, it sends a comment, which a browser skips. It ends when the node leaves.
// The browser then connects again and reaches, through a balancer, a node that stays.
func (b *Board) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // otherwise NGINX would hold events back until a buffer is full
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		v, changed := b.watch()
		data, err := json.Marshal(v)
		if err != nil || !send(w, "data: "+string(data)) {
			return
		}
		for old := true; old; {
			select {
			case <-changed:
				old = false
			case <-alive.C:
				if !send(w, ": alive") {
					return
				}
			case <-b.leaving:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// send reports whether the page still listens.
func send(w http.ResponseWriter, event string) bool {
	_, err := fmt.Fprintf(w, "%s\n\n", event)
	return err == nil && http.NewResponseController(w).Flush() == nil
}
