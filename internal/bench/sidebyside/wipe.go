package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/zkelection/election/internal/interop"
)

// wipedFor is how long a wiped election is observed after the servers serve again, in
// session timeouts.
const wipedFor = 5

// stood is a pair that takes part in the wipe.
type stood struct {
	*pair
	leader, follower string
}

// wipeAll stops the servers, deletes their data and starts them again. Who leads after
// that, and does the former leader learn of it?
func (r *run) wipeAll(ctx context.Context, round int) (err error) {
	pairs := make([]stood, len(elections()))
	defer func() {
		for _, s := range pairs {
			if s.pair != nil {
				err = errors.Join(err, s.close())
			}
		}
	}()
	index := func(c contender) int {
		return slices.IndexFunc(elections(), func(o contender) bool { return o.Key == c.Key })
	}
	err = together(elections(), func(c contender) error {
		p, err := r.newPair(ctx, c, fmt.Sprintf("wiped-%d", round), short.Timeout, true)
		if err != nil {
			return err
		}
		s := stood{pair: p}
		s.leader, s.follower, err = r.both(ctx, p)
		pairs[index(c)] = s
		return err
	})
	if err != nil {
		return err
	}
	gone := interop.Now()
	if err := errors.Join(r.zoo.stop(), r.etcd.stop(), r.zoo.wipe(), r.etcd.wipe()); err != nil {
		return err
	}
	if err := errors.Join(r.zoo.start(ctx), r.etcd.start(ctx)); err != nil {
		return err
	}
	pass(ctx, wipedFor*short.Timeout)

	found := make([]Torture, len(pairs))
	err = together(elections(), func(c contender) error {
		t, err := r.afterWipe(ctx, pairs[index(c)], gone)
		found[index(c)] = t
		return err
	})
	r.data.Torture = append(r.data.Torture, found...)
	return err
}

// afterWipe says what has become of an election, and lets one more participant enter.
func (r *run) afterWipe(ctx context.Context, s stood, gone int64) (Torture, error) {
	t := Torture{Scenario: wiped, Contender: s.Key}
	back, end := s.first.store.served(), interop.Now()
	t.Believes, _ = s.first.belief(s.leader, end)
	t.Told, t.Warned = s.first.told(s.leader, gone), s.first.first(s.leader, "warned", gone)
	for _, m := range []struct {
		p        *proc
		id, name string
	}{{s.first, s.leader, "former leader"}, {s.next, s.follower, "follower"}} {
		events, _ := m.p.log.Since(0)
		for _, e := range events {
			// The earliest one counts.
			if e.Who == m.id && e.What == "leads" && e.At > gone && (t.NextLed == nil || ms(e.At-back) < *t.NextLed) {
				t.NextLed, t.Leader = since(back, e), m.name
			}
		}
		t.Errors = append(t.Errors, m.p.errors()...)
	}
	all, err := s.first.store.entries(ctx, s.path)
	if err != nil {
		return t, err
	}
	t.Entries = len(all)

	more, err := r.launch(ctx, s.contender, s.first.store, short.Timeout, true)
	if err != nil {
		return t, err
	}
	leads, leader := s.first, s.leader
	if t.Leader == "follower" {
		leads, leader = s.next, s.follower
	}
	err = r.joinsMore(ctx, more, s.pair, leads, leader, &t)
	return t, errors.Join(err, more.close())
}
