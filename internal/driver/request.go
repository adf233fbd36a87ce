package driver

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// outside is the owner's state of operators' requests. The watch outlives a term, and serves
// many terms.
type outside struct {
	begin  *time.Timer     // until a leader begins to look for requests
	watch  <-chan zk.Event // nil: none
	asking bool            // the request is being looked for or answered
	seen   queue.Found     // as last read
	taken  queue.Request   // the latest that is to be carried out, as it is once answered
	made   int64           // the creation zxid of its znode
}

// lookShare is the share of the session timeout for which a term lasts before its leader
// looks for requests. In a rolling restart most terms are over by then, and cost no extra
// request.
const lookShare = 12

// expectRequests makes the leader of a term that has just begun look for requests soon.
func (x *outside) expectRequests(d *Driver, term uint64) {
	x.stop()
	if d.cfg.NoRequests {
		return
	}
	x.begin = time.AfterFunc(d.cfg.Session.Timeout()/lookShare, func() {
		d.inbox.put(message{first: func(o *owner) bool {
			if o.term == term {
				o.lookForRequest()
			}
			return false
		}})
	})
}

func (x *outside) stop() {
	if x.begin != nil {
		x.begin.Stop()
	}
}

// lookForRequest looks for a request and leaves a watch, unless there is a watch already. It
// delays nothing else.
func (o *owner) lookForRequest() {
	switch {
	case o.cfg.NoRequests || o.term == 0 || o.outside.asking:
	case o.outside.watch != nil:
		o.outside.heed(o)
	default:
		o.outside.asking = true
		d := o.Driver
		o.ask(func() {
			found, err := queue.RequestsAt(d.cfg.Session, d.cfg.Entry.Path).Look()
			d.inbox.put(message{first: func(o *owner) bool {
				o.outside.asking = false
				if err == nil { // otherwise the next tick or connection looks again
					o.outside.watch, o.outside.seen = found.Watch, found
					o.outside.heed(o)
				}
				return false
			}})
		})
	}
}

// heed answers the request that was found, if it is meant for the present term. It carries
// the request out only when the answer has been written. So the operator and this leader
// agree: if the operator withdraws a request without an answer, the request is not carried
// out. If the reply to the answer is lost, the next look at the request shows whether the
// answer was written.
//
// Anyone may write to a request. If someone does so before it is answered, the request is
// void.
func (x *outside) heed(o *owner) {
	f, v := x.seen, o.machine.View()
	switch {
	case o.term == 0 || f.Token == 0 || f.Token != v.Token:
	case f.Request == x.taken && f.Made == x.made:
		o.cfg.Host.Log(slog.LevelInfo, "an operator asks for the leadership", "what", f.What, "to", znode.Brief(f.To),
			"session", fmt.Sprintf("%#x", f.Owner))
		o.Post(x.order())
	case f.Answer == "" && f.Version == 0:
		x.asking = true
		d := o.Driver
		o.ask(func() { d.answerRequest(f, v.Node) })
	}
}

// order returns the machine's event for a request that was taken.
func (x *outside) order() machine.Resign {
	r := machine.Resign{Token: x.taken.Token}
	if x.taken.What == queue.AskHandOver {
		r.To = x.taken.To
	}
	return r
}

// answerRequest runs on a request's goroutine.
func (d *Driver) answerRequest(f queue.Found, own string) {
	answer, err := d.judge(f, own)
	answered := f
	answered.Answer = answer
	answered.Version++
	if err == nil {
		err = queue.RequestsAt(d.cfg.Session, d.cfg.Entry.Path).Answer(f, answer)
	}
	d.inbox.put(message{first: func(o *owner) bool {
		x := &o.outside
		x.asking = false
		if answer == queue.Taken {
			x.taken, x.made = answered.Request, answered.Made
		}
		switch {
		case err == nil:
			x.seen = answered
			x.heed(o)
		case !session.Answered(err): // the answer may have been written: the next tick or connection looks again
			x.watch = nil
			return false
		}
		if x.watch == nil && o.view.Connected {
			o.lookForRequest()
		}
		return false
	}})
}

// judge returns the answer to a request, or an error if no server could be asked. It runs
// on a request's goroutine.
func (d *Driver) judge(f queue.Found, own string) (answer string, err error) {
	switch {
	case !slices.Contains([]string{queue.AskResign, queue.AskHandOver}, f.What):
		return fmt.Sprintf("this leader does not know what %.50q is", f.What), nil
	case f.What == queue.AskResign:
		return queue.Taken, nil
	case f.To == "":
		return "the request names nobody", nil
	}
	stands, err := queue.Stands(d.cfg.Entry, own, f.To)
	switch {
	case errors.Is(err, queue.ErrTooFar) || err != nil && session.Answered(err):
		return fmt.Sprintf("%.200q cannot be handed over to: %v", f.To, err), nil
	case err != nil:
		return "", err
	case !stands:
		return fmt.Sprintf("no candidate with the ID %.200q stands behind the leader", f.To), nil
	}
	return queue.Taken, nil
}

// Stands reports whether a candidate with this ID is in line behind own. It blocks as long as
// the driver of ZooKeeper does.
func (d *Driver) Stands(own, id string) (bool, error) { return queue.Stands(d.cfg.Entry, own, id) }
