//go:build !unix

package main

import "context"

// lockFile does nothing here: no image is made where there is no apt-get, and
// the engine itself lets two pulls of one image share the work.
func lockFile(context.Context, string) (unlock func(), err error) { return func() {}, nil }
