package machine

import (
	"slices"

	"github.com/zkelection/election/internal/znode"
)

// manyAhead is how many names ahead a candidate keeps, the nearest ones. Of those beyond
// it keeps only the number: every candidate of a long line would otherwise hold the whole
// line.
const manyAhead = 16

// lineAhead is what is known of the znodes ahead. Between two listings it only shrinks:
// whoever comes later gets a higher number.
type lineAhead struct {
	listed  bool
	ahead   []string // the nearest of them, the nearest last
	beyond  int      // how many more there were at the last listing, ahead of those
	behind  int      // how many there were behind at the last listing
	watched string   // the znode ahead that is watched
	lookout bool     // the nearest is gone, and it is not known yet who is nearest now
	beats   int      // how often the nearest has been seen to beat
	doubt   bool     // since the nearest beats, others ahead may have left unseen

	nearToken int64 // of the one that is watched, as read
	departed  int64 // of the last one that was watched and is gone
}

// third is the last place whose nearest may beat: only the first and the second do.
const third = 3

// doubtEvery is after how many beats of the nearest the others ahead are looked at again.
// One that beats five times in the time for which it may be silent is doubted once in it.
const doubtEvery = 5

// noteBeat notes whether the nearest beats, as read just now. If it does, it is first or
// second in line, and this candidate may be second by now, although nobody has told it.
func (l *lineAhead) noteBeat(beats bool) {
	l.doubt = false
	if beats {
		l.doubt = l.beats%doubtEvery == 0 && l.place() >= third
		l.beats++
	}
}

// first reports whether nobody is ahead.
func (l *lineAhead) first() bool { return len(l.ahead) == 0 && l.beyond == 0 }

// place is the place in line, 1 being the first, or a larger number: others ahead may
// have left unseen.
func (l *lineAhead) place() int { return l.beyond + len(l.ahead) + 1 }

// nearest is the znode directly ahead; "" if it is not known, or if there is none.
func (l *lineAhead) nearest() string {
	if len(l.ahead) == 0 {
		return ""
	}
	return l.ahead[len(l.ahead)-1]
}

// shrink takes a znode that is gone out of the line ahead.
func (l *lineAhead) shrink(name string) {
	i := slices.Index(l.ahead, name)
	if i < 0 {
		return
	}
	if i == len(l.ahead)-1 {
		l.lookout, l.beats, l.doubt = true, 0, false
		l.departed, l.nearToken = l.nearToken, 0
	}
	l.ahead = slices.Delete(l.ahead, i, i+1)
	if l.watched == name {
		l.watched = ""
	}
}

// relist reads the line from a listing of the children, of which it keeps the nearest
// names ahead. It reports whether own is among them.
func (l *lineAhead) relist(children []string, own string, keep int) bool {
	ahead, behind, found := znode.Ahead(children, own)
	if !found {
		return false
	}
	l.listed, l.lookout, l.doubt = true, false, false
	l.beyond, l.behind = max(0, len(ahead)-keep), behind
	l.ahead = slices.Clone(ahead[l.beyond:]) // a slice of the listing would hold all of it
	if !slices.Contains(l.ahead, l.watched) {
		l.watched = ""
	}
	return true
}

// What requests and their answers cost in bytes, without the path of the election and the
// names.
const (
	askCost   = 38  // the look at a znode that is gone: 18 there, 20 back
	listCost  = 109 // a listing: 17 there, 92 back
	childCost = 4   // a child in a listing, besides its name
)

// cheaperToList reports whether a listing that does not show those ahead any more costs
// fewer bytes than a look at each. As many as at the last listing are taken to be still
// behind. That is often too few: a line that has just formed was listed by each when it
// was the last. So a candidate may list where it would better ask. But in no line does it
// spend more than a client that lists each time it is woken (go-zookeeper's Lock).
func (l *lineAhead) cheaperToList(path, name int) bool {
	return listCost+path+(1+l.behind)*(childCost+name) < len(l.ahead)*(askCost+path+name)
}

// asking is what has been asked of ZooKeeper, and whether more may be.
type asking struct {
	connected bool
	pending   ask  // what has been asked for the present node and not been answered
	paused    bool // an attempt failed: nothing is asked until Retry or Online
	failures  int  // in a row
}

func (k *asking) answered(a ask) { k.pending &^= a }

func (k *asking) mayAsk() bool { return k.connected && !k.paused }

// ask notes a request as under way. It returns false if it is already, or if nothing may
// be asked now.
func (k *asking) ask(a ask) bool {
	if !k.mayAsk() || k.pending&a != 0 {
		return false
	}
	k.pending |= a
	return true
}

// ask is a set of requests under way.
type ask uint8

const (
	askRead ask = 1 << iota
	askList
	askWatch
	askCheck
	askDelete
	askRecord
	askBegin
)
