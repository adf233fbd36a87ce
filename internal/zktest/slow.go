package zktest

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"time"
)

// WithSlowDisk makes the server's disk slow: ZooKeeper waits delay longer, each time, until what it has written is on
// the disk. It writes the transactions that have come in meanwhile together, so this bounds how fast one
// request after another is answered, and hardly how many are. Zero gives the fast disk back, on which ZooKeeper does
// not wait at all (forceSync=no).
func WithSlowDisk(delay time.Duration) Option {
	return func(s *settings) { s.slow = max(delay, 0) }
}

// slowDiskVar names the environment variable that makes every server's disk slow.
const slowDiskVar = "ZKTEST_SLOW_DISK"

// slowAsAll in settings leaves the disk to slowDiskVar.
const slowAsAll time.Duration = -1

// slowDiskOfAll is what slowDiskVar says.
func slowDiskOfAll() (time.Duration, error) {
	text := os.Getenv(slowDiskVar)
	if text == "" {
		return 0, nil
	}
	delay, err := time.ParseDuration(text)
	if err != nil || delay < 0 {
		return 0, fmt.Errorf("zktest: %s=%q is no duration, such as 5ms", slowDiskVar, text)
	}
	return delay, nil
}

//go:embed slowdisk/sync.c
var slowDiskSource []byte

var slowDiskLibrary = newLibrary("slowdisk", "a slow disk", slowDiskSource)

// slowDown adds what makes the disk slow.
func (s *settings) slowDown() error {
	delay := s.slow
	if delay == slowAsAll {
		var err error
		if delay, err = slowDiskOfAll(); err != nil {
			return err
		}
	}
	if delay <= 0 {
		return nil
	}
	s.config["forceSync"] = "yes"
	return s.preload(slowDiskLibrary, "SLOWDISK_US", strconv.FormatInt(delay.Microseconds(), 10))
}
