// Package zktest runs a real Apache ZooKeeper, one server or an ensemble, in
// containers on this machine, and breaks it on request: stop, kill, pause,
// cut it off from its peers, or lose single messages on their way (see Proxy).
//
// The program in the folder containers makes the containers. This package starts
// it with go run. It is a module of its own, which keeps Docker's client out of
// the library's module graph.
//
// Everything here needs Go and a Docker engine, nothing else. The official image
// zookeeper:3.9 is used when the machine has it or can pull it. Where no
// registry is in reach, an image is made once from Debian's packages and a
// trimmed Java runtime, and kept; this needs apt-get, dpkg and a JDK.
//
// Environment variables change the servers of a whole run; an option of a test's own goes before them:
//
//   - ZKTEST_VERSION chooses ZooKeeper's version: 3.9.3, 3.8.0 or 3.4.13 (see WithVersion). Where its official image can
//     be neither found nor pulled, one is made from the packages of the Debian suite that has it, from the mirror that
//     this machine's own packages come from. Nothing is installed.
//   - ZKTEST_SLOW_DISK makes the disk of every server slow, 5ms say (see WithSlowDisk). A test must not depend on it.
//   - ZKTEST_IMAGE names an image to use, whatever its version.
//
// A missing prerequisite fails the test. It never skips it: a suite that
// silently tests nothing looks exactly like one that passes. The exception is
// go test -short, which skips the tests that ask for a server.
//
// Only tests and examples may import this package.
package zktest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// startLimit bounds Start and Shared. It covers compiling the program that starts servers, and making or pulling the
// image, which only the first caller on a machine pays for.
const startLimit = 8 * time.Minute

// prerequisites is appended to every failure to start, since whoever reads it
// has most likely just cloned the project.
const prerequisites = `ZooKeeper could not be started in a container.
These tests need a running Docker engine that this user may talk to (on Debian or Ubuntu:
package docker.io), and one of
  - the image zookeeper:3.9, here or from a registry that the engine can reach;
  - on Debian or Ubuntu: apt-get, dpkg, ldd and the package openjdk-17-jdk-headless,
    with which an image is made from the package libzookeeper-java.
ZKTEST_IMAGE names another image to use (with zoo.cfg in /conf, data in /data).
Without all this, go test -short runs the tests that need no real ZooKeeper.`

// SkipIfShort skips tb under go test -short, which must pass with nothing but
// Go. Start, StartEnsemble and Shared call it. A test that needs anything else
// calls it first, and names what it needs.
func SkipIfShort(tb testing.TB, needs string) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("left out by -short: it needs " + needs)
	}
}

const aServer = "a real ZooKeeper, in a container"

// Start launches a server for tb and removes it when tb ends.
// It fails tb, and never skips it, when there is no way to run one, but for -short.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	SkipIfShort(tb, aServer)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := Launch(ctx, opts...)
	if err != nil {
		tb.Fatalf("%v\n\n%s", err, prerequisites)
	}
	tb.Cleanup(func() { closeFor(tb, s.Close) })
	return s
}

// closeFor reports a failed removal without hiding the test's own result.
func closeFor(tb testing.TB, remove func() error) {
	tb.Helper()
	if err := remove(); err != nil {
		tb.Errorf("zktest: clean up: %v", err)
	}
}

// shared holds the one server that tests of a process use together.
var shared struct {
	sync.Mutex
	server *Server
	err    error // kept: the second test must not wait for the same failure again
}

// Shared returns the server that all tests of this process use together. The
// first call starts it. Tests keep apart by using a path of their own each, and
// must not stop or pause it. The package's TestMain must call Main to remove it.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	SkipIfShort(tb, aServer)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		shared.server, shared.err = Launch(ctx)
	}
	if shared.err != nil {
		tb.Fatalf("%v\n\n%s", shared.err, prerequisites)
	}
	return shared.server
}

// Main runs the tests of m, removes the shared server if one was started, ends
// the program that starts servers, and returns the exit code. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if err := closeShared(); err != nil {
		fmt.Println("zktest: remove the shared server:", err)
		code = max(code, 1)
	}
	if err := closeProcess(); err != nil {
		fmt.Println(err)
		code = max(code, 1)
	}
	return code
}

// closeShared leaves the package as it was before Shared was first called.
func closeShared() error {
	shared.Lock()
	defer shared.Unlock()
	s := shared.server
	shared.server, shared.err = nil, nil
	if s == nil {
		return nil
	}
	return s.Close()
}
