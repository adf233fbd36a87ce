//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// lockFile takes a lock that processes of this user share, and that the kernel
// lets go of when its holder dies. It waits until ctx ends.
func lockFile(ctx context.Context, name string) (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), "zktest-"+strconv.Itoa(os.Getuid())+"-"+name+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	err = poll(ctx, func(context.Context) error {
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("zktest: lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
