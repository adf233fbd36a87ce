package shards

import (
	"cmp"
	"slices"
)

// member is a participant of the elections: a process, as the lines show it. A process that
// was started again is a new member, even under its old ID.
type member struct {
	id      string
	session int64
}

func compareMembers(a, b member) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.session, b.session))
}

// shares returns how many elections each member should lead. led is how many each leads now.
// The shares differ by at most one, and their sum is the sum of led. The larger shares go to
// the members that lead most, so that as few elections as possible move.
func shares(led map[member]int) map[member]int {
	total := 0
	ranked := make([]member, 0, len(led))
	for m, n := range led {
		total += n
		ranked = append(ranked, m)
	}
	slices.SortFunc(ranked, func(a, b member) int {
		return cmp.Or(cmp.Compare(led[b], led[a]), compareMembers(a, b))
	})

	all := make(map[member]int, len(led))
	for i, m := range ranked {
		all[m] = total / len(ranked)
		if i < total%len(ranked) {
			all[m]++
		}
	}
	return all
}

// next returns the member to which me should hand over one election now, if any.
//
// Each member computes next by itself, at the same time as the others. So that they do not
// all give to the same member, each surplus election has its own receiver: the first
// election of the first giver goes to the member with the fewest, and so on. If all members
// see the same, no member gets too many. If one member sees a change later than another, a
// member may get more than its share. It hands an election over again only if another member
// then leads two fewer.
//
// Whatever me sees, the receiver leads at least two fewer than me: the receiver leads fewer
// than its share, me leads more than its share, and the larger shares go to the members that
// lead more. So each hand-over makes the sum of the squares of what the members lead
// smaller, and no hand-over can undo another one.
func next(led map[member]int, me member) (to member, ok bool) {
	all := shares(led)
	if led[me] <= all[me] {
		return member{}, false
	}

	before := 0 // the surplus of all givers that come before me in the plan
	type place struct {
		m     member
		level int // how many elections it leads by then
	}
	var places []place
	for m, n := range led {
		if n > all[m] && compareMembers(m, me) < 0 {
			before += n - all[m]
		}
		for ; n < all[m]; n++ {
			places = append(places, place{m, n})
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.level, b.level), compareMembers(a.m, b.m))
	})
	return places[before].m, true
}
