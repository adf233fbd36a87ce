package zksim

import (
	"slices"

	"github.com/zkelection/election/internal/jute"
)

// Reply is an answer that a server is about to send.
type Reply struct {
	Server  int    // the id of the server that answers
	Client  string // the client's name on the network
	Session int64
	Op      jute.Op
	Path    string // as requested; of a create: as made; of a multi: the path of its first operation
	Code    jute.Code
}

// replyHook is used by pointer, so that each one can be found again.
type replyHook struct{ lose func(Reply) bool }

// OnReply calls f for every answer before it is sent. If f returns true, the answer is
// lost: the connection breaks instead, and the client cannot know whether its request was
// carried out. The answer to a connect request has the Op [jute.OpCreateSession]. remove
// unregisters f.
//
// f runs under the ensemble's lock and must not call the ensemble.
func (e *Ensemble) OnReply(f func(Reply) (lose bool)) (remove func()) {
	h := &replyHook{f}
	e.do(func() { e.hooks = append(e.hooks, h) })
	return func() { e.do(func() { e.unhook(h) }) }
}

func (e *Ensemble) unhook(h *replyHook) {
	e.hooks = slices.DeleteFunc(e.hooks, func(o *replyHook) bool { return o == h })
}

// LoseReply loses the first answer for which match returns true, after its request took
// effect, and no other. remove unregisters match.
func (e *Ensemble) LoseReply(match func(Reply) bool) (remove func()) {
	lost := false
	return e.OnReply(func(r Reply) bool {
		if lost || !match(r) {
			return false
		}
		lost = true
		return true
	})
}

func (r *request) reply(code jute.Code) Reply {
	p := Reply{Op: r.op, Path: r.path, Code: code}
	if r.result != nil && r.result.path != "" {
		p.Path = r.result.path
	}
	if len(r.subs) > 0 {
		p.Path = r.subs[0].path
	}
	return p
}

// lose calls the hooks. If one of them returns true, it breaks the connection and returns
// true.
func (c *conn) lose(r Reply) bool {
	r.Server, r.Client, r.Session = c.server.id, c.client, c.session
	for _, h := range slices.Clone(c.server.e.hooks) {
		if h.lose(r) {
			c.server.e.stats.RepliesLost++
			c.close()
			return true
		}
	}
	return false
}
