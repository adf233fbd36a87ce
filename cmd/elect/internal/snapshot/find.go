package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/zkelection/election/internal/znode"
)

// Found is what [Reader.Find] has found.
type Found struct {
	Elections  []string // paths, sorted
	Missing    bool     // there is no such root
	Unreadable []string // znodes that may not be read, sorted
	Stopped    bool     // at Bounds.Znodes: there may be more elections
	Deeper     bool     // there are znodes below Bounds.Depth that were not looked at
}

// Bounds limit a search.
type Bounds struct {
	Depth  int // levels below the root
	Znodes int // znodes looked at, without candidates
}

// system is ZooKeeper's own part of the tree.
const system = "/zookeeper"

// Find finds the elections at and below root: all znodes with an ephemeral child whose name
// ends in a counter. Locks of other libraries look the same, and are found, too. It goes
// down level by level, and leaves out /zookeeper. What is deleted meanwhile is left out.
func (r Reader) Find(ctx context.Context, root string, bounds Bounds) (*Found, error) {
	if err := znode.CheckPath(root); err != nil {
		return nil, fmt.Errorf("path %.200q %w", root, err)
	}
	all := &Found{}
	level, left := []string{root}, bounds.Znodes
	for depth := 0; len(level) > 0; depth++ {
		if len(level) > left {
			level, all.Stopped = level[:left], true
		}
		left -= len(level)
		seen, err := r.lookAt(ctx, level)
		if err != nil {
			return nil, fmt.Errorf("look below %s: %w", znode.Brief(root), err)
		}
		if depth == 0 {
			all.Missing = seen[0].gone
		}
		var next []string
		for i, s := range seen {
			if s.election {
				all.Elections = append(all.Elections, level[i])
			}
			if s.refused {
				all.Unreadable = append(all.Unreadable, level[i])
			}
			next = append(next, s.below...)
		}
		if level = next; depth == bounds.Depth && len(level) > 0 {
			all.Deeper, level = true, nil
		}
	}
	slices.Sort(all.Elections)
	slices.Sort(all.Unreadable)
	return all, nil
}

// seen is what one znode shows.
type seen struct {
	election, refused, gone bool
	below                   []string // paths of the children that are no candidates
}

func (r Reader) lookAt(ctx context.Context, paths []string) ([]seen, error) {
	all := make([]seen, len(paths))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, path := range paths {
		group.Go(func() (err error) {
			all[i], err = r.lookAtOne(ctx, path)
			return err
		})
	}
	return all, group.Wait()
}

func (r Reader) lookAtOne(ctx context.Context, path string) (s seen, err error) {
	var children []string
	err = r.Client.Do(ctx, func(c *zk.Conn) (err error) {
		if children, _, err = c.Children(r.full(path)); err != nil {
			return err
		}
		s.election, err = r.hasCandidate(c, path, znode.Sort(children))
		return err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return seen{gone: true}, nil
	case errors.Is(err, zk.ErrNoAuth):
		return seen{refused: true}, nil
	case err != nil:
		return seen{}, err
	}
	slices.Sort(children)
	for _, name := range children {
		below := znode.Join(path, name)
		if _, sequential := znode.Sequence(name); r.full(below) != system && !(sequential && s.election) {
			s.below = append(s.below, below)
		}
	}
	return s, nil
}

// tries is how many znodes with a counter are asked whether they are ephemeral. More would
// be many requests for each queue of persistent ones, and an election has but ephemeral
// ones as a rule.
const tries = 3

func (r Reader) hasCandidate(c *zk.Conn, path string, names []string) (bool, error) {
	for i, name := range names {
		if i == tries {
			break
		}
		found, stat, err := c.Exists(r.full(znode.Join(path, name)))
		switch {
		case errors.Is(err, zk.ErrNoAuth):
			return true, nil // who knows; its line says more
		case err != nil:
			return false, err
		case found && stat.EphemeralOwner != 0:
			return true, nil
		}
	}
	return false, nil
}
