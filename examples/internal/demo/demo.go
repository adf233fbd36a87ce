// Package demo is what the examples have in common: how they start and stop, where their ZooKeeper comes from, and
// how one of them runs others as processes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Env names the variable that names the ensemble, as in the posts.
const Env = "ZOOKEEPER_CONNECTION_STRING"

// Main calls run with a context that ends at SIGINT or SIGTERM, and exits with 1 when it fails. Being told to stop
// is no failure. A second signal ends the process at once, in case run hangs.
func Main(run func(context.Context) error) {
	if os.Getenv(hostEnv) != "" {
		run = host // somebody's Connect has started this process
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

// silence is how long an ensemble may take to answer before it is told of.
const silence = 3 * time.Second

// Connect opens a session with the ensemble that the environment names or, where it names none, with the one that
// the examples of this machine share: see meet. It waits for one that does not answer until ctx ends, and says so. The
// examples print what they show by themselves, so the library logs warnings alone.
func Connect(ctx context.Context, sessionTimeout time.Duration) (*election.Client, error) {
	servers := os.Getenv(Env)
	if servers == "" {
		fmt.Println(Notice)
		var err error
		if servers, err = meet(ctx); err != nil {
			return nil, err
		}
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	connect := func(ctx context.Context) (*election.Client, error) {
		return election.Connect(ctx, servers, election.WithSessionTimeout(sessionTimeout), election.WithClientLogger(quiet))
	}
	moment, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	client, err := connect(moment)
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return client, err
	}
	fmt.Println("ZooKeeper does not answer yet:", err) // which names the address, and the last trouble
	return connect(ctx)
}

// ZooKeeper returns the connect string of the ensemble that the environment names or, where it names none, of one
// that it starts here, for an example that runs its processes by itself. Its first line says which. stop removes what
// was started.
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

// Notice is an example's first line where the environment names no ensemble: nobody shall take what it starts for
// something to build on.
const Notice = "No " + Env + ": using an in-memory ZooKeeper for trying out; it stores nothing"

// tick is that of the servers which an example starts. ZooKeeper's own default of 2 s would not grant the short
// session timeouts that make a crash nice to watch; this one grants 1 s to 10 s.
const tick = 500 * time.Millisecond

// embedded starts a ZooKeeper where the environment names none. It is the one place that chooses which kind: one that
// asks for nothing but Go. What must hold on real servers, the examples' tests show on real servers.
func embedded(servers int) (connect string, stop func(), err error) {
	e := zksim.New(zksim.Config{Servers: servers, Tick: tick})
	connect, err = e.ListenTCP("127.0.0.1:0")
	if err != nil {
		e.Close()
		return "", nil, fmt.Errorf("%w; set %s to use another ZooKeeper", err, Env)
	}
	return connect, e.Close, nil
}
