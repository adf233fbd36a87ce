//go:build !windows

package text

import "os"

func obeys(*os.File) bool { return true }
