package machine_test

import (
	"fmt"
	"time"

	"github.com/zkelection/election/internal/machine"
)

// What scripts say of strict hand-over: "config strict" asks for it. "record" answers a reading, with the version, the
// token of the reign (none: there is no record) and perhaps "left=yes". "ahead" gives the token of the one ahead.

// strict reads an event of strict hand-over; nil if it is none.
func (p *player) strict(kind string, a args) machine.Event {
	version := int32(a.number(p.t, "version", 0))
	epoch := func(of string) uint64 { return a.number(p.t, "epoch", p.asked[of][0]) }
	switch {
	case kind == "ahead" && a["token"] != "":
		return machine.AheadRead{NodeGen: epoch("watch"), Names: p.names, Watched: true, Token: int64(a.number(p.t, "token", 0))}
	case kind == "record":
		ev := machine.RecordRead{NodeGen: epoch("record"), Version: version, Reign: int64(a.number(p.t, "reign", 0)), Left: a["left"] != "",
			Alone: p.asked["record"][1] > 0, Fault: p.fault(a)}
		if ev.Reign != 0 {
			ev.Lasts = 3 * time.Second
		}
		return ev
	case kind == "record-changed":
		return machine.RecordStale{NodeGen: epoch("record")}
	case kind == "begun":
		return machine.Begun{NodeGen: epoch("begin"), Version: int32(p.asked["begin"][1]), Changed: a["changed"] != "", Fault: p.refused(a)}
	case kind == "waited":
		return machine.Waited{NodeGen: epoch("wait"), Version: int32(p.asked["wait"][1])}
	case kind == "deleted" && a["changed"] != "":
		return machine.Deleted{NodeGen: epoch("delete"), Changed: true, Fault: machine.Failed}
	}
	return nil
}

func (p *player) refused(a args) machine.Fault {
	if a["changed"] != "" {
		return machine.Failed
	}
	return p.fault(a)
}

// showStrict writes an action of strict hand-over; "" if it is none.
func (p *player) showStrict(a machine.Action) string {
	switch a := a.(type) {
	case machine.ReadRecord:
		if a.Alone {
			return p.request("record", "", a.NodeGen, 1) + " alone"
		}
		return p.request("record", "", a.NodeGen, 0) + " and watch it"
	case machine.Begin:
		return p.request("begin", a.Name, a.NodeGen, uint64(a.Version)) + fmt.Sprintf(" token=%d version=%d", a.Token, a.Version)
	case machine.Wait:
		return p.request("wait", "", a.NodeGen, uint64(a.Version)) + fmt.Sprintf(" version=%d lasts=%v", a.Version, a.Lasts)
	case machine.Delete:
		if a.Mark {
			return p.request("delete", a.Name, a.NodeGen, 0) + fmt.Sprintf(" and mark it left, token=%d version=%d", a.Token, a.Version)
		}
	case machine.Beat:
		if p.cfg.StrictHandover && a.On {
			return "prove " + a.Node
		}
		if p.cfg.StrictHandover {
			return "prove no more"
		}
	}
	return ""
}
