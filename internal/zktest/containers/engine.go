package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// closeLimit bounds the search for the engine, and the removal of everything at the end. A container that is left behind
// costs the next run more than this wait.
const closeLimit = time.Minute

// stopSeconds is how long a server may take to end in good order.
var stopSeconds = 10

// engine is the Docker engine. testcontainers finds it and creates containers;
// what testcontainers has no call for (pause, networks, import) goes to the
// client beneath it.
type engine struct {
	cli *testcontainers.DockerClient

	imageMu  sync.Mutex
	images   map[string]string // the images in use, once found, by version
	pullErrs map[string]error  // likewise; a failed pull is not tried again in this process
}

// connected is true once connect was called. Before that, nothing can have been made.
var connected atomic.Bool

// connect finds the engine, once per process, and sweeps what dead processes left.
var connect = sync.OnceValues(func() (*engine, error) {
	connected.Store(true)
	prepareEnvironment()
	// The client announces the engine's details on stderr, which is kept for errors.
	defer log.SetDefault(log.Default())
	log.SetDefault(log.NewNoopLogger())
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	cli, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("zktest: no Docker engine: %w", err)
	}
	if _, err := cli.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, fmt.Errorf("zktest: the Docker engine does not answer: %w", err)
	}
	e := &engine{cli: cli, images: map[string]string{}, pullErrs: map[string]error{}}
	e.sweep(ctx)
	return e, nil
})

// prepareEnvironment runs before the first use of testcontainers, which reads
// its settings once. The reaper is one more image to pull, and sweep does its
// work where there is a /proc; the host is wrongly guessed where this process
// is itself in a container that has an engine of its own. What the user set stays.
func prepareEnvironment() {
	if processStart(os.Getpid()) != "" {
		setDefaultEnv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	if _, err := os.Stat("/.dockerenv"); err == nil {
		setDefaultEnv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
}

func setDefaultEnv(key, value string) {
	if _, set := os.LookupEnv(key); !set {
		_ = os.Setenv(key, value) // fails for a malformed key alone
	}
}

// host is where published ports are reached.
func host() string {
	if h := os.Getenv("TESTCONTAINERS_HOST_OVERRIDE"); h != "" {
		return h
	}
	return "127.0.0.1"
}

func (e *engine) start(ctx context.Context, id string) error {
	_, err := e.cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return wrap("start", id, err)
}

// stop lets a paused server go on first: a frozen process takes no signal.
func (e *engine) stop(ctx context.Context, id string) error {
	_ = e.unpause(ctx, id) // fails when it is not paused, which is the usual case
	_, err := e.cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &stopSeconds})
	return wrap("stop", id, err)
}

// kill waits for the end, and accepts a server that is down already.
func (e *engine) kill(ctx context.Context, id string) error {
	_ = e.unpause(ctx, id)
	if _, err := e.cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil && e.running(ctx, id) {
		return wrap("kill", id, err)
	}
	now := 0
	_, err := e.cli.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &now})
	return wrap("kill", id, err)
}

func (e *engine) signal(ctx context.Context, id, name string) error {
	_, err := e.cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: name})
	return wrap("send "+name+" to", id, err)
}

func (e *engine) pause(ctx context.Context, id string) error {
	_, err := e.cli.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	return wrap("pause", id, err)
}

func (e *engine) unpause(ctx context.Context, id string) error {
	_, err := e.cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	return wrap("unpause", id, err)
}

func (e *engine) remove(ctx context.Context, id string) error {
	_, err := e.cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return wrap("remove", id, err)
}

// running is true while in doubt, so that a busy engine is not taken for a dead server.
func (e *engine) running(ctx context.Context, id string) bool {
	res, err := e.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err != nil || res.Container.State == nil || res.Container.State.Running
}

// logs returns the last lines, or the reason why there are none.
func (e *engine) logs(ctx context.Context, id string) string {
	res, err := e.cli.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "60"})
	if err != nil {
		return err.Error()
	}
	defer res.Close()
	var b bytes.Buffer
	if err := copyLogs(&b, res); err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// copyLogs strips the eight bytes (stream, length) that stand before each piece.
func copyLogs(w io.Writer, r io.Reader) error {
	var head [8]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return ignoreEOF(err)
		}
		n := int64(head[4])<<24 | int64(head[5])<<16 | int64(head[6])<<8 | int64(head[7])
		if _, err := io.CopyN(w, r, n); err != nil {
			return ignoreEOF(err)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func wrap(verb, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("zktest: %s container %.12s: %w", verb, id, err)
}
