package queue

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/znode"
)

// FencedOps returns a transaction of ops behind a check that the znode own exists. full
// completes each path.
func FencedOps(own string, full func(string) string, ops []any) ([]any, error) {
	all := []any{&zk.CheckVersionRequest{Path: own, Version: -1}}
	var errs []error
	for i, op := range ops {
		rooted, path, err := reroot(op, full)
		if err == nil && rooted != nil {
			if e := znode.CheckPath(path); e != nil {
				err = fmt.Errorf("path %.200q %w", path, e)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("operation %d: %w", i, err))
			continue
		}
		all = append(all, rooted)
	}
	return all, errors.Join(errs...)
}

// reroot copies an operation with its path below the chroot. It also returns the path as
// it was given, without the trailing slash that the path of a sequential znode may have.
func reroot(op any, full func(string) string) (rooted any, path string, err error) {
	switch op := op.(type) {
	case *zk.CreateRequest:
		if op != nil {
			if op.Flags&^zk.FlagEphemeralSequential != 0 { // committed, the reply is one that the driver cannot read
				return nil, "", fmt.Errorf("flags %d: a transaction makes persistent, ephemeral and sequential znodes alone", op.Flags)
			}
			r := *op
			r.Path = full(op.Path)
			return &r, unslash(op), nil
		}
	case *zk.DeleteRequest:
		if op != nil {
			return &zk.DeleteRequest{Path: full(op.Path), Version: op.Version}, op.Path, nil
		}
	case *zk.SetDataRequest:
		if op != nil {
			return &zk.SetDataRequest{Path: full(op.Path), Data: op.Data, Version: op.Version}, op.Path, nil
		}
	case *zk.CheckVersionRequest:
		if op != nil {
			return &zk.CheckVersionRequest{Path: full(op.Path), Version: op.Version}, op.Path, nil
		}
	default:
		return nil, "", fmt.Errorf("type %T is none that a transaction can hold", op)
	}
	return nil, "", fmt.Errorf("%T is nil", op)
}

func unslash(op *zk.CreateRequest) string {
	if n := len(op.Path); op.Flags&zk.FlagSequence != 0 && n > 1 && op.Path[n-1] == '/' {
		return op.Path[:n-1]
	}
	return op.Path
}
