package queue

import (
	"errors"
	"fmt"
	"math"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// ErrChanged means that the znode to be deleted no longer has the version that was given.
var ErrChanged = errors.New("the znode has changed")

// Evict deletes the znode ahead if it still has this version. It returns nil if the znode is
// gone, and ErrChanged if the znode has another version. own is the candidate's own znode.
//
// Before the delete, Evict makes sure that this candidate is not cut off itself. It waits
// until a write of its own is committed, and then reads the znode ahead again. If the znode
// then still has the version, the reason is not that this client's server lags behind. But
// only the version in the delete protects a candidate that is alive: see package beat.
//
// The transaction also checks the candidate's own znode. Suppose that somebody deletes the
// whole path, and that the candidate ahead creates a znode of the same name again. Then the
// own znode is gone, and the transaction fails. With strict hand-over, the transaction also
// writes into the record that the reign of the candidate ahead is over.
func (e *Entry) Evict(own, ahead string, version int32) error {
	stands := &zk.CheckVersionRequest{Path: e.Node(own), Version: -1}
	if err := multi(e.Session, stands); err != nil {
		return fmt.Errorf("before the eviction of %s: check %s: %w", znode.Brief(ahead), znode.Brief(e.Node(own)), err)
	}

	_, stat, err := e.get(ahead)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return nil
	case err != nil:
		return err
	case stat.Version != version:
		return ErrChanged
	}

	ops := []any{stands, &zk.DeleteRequest{Path: e.Node(ahead), Version: version}}
	if e.Strict {
		left, err := e.Records().leftFor(stat.Czxid)
		if err != nil {
			return err
		}
		if left != nil {
			ops = append(ops, left)
		}
	}
	err = multi(e.Session, ops...)
	switch {
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrBadVersion): // of either znode: the next read shows which
		return ErrChanged
	case err != nil:
		return fmt.Errorf("evict %s: %w", znode.Brief(e.Node(ahead)), err)
	}
	return nil
}

// TryWrites finds out whether this client has the write permissions that fast failover and
// strict hand-over need. It returns the server's refusal.
func (e *Entry) TryWrites(own string) error {
	if e.Beats && e.TryToo {
		if err := tryWrite(e.Session, e.Node(own), "fast failover"); err != nil {
			return err
		}
	}
	if e.Strict {
		return tryWrite(e.Session, e.Path, "strict hand-over")
	}
	return nil
}

// tryWrite finds out whether this client may write at path, but writes nothing. It sends a
// transaction that writes there and then checks for a version that the znode cannot have.
// The server processes the operations in order, and undoes all if one fails
// (PrepRequestProcessor.pRequest).
func tryWrite(s *session.Session, path, why string) error {
	err := multi(s, &zk.SetDataRequest{Path: path, Version: -1}, &zk.CheckVersionRequest{Path: path, Version: math.MaxInt32})
	if err == nil || errors.Is(err, zk.ErrBadVersion) {
		return nil
	}
	return fmt.Errorf("try to write %s, as %s needs: %w", znode.Brief(path), why, err)
}
