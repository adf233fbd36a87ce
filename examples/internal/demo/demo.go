// Package demo is what the examples have in common: how they start and stop, where their
// ZooKeeper comes from, and how they run programs as processes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Env is the name of the environment variable that names the ensemble. It is the same as
// in the posts.
const Env = "ZOOKEEPER_CONNECTION_STRING"

// Main calls run with a context that ends at SIGINT or SIGTERM. If run fails, Main exits
// with status 1. To be stopped by a signal is no failure. A second signal ends the
// process at once, in case run hangs.
func Main(run func(context.Context) error) {
	if os.Getenv(hostEnv) != "" {
		run = host // Shared, in another process, has started this one
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	os.Exit(1)
}

// silence is how long the named ensemble may take to answer.
const silence = 5 * time.Second

// Check returns nil if Go is installed and the ensemble that the environment names, if
// any, answers. Its error is one line and says what to do. An example calls it before it
// compiles or starts anything.
func Check(ctx context.Context) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the command go is missing: install Go from https://go.dev/dl and put it on the PATH")
	}
	connect := os.Getenv(Env)
	if connect == "" {
		return nil
	}
	moment, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	client, err := election.Connect(moment, connect, election.WithClientLogger(slog.New(slog.DiscardHandler)))
	switch {
	case err == nil:
		return client.Close()
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no ZooKeeper answers: start it, or set %s to another address: %w", Env, err)
	}
	return fmt.Errorf("set %s to host:port,host:port/chroot: %w", Env, err)
}

// Shared returns the connect string of the ensemble that the environment names. If it
// names none, Shared returns that of the ensemble that all examples on this machine
// share: see meet.
func Shared(ctx context.Context) (connect string, err error) {
	if connect = os.Getenv(Env); connect != "" {
		return connect, nil
	}
	fmt.Println(Notice)
	return meet(ctx)
}

// ZooKeeper returns the connect string of the ensemble that the environment names. If it
// names none, ZooKeeper starts one in this process. It prints which of the two it is.
// stop ends what was started.
func ZooKeeper(servers int) (connect string, stop func(), err error) {
	if connect = os.Getenv(Env); connect != "" {
		fmt.Printf("ZooKeeper is %s, as %s says\n", connect, Env)
		return connect, func() {}, nil
	}
	fmt.Println(Notice)
	connect, stop, err = embedded(servers)
	if err == nil {
		fmt.Printf("ZooKeeper is %s, until this program ends\n", connect)
	}
	return connect, stop, err
}

// Notice is the first line of an example if the environment names no ensemble. It is
// printed so that nobody builds on the ensemble in memory.
const Notice = "No " + Env + ": using an in-memory ZooKeeper for trying out; it stores nothing"

// tick is the tick of the servers that an example starts. With ZooKeeper's default of 2 s
// they would not grant the short session timeouts that make a crash nice to watch. With
// this one they grant 1 s to 10 s.
const tick = 500 * time.Millisecond

// embedded starts a ZooKeeper in this process. Only this function knows which kind it is:
// one that needs nothing but Go. The examples' tests also run on real servers.
func embedded(servers int) (connect string, stop func(), err error) {
	e := zksim.New(zksim.Config{Servers: servers, Tick: tick})
	connect, err = e.ListenTCP("127.0.0.1:0")
	if err != nil {
		e.Close()
		return "", nil, fmt.Errorf("%w; set %s to use another ZooKeeper", err, Env)
	}
	return connect, e.Close, nil
}
